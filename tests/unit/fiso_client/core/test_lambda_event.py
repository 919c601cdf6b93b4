"""The event against AWS's own example of payload format 2.0."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fiso_client.core.failures import Failure, Fault, ProviderError
from fiso_client.core.lambda_event import LARGEST_EVENT, EventRequest, http_event

REQUEST = EventRequest(
    method="POST",
    path="/my/path",
    query="parameter1=value1&parameter1=value2&parameter2=value",
    headers={
        "header1": "value1",
        "header2": "value1,value2",
        "cookie": "cookie1=a; cookie2=b",
        "content-type": "text/plain",
        "user-agent": "agent",
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-proto": "https",
    },
    body=b"Hello from Lambda",
    request_id="id",
    received_at=datetime(2020, 3, 12, 19, 3, 58, 390_000, UTC),
    function="arn:aws:lambda:us-east-1:123456789012:function:f",
    source_ip="192.0.2.1",
    host="id.execute-api.us-east-1.amazonaws.com",
)


def event_of(**changes: Any) -> Any:
    return json.loads(http_event(replace(REQUEST, **changes)))


def body_of(event: Any) -> bytes:
    return base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()


def test_it_is_the_example_of_awss_documentation() -> None:
    assert event_of() == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/path",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
        "cookies": ["cookie1=a", "cookie2=b"],
        "headers": {
            "header1": "value1",
            "header2": "value1,value2",
            "content-type": "text/plain",
            "content-length": "17",
            "user-agent": "agent",
            "host": "id.execute-api.us-east-1.amazonaws.com",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "value"},
        "pathParameters": {"proxy": "my/path"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": "id.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "id",
            "http": {
                "method": "POST",
                "path": "/my/path",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "agent",
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1584039838390,
        },
        "body": "Hello from Lambda",
        "isBase64Encoded": False,
    }


def test_what_is_not_there_is_left_out() -> None:
    event = event_of(method="GET", path="", query="", headers={}, body=b"", function="f", host="", source_ip="")
    assert {"body", "cookies", "queryStringParameters", "pathParameters"}.isdisjoint(event)
    assert (event["rawPath"], event["rawQueryString"], event["isBase64Encoded"]) == ("/", "", False)
    assert event["headers"] == {"x-forwarded-proto": "https", "x-forwarded-port": "443"}
    assert event["requestContext"]["accountId"] == "anonymous"
    assert event["requestContext"]["http"]["userAgent"] == ""


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("tag=a&tag=b", {"tag": "a,b"}),
        ("q=a%20b+c&flag&empty=", {"q": "a b c", "flag": "", "empty": ""}),
        ("x=%C3%BC&x=1,2", {"x": "ü,1,2"}),
    ],
)
def test_parameters_are_decoded_and_joined(query: str, parameters: dict[str, str]) -> None:
    event = event_of(query=query)
    assert (event["queryStringParameters"], event["rawQueryString"]) == (parameters, query)


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/f/a-b;c=d:e@f", "/f/a-b;c=d:e@f"),
        ("/f/a%20b%2Bc", "/f/a b+c"),
        ("/f/100%2541/a%2Fb%3Fc%23", "/f/100%2541/a%2Fb%3Fc%23"),
        ("/f/%C3%BC/%0a/%00/%ff", "/f/%C3%BC/%0a/%00/%ff"),
    ],
)
def test_a_path_is_decoded_as_far_as_nothing_is_lost(path: str, raw_path: str) -> None:
    event = event_of(path=path)
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == raw_path
    assert unquote(raw_path) == unquote(path)


@pytest.mark.parametrize(
    ("content_type", "encoding", "body", "is_text"),
    [
        ("text/plain", None, b"a\x00b\r\n\x1b", True),
        ("application/json", None, '{"name": "Zoë 🙂"}'.encode(), True),
        ("text/html; charset=iso-8859-1", None, "é".encode("latin-1"), False),
        ("text/plain", None, b"\xff\x00", False),
        ("application/json", "gzip", b"\x1f\x8b\x08", False),
        ("application/json", "br", b"abc", False),
        ("application/x-www-form-urlencoded", None, b"a=b", False),
        ("image/png", None, b"abc", False),
        (None, None, b"abc", False),
    ],
)
def test_text_travels_as_text_and_all_else_as_base64(
    content_type: str | None, encoding: str | None, body: bytes, is_text: bool
) -> None:
    given = {"content-type": content_type, "content-encoding": encoding}
    event = event_of(headers={name: value for name, value in given.items() if value is not None}, body=body)
    assert event["isBase64Encoded"] is not is_text
    assert body_of(event) == body


def test_a_large_text_takes_the_shorter_form() -> None:
    escaped = b"\x01" * 1_500_000  # six bytes each as JSON
    event = event_of(body=escaped)
    assert (event["isBase64Encoded"], body_of(event)) == (True, escaped)
    plain = b"a" * 6_000_000  # base64 would take a third more than Lambda does
    event = event_of(body=plain)
    assert (event["isBase64Encoded"], body_of(event)) == (False, plain)


@pytest.mark.parametrize("body", [b'"' * 5_000_000, bytes(4_800_000)])
def test_what_fits_in_no_form_was_never_sent_and_is_no_copys_fault(body: bytes) -> None:
    with pytest.raises(ProviderError) as raised:
        http_event(replace(REQUEST, body=body))
    assert (raised.value.failure, raised.value.verdict) == (Failure.NOT_STARTED, Fault.CALLER)
    assert str(LARGEST_EVENT) in raised.value.detail


def test_no_text_makes_an_event_that_is_not_json() -> None:
    assert event_of(headers={"x": "\ud800 ü"})["headers"]["x"] == "? ü"


def test_the_documentation_shows_it() -> None:
    page = (Path(__file__).parents[4] / "docs" / "lambda-event.md").read_text()
    assert json.loads(page.partition("```json\n")[2].partition("```")[0]) == event_of()
