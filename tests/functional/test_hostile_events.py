"""Events that no gateway sends, and requests that no cloud takes: a 4xx of their own, and nothing is invoked."""

import json
from typing import Any

import pytest

from fiso.testing.endpoints import OK
from fiso_client.core.failures import Failure, ProviderError
from tests.builders import failing
from tests.functional.orchestrator_rig import Rig, http_event, problem_of

PATH = "/v1/invoke/word-count"
EVENTS: dict[str, tuple[Any, int]] = {
    "no event": (None, 400),
    "a list": ([], 400),
    "an empty object": ({}, 404),
    "headers as a list": (http_event() | {"headers": [1]}, 400),
    "requestContext as text": (http_event() | {"requestContext": "x"}, 400),
    "http as a list": (http_event() | {"requestContext": {"http": []}}, 400),
    "a method that is no text": (http_event() | {"requestContext": {"http": {"method": 7}}}, 400),
    "a path that is no text": (http_event() | {"rawPath": 7}, 400),
    "a query that is no text": (http_event() | {"rawQueryString": {"a": 1}}, 400),
    "a body that is no text": (http_event() | {"body": {}}, 400),
    "isBase64Encoded as text": (http_event() | {"isBase64Encoded": "false"}, 400),
    "base64 beyond ASCII": (http_event(body="\u00e9\u00e9") | {"isBase64Encoded": True}, 400),
    "200 headers too many": (http_event() | {"headers": {f"x-{n}": "" for n in range(400)}}, 431),
    "64 KiB in one header": (http_event(x_long="v" * 65_536), 431),
    "a long path": (http_event(path=PATH + "/a" * 4096), 414),
    "a long query": (http_event() | {"rawQueryString": "a" * 4096}, 414),
    "a path above the function's": (http_event(path=PATH + "/a/%2e%2e/%2e%2e/b"), 400),
    "a path of bytes that are no text": (http_event(path=PATH + "/%ff"), 400),
    "a path with a line feed": (http_event(path=PATH + "/%0a"), 400),
    "a path with a lone surrogate": (http_event(path=PATH + "/\ud800"), 400),
    "a query with a lone surrogate": (http_event() | {"rawQueryString": "\ud800"}, 400),
    "a content type beyond ASCII": (http_event(content_type="\u0436/b"), 415),
    "a long content type": (http_event(content_type="a/b;" + "c" * 300), 415),
}


@pytest.mark.parametrize(("event", "status"), EVENTS.values(), ids=EVENTS.keys())
def test_it_is_refused_and_leaves_no_trace(event: Any, status: int) -> None:
    rig = Rig(failing(OK))
    response = rig.send(event)
    assert problem_of(response)["status"] == response["statusCode"] == status
    assert "x-fiso-overhead-ms" in response["headers"]
    assert rig.caller.calls == []
    assert rig.log.records == {}


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("a=1&b=%20", "a=1&b=%20"),
        ("a=1 HTTP/1.1\r\nX: y", "a=1%20HTTP/1.1%0D%0AX:%20y"),
        ("a=\u00e9#b", "a=%C3%A9%23b"),
    ],
)
def test_a_query_cannot_leave_its_place_in_the_request_line(sent: str, seen: str) -> None:
    rig = Rig(failing(OK))
    rig.send(http_event() | {"rawQueryString": sent})
    ((_, request),) = rig.caller.calls
    assert request.query == seen


def test_json_that_is_too_large_to_parse_is_the_functions_own_business() -> None:
    rig = Rig(failing(OK))
    assert rig.send(http_event(body='{"a": ' + "x" * 2**20))["statusCode"] == 200


@pytest.mark.parametrize("path", [PATH, "/v1/explain/word-count", "/v1/decide/word-count", "/v1/outcomes"])
def test_utf16_is_not_json(path: str) -> None:
    event = http_event(path=path, body="//57ACIAYQAiADoAMQB9AA==") | {"isBase64Encoded": True}
    assert Rig(failing(OK)).send(event)["statusCode"] == 400


def test_what_the_cloud_itself_refuses_is_the_callers_fault() -> None:
    response = Rig(failing(ProviderError(Failure.REJECTED, "status 413"))).send(http_event())
    assert problem_of(response)["status"] == 400
    assert "retry-after" not in response["headers"]


def test_every_refusal_can_be_sent() -> None:
    for event, _ in EVENTS.values():
        json.dumps(Rig(failing(OK)).send(event), allow_nan=False).encode()
