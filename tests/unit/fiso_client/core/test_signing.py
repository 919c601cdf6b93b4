from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore import loaders
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from fiso_client.core.signing import AwsEndpoint, Credentials, sign

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def at_now(kind: type[SigV4Auth]) -> type[SigV4Auth]:
    """botocore's signer at a fixed time."""

    def add_auth(self: Any, request: AWSRequest) -> None:
        request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
        signature = self.signature(self.string_to_sign(request, self.canonical_request(request)), request)
        self._inject_signature_to_request(request, signature)

    return type("AtNow", (kind,), {"add_auth": add_auth})


FUNCTIONS = ["fiso-local-sample-aws", "arn:aws:lambda:us-east-1:000000000000:function:f", "a b", "x_y~z.1"]
KEYS = ["models/champion.json", "a b/c+d.json", "log/2026-11-23/x~y.json"]
CALLS = [
    *(("lambda", "POST", f"/2015-03-31/functions/{quote(name, safe='')}/invocations", SigV4Auth) for name in FUNCTIONS),
    *(("s3", "GET", f"/bucket/{quote(key, safe='/-_.~')}", S3SigV4Auth) for key in KEYS),
]


@pytest.mark.parametrize(("service", "method", "path", "kind"), CALLS)
@pytest.mark.parametrize("token", [None, "session"])
def test_signs_exactly_as_botocore_does(
    service: str, method: str, path: str, kind: type[SigV4Auth], token: str | None
) -> None:
    host = f"https://{service}.us-east-1.amazonaws.com"
    endpoint = AwsEndpoint(service=service, region="us-east-1", url=host)
    credentials = Credentials(access_key="AK", secret_key="SK", token=token)
    ours = sign(method, host + path, {"content-type": "application/json"}, EMPTY, endpoint, credentials, NOW)
    assert ours.get("x-amz-content-sha256") == (EMPTY if service == "s3" else None)
    headers = {name: value for name, value in ours.items() if name != "authorization"}
    request = AWSRequest(method=method, url=host + path, data=b"", headers=headers)
    at_now(kind)(BotoCredentials("AK", "SK", token), service, "us-east-1").add_auth(request)
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
