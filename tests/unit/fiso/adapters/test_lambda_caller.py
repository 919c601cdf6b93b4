import base64
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.domain.endpoint import Payload
from fiso.testing.clock import ManualClock
from fiso_client.core.answers import FunctionAnswer, HttpAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import SignedService
from tests.builders import a_request, an_endpoint


class AnsweringService:
    """A signed service that answers without a network."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._answer = HttpAnswer(status=status, headers=dict(headers or {}), body=raw)
        self.sent: list[dict[str, Any]] = []

    def send(self, method: str, path: str, **sent: Any) -> HttpAnswer:
        self.sent.append({"path": path, **sent})
        return self._answer


def call(service: AnsweringService, payload: Payload = Payload.HTTP) -> FunctionAnswer:
    caller = LambdaCaller(lambda _: cast(SignedService, service), clock=ManualClock())
    endpoint = an_endpoint(address="arn:aws:lambda:us-east-1:0:function:f", path="/word-count", payload=payload)
    return caller.call(endpoint, a_request(path_suffix="/x"), timeout_ms=1000)


def test_an_http_function_gets_a_v2_event_and_its_response_is_unpacked() -> None:
    body = base64.b64encode(b"\x00\xff").decode()
    service = AnsweringService(
        200, {"statusCode": 201, "headers": {"Content-Type": "a/b"}, "body": body, "isBase64Encoded": True}
    )
    answer = call(service)
    assert (answer.status, answer.body, answer.headers) == (201, b"\x00\xff", {"content-type": "a/b"})
    event = json.loads(service.sent[0]["body"])
    assert (event["rawPath"], event["body"], event["isBase64Encoded"]) == ("/word-count/x", '{"text": "a b a"}', False)


def test_an_event_function_gets_the_json_body_itself() -> None:
    service = AnsweringService(200, {"n": 1})
    assert call(service, Payload.EVENT).body == b'{"n": 1}'
    assert service.sent[0]["body"] == a_request().body


def test_any_other_json_stands_for_a_200_with_itself_as_the_body() -> None:
    answer = call(AnsweringService(200, [1, 2]))
    assert (answer.status, json.loads(answer.body)) == (200, [1, 2])


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (429, Failure.THROTTLED),
        (403, Failure.REFUSED),
        (404, Failure.REFUSED),
        (413, Failure.REJECTED),
        (500, Failure.PROVIDER_FAULT),
        (502, Failure.PROVIDER_FAULT),
    ],
)
def test_each_status_of_the_invoke_api_has_its_meaning(status: int, failure: Failure) -> None:
    with pytest.raises(ProviderError) as raised:
        call(AnsweringService(status, {}, {"x-amzn-errortype": "SomeException:http://x", "retry-after": "3"}))
    assert (raised.value.failure, raised.value.retry_after_s) == (failure, 3.0)
    assert raised.value.detail == f"status {status} SomeException"


def test_a_functions_own_error_comes_back_without_its_stack() -> None:
    error = {"errorType": "ValueError", "errorMessage": "no", "stackTrace": ["secret path"]}
    answer = call(AnsweringService(200, error, {"x-amz-function-error": "Unhandled"}))
    assert (answer.status, answer.is_function_error) == (500, True)
    assert json.loads(answer.body) == {"errorType": "ValueError", "errorMessage": "no"}


@pytest.mark.parametrize(
    "error",
    [
        {"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: 1 Error: Task timed out after 3.00 seconds"},
        {"errorMessage": "2026-11-23T00:00:00Z 1 Task timed out after 3.00 seconds"},
    ],
)
def test_a_function_that_lambda_stopped_has_run(error: dict[str, str]) -> None:
    with pytest.raises(ProviderError) as raised:
        call(AnsweringService(200, error, {"x-amz-function-error": "Unhandled"}))
    assert raised.value.failure is Failure.FUNCTION_TIMED_OUT


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b'{"statusCode": "x"}',
        b'{"statusCode": 999}',
        b'{"statusCode": 200, "headers": 3}',
        b'{"statusCode": 200, "body": "\\ud800"}',
        b'{"statusCode": 200, "body": "\xff"}',
        b'{"statusCode": 200, "body": ' + b"[" * 100_000,
        b'{"statusCode": 200, "headers": {"etag": "' + b"x" * 9000 + b'"}}',
        b'{"statusCode": 200, "body": "*", "isBase64Encoded": true}',
    ],
)
def test_an_answer_that_is_no_v2_response_is_broken(body: bytes) -> None:
    with pytest.raises(ProviderError) as raised:
        call(AnsweringService(200, body))
    assert raised.value.failure is Failure.BROKEN


def test_a_damaged_log_tail_takes_nothing_from_the_answer() -> None:
    answer = call(AnsweringService(200, {"statusCode": 200, "body": "ok"}, {"x-amz-log-result": "AAA"}))
    assert (answer.body, answer.billed_ms) == (b"ok", None)


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, b"7"])
def test_an_own_error_that_does_not_read_is_an_error_still(body: bytes) -> None:
    answer = call(AnsweringService(200, body, {"x-amz-function-error": "Unhandled"}))
    assert (answer.status, answer.is_function_error) == (500, True)
