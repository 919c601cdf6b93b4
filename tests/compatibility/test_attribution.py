"""Whose fault it is, in the ways in which other routers, breakers and balancers were reported to get it wrong."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.domain.policy import Idempotent
from fiso.domain.request import InvocationRequest
from fiso.domain.steering import Affinity
from fiso.testing.clock import START, ManualClock
from fiso.testing.endpoints import Script
from fiso.testing.rig import PLACES, Rig, Stores, http_event, word_count
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.attribution import Attribution, Copy
from fiso_client.core.breaker import CONSECUTIVE, LONGEST_S, Breaker, BreakerState
from fiso_client.core.failures import Failure, Fault, ProviderError

JSON = {"content-type": "application/json"}
GOOD = FunctionAnswer(status=200, body=b'{"count": 3}', headers=JSON)
COPIES = tuple(PLACES)
CALLERS_MISTAKES = [400, 405, 406, 409, 411, 412, 413, 415, 416, 417, 418, 422, 423, 424, 426, 428, 431, 499]


def own(status: int, body: bytes = b'{"error": "x"}', headers: dict[str, str] = JSON) -> FunctionAnswer:
    return FunctionAnswer(status=status, body=body, headers=headers, is_function_error=status >= 500)


def a_rig(copies: int = 3, **policy: Any) -> Rig:
    entry = word_count(**policy)
    rig = Rig(replace(entry, endpoints=entry.endpoints[:copies]))
    for copy in COPIES[:copies]:
        rig.answer(copy, GOOD)
    return rig


def invoke(rig: Rig, count: int, *, every_s: float = 1.0) -> list[int]:
    statuses = []
    for _ in range(count):
        statuses.append(rig.invoke("word-count", body="{}").status)
        rig.clock.advance(every_s)
    rig.fold()
    return statuses


def best_of(rig: Rig) -> str:
    """Whom most of a minute's requests went to."""
    invoke(rig, 60)
    (best, _), *_ = Counter(rig.calls).most_common()
    rig.endpoints.calls.clear()
    return str(best)


def rows(rig: Rig) -> dict[str, dict[str, Any]]:
    return {row["endpoint"]: row for row in rig.request("GET", "/v1/endpoints").document["endpoints"]}


def standings(rig: Rig) -> set[str]:
    return {row.get("standing", "well") for row in rows(rig).values()} | {row["breaker"] for row in rows(rig).values()}


@pytest.mark.parametrize("status", [*CALLERS_MISTAKES, 401, 403, 404, 410, 429])
def test_what_callers_bring_about_on_all_copies_trips_nothing_and_runs_once(status: int) -> None:
    """vllm-project/router#60, sglang#25811 (400 for oversize prompts: no_available_workers), circuitbox#45."""
    rig = a_rig(idempotent=Idempotent.NO)
    for copy in COPIES:
        rig.answer(copy, own(status))
    assert set(invoke(rig, 50)) == {status}
    assert len(rig.calls) == 50
    assert not {"demoted", "open"} & {row.get("standing", "well") for row in rows(rig).values()}
    for copy in COPIES:
        rig.answer(copy, GOOD)
    assert set(invoke(rig, 20)) == {200}


@pytest.mark.parametrize("copies", [2, 3])
@pytest.mark.parametrize("status", CALLERS_MISTAKES)
def test_a_copy_that_refuses_what_its_siblings_accept_loses_its_traffic(status: int, copies: int) -> None:
    """azure-functions-ux#817, litellm#16092 (400 "credit balance is too low"), a static site's 405."""
    rig = a_rig(copies, idempotent=Idempotent.NO)
    bad = best_of(rig)
    rig.answer(bad, own(status))
    statuses = invoke(rig, 60)
    assert statuses.count(status) <= 8
    assert set(statuses) == {200, status}
    assert len(rig.calls) == 60
    verdicts = {attempt.verdict for record in rig.records for attempt in record.attempts if attempt.status == status}
    assert Fault.COPY in verdicts


def test_one_mistake_moves_no_traffic() -> None:
    rig = a_rig(idempotent=Idempotent.NO)
    best = best_of(rig)
    rig.answer(best, own(422))
    invoke(rig, 1)
    rig.answer(best, GOOD)
    invoke(rig, 5)
    assert set(rig.calls) == {best}


def one_copy(**policy: Any) -> Rig:
    return a_rig(1, idempotent=Idempotent.NO, **policy)


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_what_a_function_refuses_closes_no_breaker_that_is_half_open(status: int) -> None:
    """smg#2565: "can be closed by a malformed request"; hystrix#674: nor may it stay half open for ever."""
    rig = one_copy()
    rig.fail(COPIES[0], Failure.BROKEN, times=CONSECUTIVE)
    invoke(rig, CONSECUTIVE, every_s=0.01)
    assert rows(rig)[COPIES[0]]["breaker"] == "open"
    rig.clock.advance(LONGEST_S * 1.3)
    rig.answer(COPIES[0], own(status))
    invoke(rig, 1)
    assert rows(rig)[COPIES[0]]["breaker"] == "half_open"
    rig.answer(COPIES[0], GOOD)
    invoke(rig, 1)
    assert rows(rig)[COPIES[0]]["breaker"] == "closed"


def test_what_a_function_refuses_ends_no_row_of_failures() -> None:
    """smg#2565: 500, 400, 500, 400 … for ever."""
    rig = one_copy()
    for _ in range(CONSECUTIVE):
        rig.fail(COPIES[0], Failure.BROKEN, times=1)
        invoke(rig, 1, every_s=0.01)
        rig.answer(COPIES[0], own(400))
        invoke(rig, 1, every_s=0.01)
    assert rows(rig)[COPIES[0]]["breaker"] == "open"


def test_a_probe_that_never_ends_does_not_hold_the_breaker() -> None:
    """OmniRoute#13836 (six days, 49,607 calls), resilience4j#935: the permit is lost with who held it."""
    begun = START + timedelta(seconds=10)
    probing = Breaker(opened_until=START, changed_at=START).after_start(begun, timeout_s=5)
    assert probing.state(begun + timedelta(seconds=4)) is BreakerState.OPEN
    assert probing.state(begun + timedelta(seconds=6)) is BreakerState.HALF_OPEN
    assert probing.as_others_see_it().state(begun + timedelta(seconds=6)) is BreakerState.HALF_OPEN


def test_an_environment_that_dies_while_it_probes_leaves_the_copy_to_others() -> None:
    """The same over shared breakers: who asked the copy is gone, and its breaker's row in the table stays."""
    stores, clock = Stores(), ManualClock()
    entry = word_count(idempotent=Idempotent.NO)
    Rig(replace(entry, endpoints=entry.endpoints[:1]), stores=stores, clock=clock)
    dies = [False]

    def respond(_: Endpoint, __: InvocationRequest, ___: float) -> FunctionAnswer:
        if dies[0]:
            raise KeyboardInterrupt  # nobody catches it, so nothing is told of how the call ended
        raise ProviderError(Failure.BROKEN, "reset")

    dying = Rig(stores=stores, clock=clock, respond=respond)
    for _ in range(CONSECUTIVE):
        dying.invoke("word-count", body="{}")
    clock.advance(4)
    dies[0] = True
    with pytest.raises(KeyboardInterrupt):
        dying.invoke("word-count", body="{}")
    clock.advance(30)
    other = Rig(stores=stores, clock=clock)
    other.answer(COPIES[0], GOOD)
    assert other.invoke("word-count", body="{}").status == 200
    assert rows(other)[COPIES[0]]["breaker"] == "closed"


def test_a_suspect_whose_probe_never_ends_is_asked_again() -> None:
    judged, copies = Attribution(), ("a", "b")
    suspect = Copy("f", "a", "aws", "r")
    judged.ended(suspect, copies, oddity="status 500", shape="", now=START, status=500)
    judged.ended(suspect._replace(id="b"), copies, oddity=None, shape="json", now=START, status=200)
    judged.started(suspect, START + timedelta(seconds=1), timeout_s=5)

    def state(after_s: float) -> BreakerState:
        now = START + timedelta(seconds=after_s)
        return judged.held_back("f", copies, {}, now)["a"].state(now)

    assert (state(3), state(7)) == (BreakerState.OPEN, BreakerState.HALF_OPEN)


def test_how_long_a_breaker_stays_open_is_bounded() -> None:
    """envoy#6016: ejected for hours in the end."""
    breaker, now = Breaker(), START
    for _ in range(30):
        breaker = breaker.tripped(now, cause="broken", draw=0.99)
        assert breaker.opened_until is not None
        assert breaker.opened_until - now <= timedelta(seconds=LONGEST_S * 1.2)
        now = breaker.opened_until


def test_when_all_breakers_are_open_somebody_is_asked_and_recovery_takes_no_restart() -> None:
    """envoy#2671, Kong#10003 ("failure to get a peer", until restarted), linkerd2#11493."""
    rig = a_rig(idempotent=Idempotent.NO)
    for copy in COPIES:
        rig.fail(copy, Failure.BROKEN)
    invoke(rig, 30, every_s=0.1)
    before = len(rig.calls)
    invoke(rig, 5, every_s=0.1)
    assert len(rig.calls) == before + 5
    for copy in COPIES:
        rig.heal(copy)
    assert invoke(rig, 1) == [200]


@pytest.mark.parametrize("copies", [2, 3])
@pytest.mark.parametrize("count", [20, 300])
def test_the_bad_one_of_two_or_three_loses_its_traffic(copies: int, count: int) -> None:
    """envoy#3263, #26877: 10 % of two hosts is all of them or none; servicetalk#3640."""
    rig = a_rig(copies, idempotent=Idempotent.NO)
    bad = best_of(rig)
    rig.answer(bad, own(500))
    assert invoke(rig, count, every_s=0.1).count(500) <= 6


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_of_copies_that_are_all_bad_alike_none_is_taken_out(copies: int) -> None:
    """envoy#17504 (the only host ejected), #27066 (all three: a complete outage)."""
    rig = a_rig(copies, idempotent=Idempotent.NO)
    invoke(rig, 20)
    for copy in COPIES[:copies]:
        rig.answer(copy, own(500, b'{"error": "database"}'))
    assert set(invoke(rig, 60)) == {500}
    assert "demoted" not in standings(rig)


@pytest.mark.parametrize("copies", [2, 3])
def test_a_dependency_that_all_copies_share_takes_none_of_them_out(copies: int) -> None:
    """decocms/studio#4185: both ejected, and then every request is 502, also those that never touch the database."""
    rig = a_rig(copies, idempotent=Idempotent.NO)
    invoke(rig, 60)
    for number in range(200):
        fails = number % 2 == 0
        for copy in COPIES[:copies]:
            rig.answer(copy, own(503) if fails else GOOD)
        assert rig.invoke("word-count", body="{}").status == (503 if fails else 200)
        rig.clock.advance(0.02)
    rig.fold()
    assert "demoted" not in standings(rig)


def test_one_callers_mistakes_on_its_own_copy_demote_nobody() -> None:
    """envoy#18752: two errors of one caller against none of 5,000 is beyond chance, and means nothing."""
    fails = {"x": own(500)}

    def respond(_: Endpoint, request: InvocationRequest, __: float) -> FunctionAnswer:
        return fails.get(request.headers.get("x-session", ""), GOOD)

    rig = Rig(word_count(idempotent=Idempotent.NO, affinity=Affinity(header="x-session")), respond=respond)
    for number in range(60):
        rig.send(http_event(x_session=f"well-{number}"))
        rig.clock.advance(0.1)
    for number in range(90):
        assert rig.send(http_event(x_session="x" if number % 3 == 0 else f"well-{number}"))
        rig.clock.advance(0.1)
    rig.fold()
    assert "demoted" not in standings(rig)


def test_failing_over_from_the_same_copy_for_ever_is_not_done() -> None:
    """nginx#355, #958: each request tries the copy that answers 404 first, and pays twice."""
    rig = a_rig(idempotent=Idempotent.YES)
    bad = best_of(rig)
    rig.answer(bad, own(404, b"<html>", {"content-type": "text/html"}))
    assert set(invoke(rig, 60)) == {200}
    assert len(rig.calls) <= 66


WRONG = {
    "an empty 200": FunctionAnswer(status=200, body=b""),
    "a 204 where siblings have a body": FunctionAnswer(status=204, body=b""),
    "a start page": FunctionAnswer(
        status=200,
        body=b"<title>Your Functions 4.0 app is up and running</title>",
        headers={"content-type": "text/html"},
    ),
    "a login form": FunctionAnswer(status=200, body=b"<form>", headers={"content-type": "text/html; charset=utf-8"}),
}


@pytest.mark.parametrize("way", WRONG)
def test_a_success_that_is_none_is_found_by_the_siblings(way: str) -> None:
    """azure-functions-host, HomepageMiddleware (200 page, or 204 where it is switched off)."""
    rig = a_rig(idempotent=Idempotent.NO)
    bad = best_of(rig)
    rig.answer(bad, WRONG[way])
    wrong = 0
    for _ in range(60):
        wrong += rig.invoke("word-count", body="{}").body != GOOD.body
        rig.clock.advance(1.0)
    assert wrong <= 6


@pytest.mark.parametrize(
    "answer", [FunctionAnswer(status=204, body=b""), FunctionAnswer(status=200, body=b"", headers=JSON)]
)
def test_one_answer_without_a_body_demotes_nobody(answer: FunctionAnswer) -> None:
    rig = a_rig(idempotent=Idempotent.NO)
    for number in range(120):
        for copy in COPIES:
            rig.answer(copy, answer if number % 10 == 9 else GOOD)
        invoke(rig, 1)
    assert "demoted" not in standings(rig)
    assert len(rig.calls) == 120


def test_heads_among_gets_are_no_empty_answers() -> None:
    """RFC 9110, 9.3.2: HEAD has no body, whatever GET has."""

    def respond(_: Endpoint, request: InvocationRequest, __: float) -> FunctionAnswer:
        return replace(GOOD, body=b"", is_head=True) if request.method == "HEAD" else GOOD

    rig = Rig(word_count(), respond=respond)
    for _ in range(30):
        rig.send(http_event("GET", body=""))
    for _ in range(30):
        rig.send(http_event("HEAD", body=""))
    rig.fold()
    assert len(rig.calls) == 60
    assert {row.get("standing", "well") for row in rows(rig).values()} == {"well"}


def test_a_fast_error_among_good_answers_makes_no_copy_look_fast() -> None:
    """fasthttp#643, Envoy's least request: what fails at once attracts."""
    rig = a_rig(idempotent=Idempotent.NO)
    bad = best_of(rig)
    draws = iter(range(10_000))

    def script() -> Script:
        fails = next(draws) % 10 < 3
        return Script(answer=own(500), latency_ms=2.0) if fails else Script(answer=GOOD, latency_ms=80.0)

    for copy in COPIES:
        if copy != bad:
            rig.slow(copy, 100.0)
    failures = 0
    for _ in range(300):
        rig.endpoints.set(bad, script())  # type: ignore[arg-type]  # the name of an endpoint
        failures += rig.invoke("word-count", body="{}").status == 500
        rig.advance(0.1)
    assert rig.states[bad].latency_ms == pytest.approx(80.0, rel=0.1)  # type: ignore[index]
    assert failures < 60


THROTTLED = ProviderError(Failure.THROTTLED, "429", retry_after_s=7, status=429)


def throttling(*copies: str) -> Callable[[Endpoint, InvocationRequest, float], FunctionAnswer]:
    def respond(endpoint: Endpoint, _: InvocationRequest, __: float) -> FunctionAnswer:
        if endpoint.id in copies:
            raise THROTTLED
        return GOOD

    return respond


def test_a_throttled_copy_is_not_a_broken_one() -> None:
    """linkerd/website#2126, azure-functions-host#6984 (429 to three requests a minute)."""
    bad = best_of(Rig(word_count(idempotent=Idempotent.NO), respond=throttling()))
    rig = Rig(word_count(idempotent=Idempotent.NO), respond=throttling(bad))
    assert set(invoke(rig, 60, every_s=0.5)) == {200}
    assert rows(rig)[bad]["breaker"] == "closed"
    throttled = [a for record in rig.records for a in record.attempts if a.failure == Failure.THROTTLED]
    assert {attempt.verdict for attempt in throttled} == {Fault.THROTTLE}
    assert 1 <= len(throttled) <= 20


def test_when_all_are_throttled_the_caller_is_told_when_to_come_again() -> None:
    """hermes-agent#100725: 429 of every deployment."""
    rig = Rig(word_count(idempotent=Idempotent.NO), respond=throttling(*COPIES))
    response = rig.invoke("word-count", body="{}")
    assert (response.status, response.document["verdict"]) == (503, "throttle")
    assert int(response.headers["retry-after"]) >= 1


def test_one_clouds_outage_is_told_by_its_other_functions() -> None:
    """Azure's managed identities on 2026-02-02: every function there answered its own 500, their siblings were well."""
    entries = [replace(word_count(idempotent=Idempotent.NO), name=FunctionName(name)) for name in ("a", "b")]
    rig = Rig(*entries)
    for copy in COPIES:
        rig.answer(copy, GOOD)
    for number in range(80):
        rig.invoke("ab"[number % 2], body="{}")
        rig.clock.advance(1.0)
    (best, _), *_ = Counter(rig.calls).most_common()
    rig.answer(best, own(500))
    statuses = []
    for number in range(80):
        statuses.append(rig.invoke("ab"[number % 2], body="{}").status)
        rig.clock.advance(1.0)
    assert statuses.count(500) <= 12
    verdicts = [attempt.verdict for record in rig.records for attempt in record.attempts if attempt.status == 500]
    assert Fault.PROVIDER in verdicts
