from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import loaders
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from fiso_client.core.signing import AwsEndpoint, Credentials, sign

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class AtNow(SigV4Auth):  # type: ignore[misc]
    """botocore's signer at a fixed time."""

    def add_auth(self, request: AWSRequest) -> None:
        request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
        self._inject_signature_to_request(
            request, self.signature(self.string_to_sign(request, self.canonical_request(request)), request)
        )


names = st.sampled_from(["fiso-local-sample-aws", "arn:aws:lambda:us-east-1:1:function:f", "a b", "x_y~z.1"])


@given(name=names, token=st.none() | st.just("session"))
def test_signs_exactly_as_botocore_does(name: str, token: str | None) -> None:
    from urllib.parse import quote

    path = f"/2015-03-31/functions/{quote(name, safe='')}/invocations"
    url = f"https://lambda.us-east-1.amazonaws.com{path}"
    endpoint = AwsEndpoint(service="lambda", region="us-east-1", url="https://lambda.us-east-1.amazonaws.com")
    credentials = Credentials(access_key="AK", secret_key="SK", token=token)
    ours = sign("POST", url, {"content-type": "application/json"}, EMPTY, endpoint, credentials, NOW)

    headers = {name: value for name, value in ours.items() if name != "authorization"}
    request = AWSRequest(method="POST", url=url, data=b"", headers=headers)
    AtNow(BotoCredentials("AK", "SK", token), "lambda", "us-east-1").add_auth(request)
    assert request.headers["Authorization"].split("Signature=")[1] == ours["authorization"].split("Signature=")[1]


class S3AtNow(S3SigV4Auth):  # type: ignore[misc]
    """botocore's signer of S3 requests, which hold their body's hash, at a fixed time."""

    add_auth = AtNow.add_auth


@given(key=st.sampled_from(["models/champion.json", "a b/c+d.json", "log/2026-11-23/x~y.json"]))
def test_signs_for_s3_as_botocore_does(key: str) -> None:
    from urllib.parse import quote

    url = f"https://s3.us-east-1.amazonaws.com/bucket/{quote(key, safe='/-_.~')}"
    endpoint = AwsEndpoint(service="s3", region="us-east-1", url="https://s3.us-east-1.amazonaws.com")
    ours = sign("GET", url, {}, EMPTY, endpoint, Credentials(access_key="AK", secret_key="SK"), NOW)
    assert ours["x-amz-content-sha256"] == EMPTY

    headers = {name: value for name, value in ours.items() if name != "authorization"}
    request = AWSRequest(method="GET", url=url, data=b"", headers=headers)
    S3AtNow(BotoCredentials("AK", "SK"), "s3", "us-east-1").add_auth(request)
    assert request.headers["Authorization"].split("Signature=")[1] == ours["authorization"].split("Signature=")[1]


@pytest.mark.parametrize(
    "partition", loaders.create_loader().load_data("partitions")["partitions"], ids=lambda p: p["id"]
)
def test_a_service_is_addressed_within_its_partition(partition: dict[str, Any]) -> None:
    """As botocore's own data has the partitions' suffixes."""
    for region in partition["regions"]:
        if "-global" not in region:
            expected = f"https://dynamodb.{region}.{partition['outputs']['dnsSuffix']}"
            assert AwsEndpoint.from_environ("dynamodb", {"AWS_REGION": region}).url == expected
