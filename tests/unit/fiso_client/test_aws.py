import base64
import json
from datetime import datetime
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from fiso_client import Failure, ProviderError, Request, Target
from fiso_client.aws import LambdaFunctions, signed
from tests.functional.lease_servers import serving

GIVEN = BotocoreCredentials("AKID", "secret", "token").get_frozen_credentials
TARGET = Target(
    id="aws",
    provider="aws",
    address="arn:aws:lambda:us-east-1:000000000000:function:f",
    region="us-east-1",
    path="/word-count",
)
LOG_TAIL = base64.b64encode(
    b"REPORT RequestId: x\tDuration: 1.2 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB"
).decode()


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("a.execute-api.us-east-1.amazonaws.com", "execute-api"),
        ("a.lambda-url.us-east-1.on.aws", "lambda"),
        ("a.execute-api.us-east-1.amazonaws.com/x.lambda-url.us-east-1.on.aws", "execute-api"),
    ],
)
def test_fisos_api_is_signed_as_aws_would(host: str, service: str) -> None:
    url, body = f"https://{host}/v1/decide/word-count", b"{}"
    headers = dict(signed(GIVEN, "us-east-1")("POST", url, body))
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 - the stamp is UTC by definition
    request = AWSRequest(method="POST", url=url, data=body, headers={"host": urlsplit(url).netloc})
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = headers["x-amz-date"]
    request.headers["X-Amz-Security-Token"] = "token"
    auth = SigV4Auth(GIVEN(), service, "us-east-1")
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert headers["authorization"].endswith(f"Signature={expected}")


def test_a_lambda_function_is_invoked_with_an_http_event_and_its_bill_is_read() -> None:
    events = []

    def respond(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        events.append((path, headers["authorization"], json.loads(body)))
        return (
            200,
            {"x-amz-log-result": LOG_TAIL, "x-amzn-requestid": "x"},
            json.dumps({"statusCode": 201, "body": "done"}).encode(),
        )

    with serving(respond) as server:
        caller = LambdaFunctions(GIVEN, address=lambda _: server.url)
        answer = caller(TARGET, Request(body=b"one", content_type="text/plain", query="a=1"), timeout_s=5)
    ((path, authorization, event),) = events
    assert path == "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations"
    assert "/us-east-1/lambda/aws4_request" in authorization
    assert (event["rawPath"], event["body"], event["rawQueryString"]) == ("/word-count", "one", "a=1")
    assert (answer.status, answer.body, answer.billed_ms, answer.cold) == (201, b"done", 2.0, False)


def test_nobody_listening_is_unreachable() -> None:
    with serving(lambda *_: (200, {}, b"")) as server:
        url = server.url
    with pytest.raises(ProviderError) as caught:
        LambdaFunctions(GIVEN, address=lambda _: url)(TARGET, Request(), timeout_s=5)
    assert caught.value.failure is Failure.UNREACHABLE
