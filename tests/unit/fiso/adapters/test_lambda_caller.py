import base64
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.domain.endpoint import Payload
from fiso.testing.clock import ManualClock
from fiso_client.core.answers import FunctionAnswer, HttpAnswer
from fiso_client.core.failures import Failure, Fault, ProviderError
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
    endpoint = an_endpoint(
        address="arn:aws:lambda:us-east-1:000000000000:function:f", path="/word-count", payload=payload
    )
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


@pytest.mark.parametrize(
    ("response", "status", "headers", "cookies", "body"),
    [
        ({"statusCode": "201"}, 201, {}, (), b""),
        (
            {"statusCode": 200, "headers": None, "body": None, "cookies": None, "isBase64Encoded": None},
            200,
            {},
            (),
            b"",
        ),
        (
            {"statusCode": 200, "headers": {"X-Count": 7, "X-Yes": True, "X-Half": 0.5}},
            200,
            {"x-count": "7", "x-yes": "true", "x-half": "0.5"},
            (),
            b"",
        ),
        (
            {"statusCode": 302, "headers": {"Set-Cookie": "a=1"}, "cookies": ["b=2; Path=/", "c=3"], "body": "é"},
            302,
            {},
            ("a=1", "b=2; Path=/", "c=3"),
            "é".encode(),
        ),
        (
            {
                "statusCode": 200,
                "headers": {"X": "2", "Set-Cookie": "b=2"},
                "multiValueHeaders": {"X": ["1", "2"], "Set-Cookie": ["a=1", "b=2"]},
                "cookies": ["c=3", "b=2"],
            },
            200,
            {"x": "2, 1"},
            ("a=1", "c=3", "b=2"),
            b"",
        ),
        ({"statusCode": 200, "headers": {"etag": "a", "ETag": "b"}}, 200, {"etag": "b"}, (), b""),
        ("hello", 200, {"content-type": "application/json"}, (), b"hello"),
        ({"statusCode": 200, "wrongValue": 1}, 200, {}, (), b""),
        (
            b'{"statusCode":201,"headers":{"x":"1"},"cookies":["a=1"]}' + bytes(8) + b"\x00str",
            201,
            {"x": "1"},
            ("a=1",),
            b"\x00str",
        ),
        ({"statusCode": 204, "headers": {"Content-Type": "a/b"}, "body": "dropped"}, 204, {}, (), b""),
        (
            {"statusCode": 200, "headers": {"Set-Cookie": "a=1", "set-cookie": "b=2", "X-A": "1", "x-a": "2"}},
            200,
            {"x-a": "1, 2"},
            ("a=1", "b=2"),
            b"",
        ),
    ],
)
def test_a_response_is_read_as_api_gateway_reads_it(
    response: object, status: int, headers: dict[str, str], cookies: tuple[str, ...], body: bytes
) -> None:
    answer = call(AnsweringService(200, response))
    assert (answer.status, answer.headers, answer.cookies, answer.body) == (status, headers, cookies, body)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ({"statusCode": 200, "body": {"a": True}}, "body"),
        ({"statusCode": 200, "body": 7}, "body"),
        ({"statusCode": 200, "headers": {"x": None}}, "null"),
        ({"statusCode": 200, "headers": {"x": ["a", "b"]}}, "list"),
        ({"statusCode": 200, "headers": {"x": {}}}, "object"),
        ({"statusCode": 200, "headers": []}, "headers"),
        ({"statusCode": 200, "cookies": "a=1"}, "cookies"),
        ({"statusCode": 200, "cookies": [1]}, "cookies"),
        ({"statusCode": 200, "body": "@@", "isBase64Encoded": True}, "base64"),
        ({"statusCode": 200, "body": "YQ==", "isBase64Encoded": "true"}, "isBase64Encoded"),
        ({"statusCode": 200, "body": "\ud800"}, "surrogate"),
        ({"statusCode": None}, "statusCode"),
        ({"statusCode": True}, "statusCode"),
        ({"statusCode": 200.5}, "statusCode"),
        ({"statusCode": "OK"}, "statusCode"),
        ({"statusCode": 99}, "statusCode"),
        ({"statusCode": 101}, "statusCode"),
        ({"statusCode": 600}, "statusCode"),
        ({"statusCode": 200, "headers": {"x": "a\r\nb: c"}}, "line break"),
        ({"statusCode": 200, "cookies": ["a=1\nb"]}, "line break"),
        ({"statusCode": 200, "multiValueHeaders": {"x": "1"}}, "list"),
        (b'{"statusCode": 2' + bytes(8) + b"x", "JSON"),
        ({"statusCode": []}, "statusCode"),
    ],
)
def test_a_response_that_api_gateway_would_refuse_is_the_functions_fault(response: object, why: str) -> None:
    with pytest.raises(ProviderError) as raised:
        call(AnsweringService(200, response))
    assert (raised.value.failure, raised.value.verdict, raised.value.status) == (Failure.BROKEN, Fault.FUNCTION, 200)
    assert why in raised.value.detail


def test_the_answer_to_head_has_no_body() -> None:
    caller = LambdaCaller(
        lambda _: cast(SignedService, AnsweringService(200, {"statusCode": 200, "body": "x"})), clock=ManualClock()
    )
    answer = caller.call(an_endpoint(address="f"), a_request(method="HEAD", body=b""), timeout_ms=1000)
    assert (answer.status, answer.body, answer.headers) == (200, b"", {"content-length": "1"})


def test_an_answer_that_lambda_could_not_take_says_how_to_mend_it() -> None:
    error = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded …"}
    with pytest.raises(ProviderError) as raised:
        call(AnsweringService(200, error, {"x-amz-function-error": "Unhandled"}))
    assert (raised.value.failure, raised.value.verdict) == (Failure.BROKEN, Fault.FUNCTION)
    assert "pre-signed URL" in raised.value.detail


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (
            {"errorType": "Runtime.ImportModuleError", "errorMessage": "No module named 'x'"},
            "Runtime.ImportModuleError",
        ),
        ({"errorType": "Runtime.ExitError", "errorMessage": "Error: Runtime exited"}, "Runtime.ExitError"),
        ({"errorType": "Runtime.HandlerNotFound"}, "Runtime.HandlerNotFound"),
        ({"errorType": "token=abc def"}, "Unhandled"),
        ({"errorType": "x" * 200}, "Unhandled"),
        ({}, "Unhandled"),
    ],
)
def test_what_a_function_raised_is_told_by_its_type(error: dict[str, str], error_type: str) -> None:
    answer = call(AnsweringService(200, error, {"x-amz-function-error": "Unhandled"}))
    assert (answer.status, answer.is_unhandled, answer.error_type) == (500, True, error_type)


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
