"""What functions answer to Lambda's Invoke, read as AWS's own front doors read payload format 2.0.

Sources: AWS, "Create AWS Lambda proxy integrations for HTTP APIs"; the snapshots of the genuine cloud in localstack
(`test_lambda_url_invocation`, `test_lambda_runtime_error`, `test_aws_proxy_response_payload_format_validation`).
"""

import base64
import json
from typing import Any

import pytest

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso_client.core.failures import Failure, Fault
from tests.compatibility.copies import answer, behind_fiso, body_of, copy_of, event, ids


def invoked(reply: bytes, method: str = "POST", count: int = 1) -> tuple[dict[str, Any], int, Any]:
    """The response, how many copies were called, and the record."""
    with (
        copy_of(reply) as copy,
        behind_fiso(copy, *(Provider.AWS,) * count, idempotent=Idempotent.NO, repeats_safe_methods=False) as rig,
    ):
        response = rig.send(event(method, body="{}" if method == "POST" else ""))
        return response, len(copy.requests), rig.only_record


def payload(text: str | bytes, *lines: str, status: int = 200) -> bytes:
    return answer(status, text if isinstance(text, bytes) else text.encode(), *lines)


JSON = "application/json"
Read = tuple[str, str, int, bytes, str | None]
READ: list[Read] = [
    ("a status alone", '{"statusCode": 200}', 200, b"", None),
    ("a status as text", '{"statusCode": "418", "body": "x"}', 418, b"x", None),
    ("headers that are null", '{"statusCode": 200, "headers": null, "body": "x"}', 200, b"x", None),
    ("keys that nobody knows", '{"statusCode": 200, "wrongValue": "v", "body": "x"}', 200, b"x", None),
    ("no object", "{}", 200, b"{}", JSON),
    ("a text", '"hello"', 200, b"hello", JSON),
    ("a number", "3.1", 200, b"3.1", JSON),
    ("a truth", "true", 200, b"true", JSON),
    ("a list", '["hello",3,true]', 200, b'["hello",3,true]', JSON),
    ("an object without a status", '{"hello":"world"}', 200, b'{"hello":"world"}', JSON),
    ("nothing", "null", 200, b"null", JSON),
    # kgateway#5618: the header decides, never the payload
    (
        "what looks like an error",
        '{"errorMessage": "Task timed out"}',
        200,
        b'{"errorMessage": "Task timed out"}',
        JSON,
    ),
    ("base64", '{"statusCode": 200, "body": "/wA=", "isBase64Encoded": true}', 200, b"\xff\x00", None),
    (
        "what looks like base64",
        '{"statusCode": 200, "body": "dGVzdA==", "isBase64Encoded": false}',
        200,
        b"dGVzdA==",
        None,
    ),
    ("a 204 with a body", '{"statusCode": 204, "body": "x"}', 204, b"", None),
    ("a 304 with a body", '{"statusCode": 304, "body": "x"}', 304, b"", None),
    # mangum#215; serverless-wsgi#48: the flag decides, whatever the type says
    (
        "gzip of a text type",
        (
            '{"statusCode": 200, "headers": {"content-type": "text/html", "content-encoding": "gzip"}, '
            '"body": "H4sIAA==", "isBase64Encoded": true}'
        ),
        200,
        b"\x1f\x8b\x08\x00",
        "text/html",
    ),
    # AWS, "Response streaming": a streamed response that was asked for whole
    (
        "what was streamed",
        '{"statusCode": 201, "headers": {"content-type": "text/plain"}}\0\0\0\0\0\0\0\0body',
        201,
        b"body",
        "text/plain",
    ),
]


@pytest.mark.parametrize("case", READ, ids=ids(READ))
def test_an_answer(case: Read) -> None:
    _, text, status, body, content_type = case
    response, _, record = invoked(payload(text))
    assert (response["statusCode"], body_of(response)) == (status, body)
    assert response["headers"].get("content-type") == content_type
    assert record.attempts[0].failure is None


OF_FISO = ("server-timing", "content-security-policy", "x-content-type-options")
HEADERS: list[tuple[str, str, dict[str, str]]] = [
    # lambda-dispatch#52, lambda-api#117
    ("numbers and truths", '{"x-n": 1.0, "x-i": 5, "x-b": true}', {"x-n": "1.0", "x-i": "5", "x-b": "true"}),
    ("a length that is wrong", '{"content-length": 99999, "x-a": "1"}', {"x-a": "1"}),
    ("a name in two cases", '{"X-A": "1", "x-a": "2"}', {"x-a": "1, 2"}),
    ("two content types", '{"content-type": "text/a", "Content-Type": "text/b"}', {"content-type": "text/b"}),
    ("hop by hop", '{"connection": "close, x-b", "transfer-encoding": "chunked", "x-b": "1"}', {}),
]


@pytest.mark.parametrize("case", HEADERS, ids=ids(HEADERS))
def test_headers(case: tuple[str, str, dict[str, str]]) -> None:
    _, headers, expected = case
    response, *_ = invoked(payload(f'{{"statusCode": 200, "headers": {headers}, "body": "x"}}'))
    told = {name: value for name, value in response["headers"].items() if name not in OF_FISO and "x-fiso" not in name}
    assert told == expected


COOKIES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a list", {"cookies": ["a=1", "b=2"]}, ["a=1", "b=2"]),
    ("header and list", {"headers": {"set-cookie": "a=1"}, "cookies": ["b=2"]}, ["a=1", "b=2"]),
    # srvx#239: the last one came twice
    ("the same in both", {"headers": {"set-cookie": "b=2"}, "cookies": ["a=1", "b=2"]}, ["a=1", "b=2"]),
    # serverless-http#168, #185
    ("format 1.0", {"multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}}, ["a=1", "b=2"]),
    (
        "format 1.0 and 2.0",
        {"headers": {"Set-Cookie": "b=2"}, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}},
        ["a=1", "b=2"],
    ),
]


@pytest.mark.parametrize("case", COOKIES, ids=ids(COOKIES))
def test_each_cookie_comes_once(case: tuple[str, dict[str, Any], list[str]]) -> None:
    _, told, cookies = case
    response, *_ = invoked(payload(json.dumps({"statusCode": 200, **told})))
    assert sorted(response["cookies"]) == cookies


FAILED: list[tuple[str, str]] = [
    ("a body that is an object", '{"statusCode": 200, "body": {"a": true}}'),
    ("a body that is a number", '{"statusCode": 200, "body": 5}'),
    ("a body that is false", '{"statusCode": 200, "body": false}'),
    ("a header that is null", '{"statusCode": 200, "headers": {"x": null}}'),
    ("a header that is a list", '{"statusCode": 200, "headers": {"x": ["a"]}}'),
    ("a header with a line break", '{"statusCode": 200, "headers": {"x": "a\\r\\nb: c"}}'),
    ("a cookie with a line break", '{"statusCode": 200, "cookies": ["a=1\\nset-cookie: b=2"]}'),
    ("base64 that is none", '{"statusCode": 200, "body": "a", "isBase64Encoded": true}'),
    ("base64 with line breaks", '{"statusCode": 200, "body": "aGVs\\nbG8=", "isBase64Encoded": true}'),
    ("base64 by a text", '{"statusCode": 200, "body": "aGk=", "isBase64Encoded": "true"}'),
    ("half a surrogate pair", '{"statusCode": 200, "body": "\\ud800"}'),
    *(
        (f"a status of {status}", f'{{"statusCode": {status}}}')
        for status in ("99", "100", "101", "600", "1000", "true", '"abc"', "null", "200.7", "-200", "[200]")
    ),
    ("headers that are a list", '{"statusCode": 200, "headers": ["a: b"]}'),
    ("cookies that are a text", '{"statusCode": 200, "cookies": "a=1"}'),
    ("multiValueHeaders that are no lists", '{"statusCode": 200, "multiValueHeaders": {"a": "b"}}'),
    ("half of it", '{"statusCode": 200, "body": "x'),
]


@pytest.mark.parametrize("case", FAILED, ids=ids(FAILED))
def test_what_api_gateway_answers_502_to_is_the_functions_fault_and_ran_once(case: tuple[str, str]) -> None:
    """Every sibling would answer alike, so that no copy is blamed and no breaker opens."""
    response, count, record = invoked(payload(case[1]), count=3)
    assert (response["statusCode"], count) == (504, 1)
    (attempt,) = record.attempts
    assert (attempt.failure, attempt.verdict) == (Failure.BROKEN, Fault.FUNCTION)


def raised(document: dict[str, Any], kind: str = "Unhandled") -> bytes:
    return payload(json.dumps(document), f"x-amz-function-error: {kind}", "x-amzn-requestid: 1")


ENDED: list[tuple[str, dict[str, Any], int, str]] = [
    (
        "it raised",
        {"errorType": "KeyError", "errorMessage": "secret", "requestId": "1", "stackTrace": ["x"]},
        500,
        "KeyError",
    ),
    (
        "it could not be imported",
        {"errorType": "Runtime.ImportModuleError", "errorMessage": "x", "requestId": ""},
        500,
        "ImportModuleError",
    ),
    # an empty requestId: the handler never ran; a handler of a runtime of its own can say the same
    (
        "its start failed",
        {"errorType": "Exception", "errorMessage": "x", "requestId": "", "stackTrace": []},
        500,
        "Exception",
    ),
    (
        "it ended",
        {
            "errorType": "Runtime.ExitError",
            "errorMessage": "RequestId: 1 Error: Runtime exited with error: signal: killed",
        },
        500,
        "ExitError",
    ),
    # floci#3314
    (
        "it returned a set",
        {"errorType": "Runtime.MarshalError", "errorMessage": "x", "requestId": "1"},
        500,
        "MarshalError",
    ),
    (
        "it took too long",
        {"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: 1 Error: Task timed out after 1.00 seconds"},
        502,
        "time limit",
    ),
    # the same before 2024
    (
        "it took too long, as of old",
        {"errorMessage": "2021-11-23T10:12:51.182Z f803 Task timed out after 3.00 seconds"},
        502,
        "time limit",
    ),
    (
        "it answered 7 MB",
        {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded"},
        504,
        "pre-signed",
    ),
]


@pytest.mark.parametrize("case", ENDED, ids=ids(ENDED))
def test_a_function_that_was_ended_ran_once_and_its_text_is_told_to_nobody(
    case: tuple[str, dict[str, Any], int, str],
) -> None:
    _, document, status, told = case
    response, count, record = invoked(raised(document), count=3)
    assert (response["statusCode"], count) == (status, 1)
    assert "secret" not in json.dumps(response)
    assert told in f"{record.attempts[0].evidence} {response['body']}"


@pytest.mark.parametrize("status", [202, 204])
def test_an_invocation_that_only_began_is_no_answer(status: int) -> None:
    """botocore's model: 202 is for events, 204 for dry runs."""
    response, count, record = invoked(payload(b"", status=status), count=3)
    assert (response["statusCode"], count, record.attempts[0].failure) == (504, 1, Failure.PROVIDER_FAULT)


def test_head_keeps_the_length_of_what_get_would_say() -> None:
    """mitmproxy#659: hand-written handlers answer HEAD as they answer GET."""
    reply = payload('{"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "hello"}')
    response, *_ = invoked(reply, "HEAD")
    assert (response["body"], response["headers"]["content-length"]) == ("", "5")


def test_a_large_text_in_base64_comes_back_whole() -> None:
    """AWS: 6,291,556 bytes of response. Base64 takes a third more."""
    body = bytes(range(256)) * 4_000
    reply = payload(json.dumps({"statusCode": 200, "isBase64Encoded": True, "body": base64.b64encode(body).decode()}))
    response, *_ = invoked(reply)
    assert body_of(response) == body
