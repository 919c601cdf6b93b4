"""What one tenant asks for moves no other tenant's requests: whatever it makes copies answer, they go where they went.

As proxied calls and as reports under a lease, by many kinds of own doing; then as the clouds' own doors answer.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.policy import Idempotent, Shadow
from fiso.domain.request import InvocationRequest
from fiso.ports import FunctionCaller
from fiso.testing.endpoints import Script, ScriptedEndpoints
from fiso.testing.rig import READ_AGAIN_S, Rig, http_event, word_count
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure
from functions.orchestrator.wiring import Ports
from tests.builders import an_entry
from tests.edge import BY_IAM, an_outcome, answered, failed, report_of, signed
from tests.functional.lease_servers import serving
from tests.security.genuine_clouds import TAKEN, at, rig_over

HONEST, OTHER, THIRD = "111111111111", "222222222222", "333333333333"
LATENCY_MS = {"aws-us-east-1": 30.0, "azure-eastus": 90.0, "gcp-us-east4": 150.0}
JSON, PAGE = {"content-type": "application/json"}, {"content-type": "text/html"}
GOOD = FunctionAnswer(status=200, body=b'{"count": 3}', headers=JSON)
ROUNDS, A_ROUND = 30, 4
OWN_DOING = "own-doing=1"


def gives(status: int, headers: Mapping[str, str] = JSON, body: bytes = b'{"error": "x"}') -> FunctionAnswer:
    return FunctionAnswer(status=status, headers=headers, body=body, is_function_error=status >= 500)


def empty(status: int, **headers: str) -> FunctionAnswer:
    return gives(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


DOINGS: dict[str, tuple[dict[str, str], FunctionAnswer]] = {
    "a condition that does not hold": ({"if_match": '"old"'}, empty(412)),
    "an older copy is enough": ({"if_none_match": "*"}, empty(304, etag='"x"')),
    "unmodified since long ago": ({"if_unmodified_since": "Thu, 01 Jan 1970 00:00:00 GMT"}, empty(412)),
    "part of it": ({"range": "bytes=0-1"}, gives(206, {"content-type": "text/plain"}, b"ab")),
    "a part that there is not": ({"range": "bytes=99999999-"}, empty(416, content_range="bytes */12")),
    "an expectation": ({"expect": "200-ok"}, empty(417)),
    "another kind of answer": ({"accept": "text/html"}, gives(200, PAGE, b"<p>3</p>")),
    "an image": ({"accept": "image/png"}, gives(200, {"content-type": "image/png"}, b"\x89PNG\r\n")),
    "a kind that there is not": ({"accept": "image/nothing"}, gives(406)),
    "a coding that there is not": ({"accept_encoding": "identity;q=0"}, gives(406, PAGE, b"<h1>406</h1>")),
    "a body of another kind": ({"content_type": "text/nothing"}, gives(415)),
    "a body that is not what it says": ({"content_encoding": "gzip"}, gives(400, PAGE, b"<h1>Bad Request</h1>")),
    "a body that says nothing": ({}, gives(422)),
    "a body that is too large": ({}, gives(413, PAGE, b"<h1>Request Entity Too Large</h1>")),
    "headers that are too large": ({"x_a": "a" * 4_000}, gives(431, PAGE, b"<h1>431</h1>")),
    "a path that is too long": ({}, gives(414, PAGE, b"<h1>414</h1>")),
    "a length that is missing": ({}, gives(411)),
    "another method": ({"x_http_method_override": "DELETE"}, gives(405)),
    "a path that there is not": ({}, gives(404)),
    "a page that there is not": ({"accept": "text/html"}, gives(404, PAGE, b"<h1>Not Found</h1>")),
    "a path without its slash": ({}, empty(308, location="/x/")),
    "a page that moved": ({}, empty(302, location="https://elsewhere.example/")),
    "several choices": ({}, gives(300)),
    "what is gone": ({}, gives(410)),
    "a token of its own that is none": ({"authorization": "Bearer none"}, gives(401)),
    "what it may not": ({}, gives(403)),
    "what costs": ({}, gives(402)),
    "what conflicts": ({}, gives(409)),
    "what needs a condition": ({}, gives(428)),
    "too much of it": ({}, gives(429)),
    "what is kept from it by law": ({}, gives(451)),
    "too slow a body": ({}, gives(408)),
    "another host": ({"x_forwarded_host": "elsewhere.example"}, gives(421)),
    "an upgrade": ({}, gives(426)),
    "nothing at all": ({"prefer": "return=minimal"}, empty(204)),
    "an empty answer": ({}, gives(200, {}, b"")),
    "what makes the function fail": ({}, gives(500)),
    "what makes its framework fail": ({}, gives(500, PAGE, b"<h1>Internal Server Error</h1>")),
    "what its own backend has not": ({}, gives(502)),
    "what it does not do now": ({}, gives(503)),
    "what takes its own backend too long": ({}, gives(504)),
}  # fmt: skip


class ByRequest:
    """Copies that are alike: each answers a request that is somebody's own doing with `answer`, and any other well, but
    for one in `broken`."""

    def __init__(self, copies: FunctionCaller, answer: FunctionAnswer, broken: Mapping[str, FunctionAnswer]) -> None:
        assert isinstance(copies, ScriptedEndpoints)
        self._copies, self._answer, self._broken = copies, answer, broken

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        answer = self._answer if request.query == OWN_DOING else self._broken.get(endpoint.id, GOOD)
        self._copies.set(endpoint.id, Script(answer=answer, latency_ms=LATENCY_MS[endpoint.id]))
        return self._copies.call(endpoint, request, timeout_ms=timeout_ms)


def a_rig(answer: FunctionAnswer, broken: Mapping[str, FunctionAnswer] = MappingProxyType({}), **policy: Any) -> Rig:
    """Two tenants' function whose copies are known to both."""

    def changed(ports: Ports) -> Ports:
        return replace(ports, caller=ByRequest(ports.caller, answer, broken))

    rig = Rig(word_count(**policy), settings=BY_IAM, ports=changed)
    for number in range(40):
        ask(rig, HONEST if number % 2 else OTHER)
        rig.advance(1)
    assert served(rig, 5) == Counter({"aws-us-east-1": 5})
    return rig


def ask(rig: Rig, tenant: str, query: str = "", **headers: str) -> tuple[int, list[EndpointId]]:
    """One request: its status, and whom it was sent to."""
    before = len(rig.calls)
    response = rig.send(signed({**http_event(**headers), "rawQueryString": query}, tenant))
    return response["statusCode"], rig.calls[before:]


def served(rig: Rig, rounds: int, doing: Mapping[str, str] | None = None, tenant: str = OTHER) -> Counter[str]:
    """Whom an honest tenant's requests went to, one a second, beside another one's own doing."""
    found = Counter[str]()
    for _ in range(rounds):
        for _ in range(A_ROUND if doing is not None else 0):
            ask(rig, tenant, OWN_DOING, **(doing or {}))
            rig.clock.advance(1 / (A_ROUND + 1))
        status, called = ask(rig, HONEST)
        assert status == 200
        found.update(called)
        rig.advance(1 / (A_ROUND + 1) if doing is not None else 1)
    return found


@pytest.mark.parametrize("idempotent", [Idempotent.YES, Idempotent.NO])
@pytest.mark.parametrize(("doing", "answer"), DOINGS.values(), ids=DOINGS.keys())
def test_what_one_tenant_asks_for_moves_no_other_ones_requests(
    doing: dict[str, str], answer: FunctionAnswer, idempotent: Idempotent
) -> None:
    rig = a_rig(answer, idempotent=idempotent)
    assert served(rig, ROUNDS, doing) == Counter({"aws-us-east-1": ROUNDS})
    assert served(rig, 10) == Counter({"aws-us-east-1": 10})


@pytest.mark.parametrize("excluded", ["aws", "azure,gcp", "azure"])
@pytest.mark.parametrize(
    "answer",
    [
        *map(gives, (400, 401, 404, 413, 429, 302, 500, 503)),
        gives(200, PAGE, b"<p>3</p>"),
        gives(200, {}, b""),
        gives(206, {"content-type": "text/plain"}, b"3"),
        empty(204),
    ],
    ids=lambda answer: f"{answer.status} {answer.shape}",
)
def test_nor_does_it_where_it_names_the_copies_itself(answer: FunctionAnswer, excluded: str) -> None:
    rig = a_rig(answer)
    assert served(rig, ROUNDS, {"x_fiso_exclude": excluded}) == Counter({"aws-us-east-1": ROUNDS})
    assert served(rig, 10) == Counter({"aws-us-east-1": 10})


class ByPlace(ByRequest):
    """The best copy answers a request that is somebody's own doing otherwise than its siblings do."""

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        answer = self._answer if (request.query, endpoint.id) == (OWN_DOING, "aws-us-east-1") else GOOD
        self._copies.set(endpoint.id, Script(answer=answer, latency_ms=LATENCY_MS[endpoint.id]))
        return self._copies.call(endpoint, request, timeout_ms=timeout_ms)


def test_what_copies_differ_by_in_one_tenants_requests_quarantines_none_until_another_meets_it() -> None:
    shadow = Shadow(share=1.0, per_minute=6_000, quarantine=True)
    odd = gives(200, JSON, b'{"count": 3, "from": "us-east-1"}')
    ports = lambda ports: replace(ports, caller=ByPlace(ports.caller, odd, {}))  # noqa: E731
    rig = Rig(word_count(shadow=shadow), settings=BY_IAM, ports=ports)
    for tenant in (HONEST, OTHER) * 10:
        ask(rig, tenant)
        rig.advance(1)
    served(rig, ROUNDS, {})
    rig.advance(READ_AGAIN_S)
    assert answered_by(rig, HONEST) == answered_by(rig, OTHER) == "aws-us-east-1"
    served(rig, 3, {}, tenant=THIRD)
    rig.advance(READ_AGAIN_S)
    assert answered_by(rig, HONEST) != "aws-us-east-1"


def answered_by(rig: Rig, tenant: str) -> EndpointId | None:
    ask(rig, tenant)
    return rig.records[-1].result.endpoint


@pytest.mark.parametrize("status", [404, 401, 302, 500, 502])
def test_what_two_tenants_meet_is_the_copys_for_all(status: int) -> None:
    broken: dict[str, FunctionAnswer] = {}
    rig = a_rig(GOOD, broken, idempotent=Idempotent.NO)
    broken["aws-us-east-1"] = gives(status)
    assert [ask(rig, tenant) for tenant in (OTHER, HONEST)] == [(status, ["aws-us-east-1"])] * 2
    assert ask(rig, THIRD)[0] == ask(rig, OTHER)[0] == 200


@pytest.mark.parametrize("status", [404, 302, 500])
def test_what_a_sibling_does_well_by_the_same_request_is_the_copys_at_once(status: int) -> None:
    broken: dict[str, FunctionAnswer] = {}
    rig = a_rig(GOOD, broken, idempotent=Idempotent.YES)
    broken["aws-us-east-1"] = gives(status)
    assert ask(rig, OTHER)[0] == 200
    assert len(ask(rig, HONEST)[1]) == 1


def reported(rig: Rig, doing: Mapping[str, str], attempts: list[dict[str, Any]]) -> None:
    lease = json.loads(rig.send(signed(http_event(path="/v1/decide/word-count", **doing), OTHER))["body"])
    rig.clock.advance(1)
    outcomes = [an_outcome(number, attempt) for number, attempt in enumerate(attempts)]
    event = http_event(path="/v1/outcomes", body=report_of(lease["token"], *outcomes))
    assert json.loads(rig.send(signed(event, OTHER))["body"])["accepted"] == len(outcomes)
    rig.fold()


@pytest.mark.parametrize("answer", [answer for _, answer in DOINGS.values()], ids=DOINGS.keys())
def test_nor_does_what_it_reports_of_its_own_calls(answer: FunctionAnswer) -> None:
    rig = a_rig(GOOD)
    for _ in range(5):
        attempt = answered("aws-us-east-1", status=answer.status, shape=answer.shape)
        reported(rig, {}, [attempt] * 20)
        assert served(rig, 5) == Counter({"aws-us-east-1": 5})


@pytest.mark.parametrize("failure", [each for each in Failure if each is not Failure.NOT_NEEDED])
def test_nor_do_its_own_time_outs_and_whatever_else_it_says_that_failed(failure: Failure) -> None:
    rig = a_rig(GOOD)
    for _ in range(5):
        reported(rig, {}, [failed("aws-us-east-1", failure)] * 20)
        assert served(rig, 5) == Counter({"aws-us-east-1": 5})


GOOGLES = (
    b"<html><head><title>Error: Request Entity Too Large</title></head><body><h1>413. That's an error.</h1></body>"
)
MICROSOFTS = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN""http://www.w3.org/TR/html4/strict.dtd"><HTML><HEAD>'
    b"<TITLE>Bad Request</TITLE></HEAD><BODY><h2>Bad Request - Request Too Long</h2><hr>"
    b"<p>HTTP Error 400. The size of the request headers is too long.</p></BODY></HTML>"
)


def awss(status: int, name: str) -> tuple[int, dict[str, str], bytes]:
    return status, {**JSON, "x-amzn-errortype": name, "x-amzn-requestid": "1"}, b'{"Type": "User", "message": "no"}'


DOORS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "a request too large for Lambda": awss(413, "RequestTooLargeException"),
    "a body that Lambda cannot read": awss(400, "InvalidRequestContentException"),
    "a kind that Lambda does not take": awss(415, "UnsupportedMediaTypeException"),
    "too large for Google": (413, {"content-type": "text/html; charset=UTF-8"}, GOOGLES),
    "headers too large for Microsoft": (400, {"content-type": "text/html; charset=us-ascii"}, MICROSOFTS),
    "a URL too long": (414, {"content-type": "text/html"}, b"<h2>Request URL Too Long</h2>"),
    "headers too large": (431, {"connection": "close"}, b""),
    "a body too large": (413, {"content-length": "0"}, b""),
    "a length that is missing": (411, {"content-type": "text/html"}, b"<h2>Length Required</h2>"),
    "a path that is none": (400, {"content-type": "text/html"}, b"<h2>Bad Request - Invalid URL</h2>"),
}


@contextmanager
def behind_doors(answer: tuple[int, dict[str, str], bytes]) -> Iterator[Rig]:
    """The genuine callers before the doors of their clouds, which answer so whoever asks with OWN_DOING."""
    is_lambdas = "x-amzn-errortype" in answer[1]
    providers = (Provider.AWS, Provider.AWS) if is_lambdas else (Provider.AZURE, Provider.GCP)

    def respond(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        is_own_doing = OWN_DOING in path or OWN_DOING.encode() in body
        return answer if is_own_doing else (200, JSON, TAKEN)

    with serving(respond) as server:
        places = [at(server.url, each, id=EndpointId(f"{each}-{n}")) for n, each in enumerate(providers)]
        with rig_over(server.url, an_entry(*places, idempotent=Idempotent.NO), settings=BY_IAM) as rig:
            yield rig


@pytest.mark.parametrize("answer", DOORS.values(), ids=DOORS.keys())
def test_nor_does_what_a_door_says_of_a_request_that_it_does_not_take(
    answer: tuple[int, dict[str, str], bytes],
) -> None:
    with behind_doors(answer) as rig:
        for number in range(40):
            ask(rig, HONEST if number % 2 else OTHER)
            rig.advance(1)
        for _ in range(15):
            status, called = ask(rig, OTHER, OWN_DOING)
            assert (400 <= status < 500, len(called)) == (True, 1)
            rows = json.loads(rig.send(signed(http_event("GET", "/v1/endpoints"), HONEST))["body"])["endpoints"]
            assert {row["breaker"] for row in rows} == {"closed"}
            rig.advance(0.5)
            assert ask(rig, HONEST)[0] == 200
            rig.advance(0.5)
