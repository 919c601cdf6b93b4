"""Hostile requests and events, by hand, by Hypothesis and by schemathesis: FISO never fails, nothing of what is refused
is invoked or recorded, it costs little time and memory. An input that kills the process kills this run."""

import functools
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

import pytest
import yaml

from fiso.domain.endpoint import Payload, Provider
from fiso.domain.policy import Idempotent
from fiso.testing.endpoints import OK
from fiso.testing.rig import Rig
from fiso_client.core.failures import Failure, ProviderError
from functions.orchestrator.handler import _ROUTES
from tests.builders import an_entry, failing
from tests.edge import problem_of
from tests.security import openapi_fuzz
from tests.security.generated_events import each_generated
from tests.security.genuine_clouds import at, rig_over, taking_all
from tests.security.specimens import EVENT_FUNCTION, FUNCTION, http_event, specimens

P99_MS, HUGE_MS, GROWTH_KB = 50, 250, 64 * 1024
WHOLE = 10_000
"""Events of which a 99th percentile says something on a machine that others use."""
SHORT_MS = 1000
"""A caller whose own deadline is shorter may be told 504."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One event's answer. `invoked` counts the calls that reached the provider, `recorded` the records it left."""

    response: dict[str, Any]
    took_ms: float = 1.0
    invoked: int = 0
    recorded: int = 0
    grew_kb: int = 0

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.response["statusCode"])


@dataclass(slots=True)
class Watched:
    """One execution environment, and what came of each event that it was sent."""

    rig: Rig
    called: list[str]
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[object] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)

    def send(self, event: object) -> Sent:
        """One event as Lambda's runtime hands it over: the time includes reading it and writing the answer."""
        text, before, hits = json.dumps(event), resident_kb(), len(self.called)
        start = perf_counter()
        response = self.rig.send(json.loads(text))
        json.dumps(response, allow_nan=False).encode()
        sent = Sent(
            response=response,
            took_ms=(perf_counter() - start) * 1000,
            invoked=len(self.called) - hits,
            recorded=len(self.rig.stores.log.records),
            grew_kb=resident_kb("VmHWM:") - before,
        )
        for store in (self.rig.stores.log.records, self.rig.metrics.values, self.rig.caller.calls):
            store.clear()
        self.statuses[sent.status] += 1
        self.took_ms.append(sent.took_ms)
        self.broken += [(promise, response, text[:4000]) for promise in broken_promises(event, sent)]
        return sent


def resident_kb(field: str = "VmRSS:") -> int:
    """The resident memory of this process; the highest since it was last asked for the present one (proc(5))."""
    found = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    if field == "VmRSS:":
        Path("/proc/self/clear_refs").write_text("5")
    return int(found.split()[1])


def broken_promises(event: object, sent: Sent) -> list[str]:
    """What an answer to bad input must not be; empty when it keeps every promise."""
    broken = []
    if sent.status >= 500 and not (sent.status == 504 and asks_for_haste(event)):
        broken.append("5xx")
    if 400 <= sent.status < 500 and (sent.invoked or sent.recorded):
        broken.append("invoked")
    if not is_well_formed(sent):
        broken.append("malformed")
    return broken


def asks_for_haste(event: object) -> bool:
    headers = event.get("headers") if isinstance(event, dict) else None
    given = {str(name).lower(): value for name, value in headers.items()} if isinstance(headers, dict) else {}
    text = str(given.get("x-fiso-timeout-ms", ""))
    return text.isdecimal() and int(text) < SHORT_MS


def is_well_formed(sent: Sent) -> bool:
    """A problem is a whole problem document, and no header breaks out of its line."""
    headers = sent.response["headers"]
    if not all(str(value).isascii() and str(value).isprintable() for value in headers.values()):
        return False
    if sent.status < 400:
        return True
    document = json.loads(sent.response["body"])
    is_problem = headers.get("content-type") == "application/problem+json" and "x-fiso-overhead-ms" in headers
    return is_problem and bool(document["invocation_id"]) and int(document["status"]) == sent.status


@contextmanager
def watching() -> Iterator[Watched]:
    """A warm environment."""
    with taking_all() as (url, called):
        policy = {"idempotent": Idempotent.NO, "exploration": 0.5}
        entries = [
            an_entry(*(at(url, cloud, path="/f") for cloud in Provider), name=FUNCTION, **policy),
            an_entry(at(url, Provider.AWS, payload=Payload.EVENT), name=EVENT_FUNCTION, **policy),
        ]
        with rig_over(url, *entries) as rig:
            watched = Watched(rig, called)
            assert {watched.send(http_event()).status for _ in range(30)} == {200}
            yield watched


def test_every_known_specimen_gets_the_status_it_deserves_in_little_time_and_memory() -> None:
    """Made anew and let go of: some are of 10 MB. A huge one is sent twice, since others use this machine as well."""
    wrong: list[object] = []
    with watching() as watched:
        for specimen in specimens():
            sent = [watched.send(specimen.event) for _ in range(1 + specimen.is_huge)]
            if sent[0].status != specimen.status or max(one.grew_kb for one in sent) > GROWTH_KB:
                wrong.append((specimen.name, sent[0].status, sent[0].grew_kb, sent[0].response["body"][:200]))
            if specimen.is_huge and min(one.took_ms for one in sent) > HUGE_MS:
                wrong.append((specimen.name, [one.took_ms for one in sent]))
    assert (wrong, watched.broken) == ([], [])


def test_specimens_have_names_of_their_own() -> None:
    names = Counter(specimen.name for specimen in specimens())
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("count", [300, pytest.param(WHOLE, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_generated_events_break_no_promise_and_cost_little(count: int) -> None:
    generated: list[str] = []
    each_generated(lambda event: generated.append(json.dumps(event)), count=count, first=7)
    with watching() as watched:
        before = resident_kb()
        for text in generated:
            watched.send(json.loads(text))
        grown = resident_kb() - before
    assert watched.broken == []
    assert {200, 400, 404, 405} <= set(watched.statuses), "the events are too alike to say anything"
    assert watched.statuses.total() > count
    assert count < WHOLE or quantiles(watched.took_ms, n=100)[98] <= P99_MS
    assert grown <= GROWTH_KB


@pytest.mark.parametrize(
    ("examples", "cases"), [(5, 40), pytest.param(80, 1_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_requests_made_of_the_document_break_no_promise_and_their_answers_are_described(
    examples: int, cases: int
) -> None:
    with watching() as watched:
        findings = openapi_fuzz.fuzz(
            lambda event: watched.send(event).response, examples=examples, seed=7, is_whole=examples > 5
        )
    assert (watched.broken, findings.undescribed, findings.errors) == ([], [], [])
    assert watched.statuses.total() >= cases


def test_an_answer_that_the_document_does_not_describe_is_found() -> None:
    teapot = {"statusCode": 418, "headers": {"content-type": "text/plain"}, "body": "short and stout"}
    assert openapi_fuzz.fuzz(lambda _: teapot, examples=1, seed=7, is_whole=False).undescribed


def test_the_document_has_every_route_of_the_handler_and_no_other() -> None:
    document = yaml.safe_load(openapi_fuzz.OPENAPI.read_text())
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    example = functools.partial(re.sub, r"\{\w+\}", "0" * 36)
    served = {(method, route.name) for route in _ROUTES for method in route.methods}
    met = [
        (method, route.name)
        for method, path in described
        for route in _ROUTES
        if method in route.methods and route.path.fullmatch(example(path))
    ]
    assert set(met) == served
    assert len(described) == len(met)
    twice = [each for each, count in Counter(met).items() if count > 1]
    assert {name for _, name in twice} == {"invoke"}, "the invoke route stands twice, with and without a path"


def answered(status: int, *, invoked: int = 0, body: str = "", **headers: str) -> Sent:
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"x-fiso-overhead-ms": "1"}
    return Sent(response={"statusCode": status, "headers": named, "body": body}, invoked=invoked)


PROBLEM = json.dumps({"status": 400, "invocation_id": "x"})
LATE = json.dumps({"status": 504, "invocation_id": "x"})
KIND = "application/problem+json"
HASTY = http_event(headers={"X-Fiso-Timeout-Ms": "150"})


@pytest.mark.parametrize(
    ("event", "answer", "broken"),
    [
        (None, answered(200, content_type="a/b"), []),
        (None, answered(400, body=PROBLEM, content_type=KIND), []),
        (None, answered(400, body=PROBLEM, content_type=KIND, invoked=1), ["invoked"]),
        (None, answered(400, body=PROBLEM, content_type="text/html"), ["malformed"]),
        (None, answered(404, body=PROBLEM, content_type=KIND), ["malformed"]),
        (None, answered(200, location="/\r\nset-cookie: x"), ["malformed"]),
        (http_event(), answered(504, body=LATE, content_type=KIND), ["5xx"]),
        (HASTY, answered(504, body=LATE, content_type=KIND), []),
    ],
)
def test_a_broken_promise_is_seen(event: object, answer: Sent, broken: list[str]) -> None:
    assert broken_promises(event, answer) == broken


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("a=1&b=%20", "a=1&b=%20"),
        ("a=1 HTTP/1.1\r\nX: y", "a=1%20HTTP/1.1%0D%0AX:%20y"),
        ("a=\u00e9#b", "a=%C3%A9%23b"),
    ],
)
def test_a_query_cannot_leave_its_place_in_the_request_line(sent: str, seen: str) -> None:
    rig = Rig(respond=failing(OK))
    rig.send(http_event(rawQueryString=sent))
    ((_, request),) = rig.caller.calls
    assert request.query == seen


def test_what_the_cloud_itself_refuses_is_the_callers_fault() -> None:
    response = Rig(respond=failing(ProviderError(Failure.REJECTED, "status 413"))).send(http_event())
    assert problem_of(response)["status"] == 400
    assert "retry-after" not in response["headers"]
