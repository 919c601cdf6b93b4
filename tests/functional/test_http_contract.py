"""What of an HTTP request reaches the function, and of its answer the caller, through the whole orchestrator."""

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from fiso.domain.access import AuthMode
from fiso.domain.cors import Cors
from fiso.domain.request import METHODS, InvocationRequest
from fiso.settings import AccessSettings
from fiso.testing.endpoints import OK
from fiso.testing.rig import SETTINGS, Rig, http_event, word_count
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Fault
from tests.builders import failing
from tests.edge import BY_IAM, problem_of, signed

pytestmark = pytest.mark.usefixtures("each_door")

INVOKE = "/v1/invoke/word-count"
PAGE = "https://app.example.com"
RULE = Cors(allow_origins=frozenset({PAGE}), allow_credentials=True)
BY_TOKEN = replace(SETTINGS, access=AccessSettings(mode=AuthMode.JWT))
PREFLIGHT = {"origin": PAGE, "access_control_request_method": "PUT"}


def seen(event: dict[str, Any], rig: Rig | None = None) -> InvocationRequest:
    """The request as the function's caller gets it."""
    rig = rig or Rig()
    response = rig.send(event)
    assert response["statusCode"] == 200, response["body"]
    ((_, request),) = rig.caller.calls
    return request


def at(path: str, method: str = "GET") -> dict[str, Any]:
    return http_event(method, path, "")


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("suffix", ["", "/", "/a/b"])
def test_every_method_reaches_the_function(method: str, suffix: str) -> None:
    request = seen(at(INVOKE + suffix, method))
    assert (request.method, request.path_suffix) == (method, suffix)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW", ""])
def test_any_other_is_told_which_there_are(method: str) -> None:
    rig = Rig()
    response = rig.send(at(INVOKE, method))
    assert response["statusCode"] == 405
    assert response["headers"]["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    assert rig.calls == []


@pytest.mark.parametrize(
    ("decoded_once", "sent_on"),
    [
        ("/100%41", "/100%2541"),  # sent as 100%2541, where %25 is decoded as well
        ("/100%2541", "/100%2541"),  # the same, where it is not
        ("/50%", "/50%25"),
        ("/a b", "/a%20b"),
        ("/ж/é", "/%D0%B6/%C3%A9"),
        ("/a?b#c", "/a%3Fb%23c"),
        ("/a;v=1,2/@x:y+z!$&'()*=~_-.", "/a;v=1,2/@x:y+z!$&'()*=~_-."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a//b/", "/a//b/"),
        ('/"<>\\^`{|}[]', "/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D"),
    ],
)
def test_a_path_arrives_as_it_was_sent(decoded_once: str, sent_on: str) -> None:
    assert seen(at(INVOKE + decoded_once)).path_suffix == sent_on


@pytest.mark.parametrize(
    "suffix", ["/..", "/a/../..", "/./a", "/%2e%2e/a", "/%252e%252e", "/..%2fa", "/..\\a", "/..%5ca", "/..;x/a"]
)
def test_no_path_leaves_the_endpoints_own(suffix: str) -> None:
    rig = Rig()
    assert rig.send(at(INVOKE + suffix))["statusCode"] == 400
    assert rig.calls == []


@pytest.mark.parametrize("base", ["/prod", "/fiso", "/orders/v1", "/v1", "/a/b/c"])
def test_a_stage_or_a_domains_base_path_before_the_path_is_no_hindrance(base: str) -> None:
    rig = Rig()
    request = seen(at(f"{base}{INVOKE}/v1/invoke/x"), rig)
    assert (request.function, request.path_suffix) == ("word-count", "/v1/invoke/x")
    assert rig.send(at(f"{base}/healthz"))["statusCode"] == 200
    assert rig.send(at(f"{base}/v1/nothing"))["statusCode"] == 404


@pytest.mark.parametrize("path", ["/a/../v1/invoke/word-count", "//v1/invoke/word-count", "/v1x/invoke/word-count"])
def test_what_is_no_base_path_is_no_path(path: str) -> None:
    assert Rig().send(at(path))["statusCode"] == 404


def test_a_caller_is_asked_for_behind_a_base_path_too() -> None:
    rig = Rig(settings=BY_IAM)
    assert rig.send(at(f"/fiso{INVOKE}"))["statusCode"] == 401


@pytest.mark.parametrize("body", ["{", "NaN", "\ufeff{}", "not JSON"])
def test_a_body_is_the_functions_matter(body: str) -> None:
    assert seen(http_event(body=body)).body == body.encode()


def test_a_compressed_body_goes_whole_with_its_header() -> None:
    request = seen(http_event(body=b"\x1f\x8b\x08\x00", content_encoding="gzip"))
    assert (request.body, request.headers["content-encoding"]) == (b"\x1f\x8b\x08\x00", "gzip")
    assert request.headers["content-type"] == "application/json"


def test_no_content_type_stays_none() -> None:
    event = http_event()
    del event["headers"]["content-type"]
    assert "content-type" not in seen(event).headers


def test_a_function_sees_where_a_request_came_from() -> None:
    event = http_event(host="api.example.com", x_forwarded_for="203.0.113.7, 198.51.100.9", x_forwarded_proto="https")
    event["requestContext"]["http"] |= {"sourceIp": "198.51.100.9", "protocol": "HTTP/2.0"}
    request = seen(event)
    assert (request.source_ip, request.host, request.protocol) == ("198.51.100.9", "api.example.com", "HTTP/2.0")
    assert request.headers["x-forwarded-for"] == "203.0.113.7, 198.51.100.9"
    assert (request.headers["x-forwarded-host"], request.headers["x-forwarded-proto"]) == ("api.example.com", "https")
    assert "host" not in request.headers


def test_nothing_of_the_context_breaks_out_of_its_line() -> None:
    event = http_event()
    event["requestContext"] |= {"domainName": "a\r\nx: y"}
    event["requestContext"]["http"] |= {"sourceIp": "1.1.1.1\r\nx: y", "protocol": "\n"}
    headers = seen(event).headers
    assert not {"x-forwarded-for", "x-forwarded-host"} & headers.keys()


def test_a_callers_address_is_appended_where_no_gateway_did() -> None:
    event = http_event(x_forwarded_for="1.1.1.1")
    event["requestContext"]["http"]["sourceIp"] = "2.2.2.2"
    assert seen(event).headers["x-forwarded-for"] == "1.1.1.1, 2.2.2.2"


def test_a_function_sees_who_calls_and_nobody_can_claim_to_be_another() -> None:
    event = signed(http_event(x_fiso_tenant="root", x_fiso_caller="root", authorization="AWS4-HMAC-SHA256 …"))
    headers = seen(event, Rig(settings=BY_IAM)).headers
    assert headers["x-fiso-tenant"] == "111122223333"
    assert headers["x-fiso-caller"] == "arn:aws:iam::111122223333:user/somebody"
    assert "authorization" not in headers


def test_a_signature_in_the_query_is_for_fiso_alone() -> None:
    query = "a=1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c&X-Amz-Security-Token=t&X-Amz-Signature=s&b=2"
    event = signed(http_event() | {"rawQueryString": query})
    assert seen(event, Rig(settings=BY_IAM)).query == "a=1&b=2"
    assert seen(http_event() | {"rawQueryString": query}).query == query


def test_cookies_pass_from_where_api_gateway_puts_them() -> None:
    assert seen(http_event() | {"cookies": ["a=1", "b=2"]}).headers["cookie"] == "a=1; b=2"
    assert seen(http_event(cookie="a=1; b=2")).headers["cookie"] == "a=1; b=2"


def test_a_policy_narrows_what_goes_and_what_comes_back() -> None:
    answer = FunctionAnswer(
        status=200, body=b"a", headers={"content-type": "a/b", "etag": "1", "link": "2"}, cookies=("s=1",)
    )
    narrow = word_count(request_headers=frozenset({"accept"}), answer_headers=frozenset({"etag"}))
    rig = Rig(narrow, respond=failing(answer))
    response = rig.send(http_event(accept="a/b", cookie="a=1"))
    ((_, request),) = rig.caller.calls
    own = {name for name in request.headers if not name.startswith(("x-fiso-", "x-forwarded-"))}
    assert own == {"accept", "content-type"}
    assert {"content-type", "etag"} == {"content-type", "etag", "link"} & response["headers"].keys()
    assert "cookies" not in response


def test_cookies_and_headers_of_an_answer_come_back() -> None:
    answer = FunctionAnswer(
        status=201,
        body=b"a",
        headers={"content-type": "text/plain", "link": "</b>; rel=next", "server-timing": "db;dur=1"},
        cookies=("a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
    )
    response = Rig(respond=failing(answer)).send(http_event())
    assert response["cookies"] == list(answer.cookies)
    assert response["headers"]["link"] == "</b>; rel=next"
    assert response["headers"]["server-timing"].startswith("db;dur=1, function;dur=")


def test_a_replay_under_a_key_has_its_cookies_too() -> None:
    answer = replace(OK, cookies=("a=1", "b=2"), headers={**OK.headers, "link": "x"})
    rig = Rig(respond=failing(answer))
    first, second = (rig.send(http_event(idempotency_key="k")) for _ in range(2))
    assert first["cookies"] == second["cookies"] == ["a=1", "b=2"]
    assert (second["headers"]["link"], second["headers"]["idempotent-replayed"]) == ("x", "true")


@pytest.mark.parametrize("status", [204, 304])
def test_what_ends_with_its_head_has_no_body(status: int) -> None:
    answer = FunctionAnswer(status=status, body=b"not to be", headers={"etag": "1"})
    response = Rig(respond=failing(answer)).send(http_event("GET"))
    assert (response["statusCode"], response["body"], response["headers"]["etag"]) == (status, "", "1")


def test_head_has_the_headers_and_no_body() -> None:
    answer = FunctionAnswer(status=200, body=b"abc", headers={"content-type": "text/plain", "content-length": "3"})
    response = Rig(respond=failing(answer)).send(http_event("HEAD", body=""))
    assert (response["body"], response["headers"]["content-length"]) == ("", "3")


RAISED = FunctionAnswer(
    status=500,
    body=b'{"errorType": "KeyError", "errorMessage": "password=hunter2"}',
    headers={"content-type": "application/json"},
    is_function_error=True,
    is_unhandled=True,
)


def test_what_a_function_raises_is_not_told_to_the_public() -> None:
    rig = Rig(word_count(fail_over_on=frozenset()), respond=failing(RAISED))
    response = rig.send(http_event())
    assert (response["statusCode"], response["headers"]["x-fiso-function-error"]) == (500, "1")
    assert "hunter2" not in json.dumps(response)
    told = problem_of(response)
    assert (told["verdict"], told["invocation_id"]) == (Fault.FUNCTION, response["headers"]["x-fiso-invocation-id"])


def test_the_record_names_what_was_raised_and_not_with_which_words() -> None:
    raised = replace(RAISED, error_type="Runtime.ImportModuleError")
    rig = Rig(word_count(fail_over_on=frozenset()), respond=failing(raised))
    rig.send(http_event())
    attempt = rig.only_record.attempts[0]
    assert (attempt.verdict, attempt.evidence) == (Fault.FUNCTION, "status 500 Runtime.ImportModuleError")


def test_it_is_told_where_the_policy_says_so() -> None:
    rig = Rig(word_count(expose_errors=True), respond=failing(RAISED))
    assert "hunter2" in rig.send(http_event())["body"]


def test_an_error_that_a_function_answers_is_its_own() -> None:
    rig = Rig(respond=failing(replace(RAISED, is_unhandled=False)))
    assert "hunter2" in rig.send(http_event())["body"]


@pytest.mark.parametrize("settings", [SETTINGS, BY_IAM, BY_TOKEN])
@pytest.mark.parametrize("suffix", ["", "/a"])
def test_a_preflight_is_answered_without_credentials_and_runs_nothing(settings: Any, suffix: str) -> None:
    rig = Rig(word_count(cors=RULE), settings=settings)
    response = rig.send(http_event("OPTIONS", INVOKE + suffix, "", **PREFLIGHT))
    assert (response["statusCode"], response["headers"]["access-control-allow-origin"]) == (204, PAGE)
    assert response["headers"]["access-control-allow-credentials"] == "true"
    assert response["headers"]["access-control-allow-methods"] == "GET, HEAD, POST"
    assert (rig.calls, rig.stores.log.records) == ([], {})


@pytest.mark.parametrize("settings", [BY_IAM, BY_TOKEN])
def test_a_stranger_does_not_learn_which_functions_there_are(settings: Any) -> None:
    rig = Rig(word_count(), settings=settings)

    def asked(function: str) -> dict[str, Any]:
        response = rig.send(http_event("OPTIONS", f"/v1/invoke/{function}", "", **PREFLIGHT))
        own = ("x-fiso-overhead-ms", "x-fiso-invocation-id")
        return response | {"headers": {name: value for name, value in response["headers"].items() if name not in own}}

    assert asked("word-count") == asked("nobody")
    assert not [name for name in asked("nobody")["headers"] if name.startswith("access-control-")]


def test_a_preflight_of_a_function_without_a_rule_is_its_own_where_nobody_is_asked() -> None:
    rig = Rig()
    rig.send(http_event("OPTIONS", INVOKE, "", **PREFLIGHT))
    assert [request.method for _, request in rig.caller.calls] == ["OPTIONS"]


def test_other_options_go_to_the_function_whatever_the_rule() -> None:
    rig = Rig(word_count(cors=RULE))
    rig.send(http_event("OPTIONS", INVOKE, "", origin=PAGE))
    assert len(rig.calls) == 1


def test_a_function_without_a_rule_says_itself_who_may_read() -> None:
    answer = replace(OK, headers={**OK.headers, "access-control-allow-origin": "*", "vary": "accept"})
    response = Rig(respond=failing(answer)).send(http_event(origin=PAGE))
    assert (response["headers"]["access-control-allow-origin"], response["headers"]["vary"]) == ("*", "accept")


@pytest.mark.parametrize(("origin", "read_by"), [(PAGE, PAGE), ("https://evil.example", None), ("", None)])
def test_where_there_is_a_rule_it_alone_counts(origin: str, read_by: str | None) -> None:
    answer = replace(OK, headers={**OK.headers, "access-control-allow-origin": "*", "vary": "accept"})
    rig = Rig(word_count(cors=RULE), respond=failing(answer))
    response = rig.send(http_event(origin=origin) if origin else http_event())
    assert response["headers"].get("access-control-allow-origin") == read_by
    assert response["headers"]["vary"] == "accept, origin"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (http_event(origin=PAGE), 401),
        (signed(http_event(origin=PAGE, x_fiso_timeout_ms="soon")), 400),
        (signed(http_event(origin=PAGE, idempotency_key="")), 400),
        (signed(http_event(origin=PAGE, body="x" * (5 * 2**20 + 1), content_type="text/plain")), 413),
        (signed(http_event("TRACE", origin=PAGE)), 405),
    ],
)
def test_a_page_can_read_what_went_wrong(event: dict[str, Any], status: int) -> None:
    response = Rig(word_count(cors=RULE), settings=BY_IAM).send(event)
    assert (response["statusCode"], response["headers"]["access-control-allow-origin"]) == (status, PAGE)


def test_a_stage_has_a_rule_for_functions_without_one() -> None:
    text = json.dumps({"allow_origins": ["*"], "allow_methods": ["*"]})
    rig = Rig(word_count(), settings=replace(SETTINGS, cors=text))
    assert rig.send(http_event(origin=PAGE))["headers"]["access-control-allow-origin"] == "*"
    told = rig.send(http_event("OPTIONS", INVOKE, "", **PREFLIGHT))["headers"]
    assert (told["access-control-allow-origin"], told["access-control-allow-methods"]) == ("*", "*")
    own = Rig(word_count(cors=RULE), settings=replace(SETTINGS, cors=text))
    assert own.send(http_event(origin=PAGE))["headers"]["access-control-allow-origin"] == PAGE


def test_a_replay_is_read_by_the_page_that_asks_for_it() -> None:
    other = "https://other.example.com"
    rig = Rig(word_count(cors=Cors(allow_origins=frozenset({PAGE, other}))))
    rig.send(http_event(origin=PAGE, idempotency_key="k"))
    again = rig.send(http_event(origin=other, idempotency_key="k"))
    assert again["headers"]["access-control-allow-origin"] == other


def test_binary_answers_are_as_they_were() -> None:
    answer = FunctionAnswer(
        status=200, body=b"\x1f\x8b", headers={"content-type": "text/html", "content-encoding": "gzip"}
    )
    response = Rig(respond=failing(answer)).send(http_event("GET", body=""))
    assert (response["body"], response["isBase64Encoded"]) == (b64encode(b"\x1f\x8b").decode(), True)
