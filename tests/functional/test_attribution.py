"""Whose fault it is: one copy of three turns bad in every way there is, and what callers and siblings feel of it."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from fiso.domain.policy import Idempotent
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import Script
from fiso.testing.rig import PLACES, Rig, Stores, word_count
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, Fault

JSON = {"content-type": "application/json"}
GOOD = FunctionAnswer(status=200, body=b'{"count": 3}', headers=JSON)
PAGE = {"content-type": "text/html"}


def quick(status: int, body: bytes, headers: dict[str, str], **more: Any) -> Script:
    """Answered within a millisecond, as what does not work is."""
    answer = FunctionAnswer(status=status, body=body, headers=headers, is_function_error=status >= 500)
    return Script(answer=answer, latency_ms=1.0, **more)


WAYS = {
    "a 404 page": quick(404, b"<html>404</html>", PAGE),
    "a redirect to a login": quick(302, b"", {"location": "https://login.example/oauth2"}),
    "its own 500": quick(500, b'{"error": "no secret"}', JSON),
    "its own 503": quick(503, b'{"error": "down"}', JSON),
    "an empty 200": quick(200, b"", {}),
    "another content type": quick(200, b"<html>welcome</html>", PAGE),
    "garbage": quick(200, b"\x00\xff\x00", {"content-type": "application/octet-stream"}),
    "slow": Script(answer=GOOD, latency_ms=20 * 25.0),
    "resets": Script(failure=Failure.BROKEN, latency_ms=1.0),
    "TLS errors": Script(failure=Failure.UNREACHABLE),
    "throttled": Script(failure=Failure.THROTTLED),
    "half answers": Script(failure=Failure.BROKEN, latency_ms=20.0),
}
COPIES = tuple(PLACES)


def a_rig(**policy: Any) -> Rig:
    rig = Rig(word_count(**policy))
    for copy in COPIES:
        rig.answer(copy, GOOD)
    return rig


def invoke(rig: Rig, count: int, *, every_s: float) -> list[int]:
    """Statuses of so many requests; the stream delivers within a second."""
    statuses = []
    for number in range(count):
        answer = rig.invoke("word-count", body='{"text": "a"}')
        is_good = answer.status == 200 and answer.body == GOOD.body
        statuses.append(200 if is_good else answer.status if answer.status != 200 else 0)
        rig.clock.advance(every_s)
        if number % max(1, int(1 / every_s)) == 0:
            rig.fold()
    return statuses


def turned_bad(script: Script, *, count: int, every_s: float, **policy: Any) -> tuple[Rig, list[int], str]:
    """A stage that was well for a minute, whose most used copy then turns bad."""
    rig = a_rig(**policy)
    invoke(rig, 60, every_s=1.0)
    (best, _), *_ = Counter(rig.calls).most_common()
    rig.endpoints.set(best, script)
    rig.endpoints.calls.clear()
    return rig, invoke(rig, count, every_s=every_s), best


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("count", "every_s", "most"), [(60, 1.0, 6), (600, 0.02, 12), (60, 4_320.0, 6)])
def test_what_must_not_be_repeated_fails_a_few_times_and_never_runs_twice(
    way: str, count: int, every_s: float, most: int
) -> None:
    rig, statuses, _ = turned_bad(WAYS[way], count=count, every_s=every_s, idempotent=Idempotent.NO)
    assert len([status for status in statuses if status != 200]) <= most
    for record in rig.records:
        assert sum(attempt.failure not in (Failure.UNREACHABLE, Failure.THROTTLED) for attempt in record.attempts) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("count", "every_s"), [(60, 1.0), (300, 0.02)])
def test_what_may_be_repeated_fails_for_nobody(way: str, count: int, every_s: float) -> None:
    _, statuses, _ = turned_bad(WAYS[way], count=count, every_s=every_s, idempotent=Idempotent.YES)
    assert set(statuses) == {200}


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("slow", "TLS errors", "throttled")])
def test_the_copy_is_named_with_evidence(way: str) -> None:
    rig, _, best = turned_bad(WAYS[way], count=30, every_s=1.0, idempotent=Idempotent.NO)
    bad = [a for record in rig.records for a in record.attempts if a.endpoint == best and a.verdict is Fault.COPY]
    assert bad
    assert all(attempt.evidence for attempt in bad)
    (row,) = [row for row in rig.request("GET", "/v1/endpoints").document["endpoints"] if row["endpoint"] == best]
    assert row["standing"] in ("suspected", "demoted")
    assert row["oddity"]


@pytest.mark.parametrize("idempotent", [Idempotent.NO, Idempotent.YES])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "slow"])
def test_what_all_copies_do_alike_demotes_nobody(way: str, idempotent: Idempotent) -> None:
    rig = a_rig(idempotent=idempotent)
    invoke(rig, 30, every_s=1.0)
    for copy in COPIES:
        rig.endpoints.set(copy, WAYS[way])
    invoke(rig, 100, every_s=1.0)
    standings = {
        row["standing"] for row in rig.request("GET", "/v1/endpoints").document["endpoints"] if row["attempts"]
    }
    assert "demoted" not in standings


def test_a_single_copy_is_never_suspected() -> None:
    entry = word_count(idempotent=Idempotent.NO)
    rig = Rig(replace(entry, endpoints=entry.endpoints[:1]))
    rig.answer(COPIES[0], GOOD)
    invoke(rig, 30, every_s=1.0)
    rig.endpoints.set(COPIES[0], WAYS["its own 500"])
    assert set(invoke(rig, 30, every_s=1.0)) == {500}
    (row,) = rig.request("GET", "/v1/endpoints").document["endpoints"]
    assert (row["standing"], row["breaker"]) == ("well", "closed")


def test_an_errors_speed_is_never_learnt_as_latency() -> None:
    rig, _, best = turned_bad(WAYS["its own 500"], count=60, every_s=1.0, idempotent=Idempotent.NO)
    state = rig.states[best]  # type: ignore[index]  # the name of an endpoint
    assert state.latency_ms == pytest.approx(25.0, rel=0.01)
    assert state.failures > 0


def test_a_functions_own_403_goes_back_once_and_trips_nothing() -> None:
    rig = a_rig(idempotent=Idempotent.NO)
    denied = FunctionAnswer(status=403, body=b'{"error": "not yours"}', headers=JSON)
    for copy in COPIES:
        rig.answer(copy, denied)
    answer = rig.invoke("word-count", body="{}")
    assert (answer.status, answer.body) == (403, denied.body)
    assert len(rig.calls) == 1
    assert rig.only_record.attempts[0].verdict is Fault.CALLER


def test_an_environment_that_was_just_started_knows_what_the_others_saw() -> None:
    stores, clock = Stores(), ManualClock()
    first = Rig(word_count(idempotent=Idempotent.NO), stores=stores, clock=clock)
    for copy in COPIES:
        first.answer(copy, GOOD)
    invoke(first, 60, every_s=1.0)
    (best, _), *_ = Counter(first.calls).most_common()
    failures = 0
    for _ in range(60):  # 20 a day: a new environment for each
        rig = Rig(stores=stores, clock=clock)
        for copy in COPIES:
            rig.endpoints.set(copy, WAYS["its own 500"] if copy == best else Script(answer=GOOD))
        failures += rig.invoke("word-count", body="{}").status != 200
        rig.advance(4_320.0)
    assert failures <= 6


def test_callers_that_leave_too_little_time_move_nobodys_traffic() -> None:
    rig = a_rig(idempotent=Idempotent.NO)
    for copy in COPIES:
        rig.slow(copy, 140.0)
    invoke(rig, 60, every_s=1.0)
    before = {id: (state.failures, state.error_rate) for id, state in rig.states.items()}
    for _ in range(20):
        assert rig.invoke("word-count", body="{}", x_fiso_timeout_ms="140").status == 504
        rig.advance(1.0)
    rows = rig.request("GET", "/v1/endpoints").document["endpoints"]
    assert {(row["breaker"], row["standing"]) for row in rows if row["attempts"]} == {("closed", "well")}
    assert {id: (state.failures, state.error_rate) for id, state in rig.states.items()} == before
    assert {a.verdict for record in rig.records[-20:] for a in record.attempts} == {Fault.CALLER}


def test_a_copy_that_falls_silent_is_left_even_where_callers_wait_briefly() -> None:
    rig, statuses, _ = turned_bad(
        Script(failure=Failure.TIMED_OUT), count=60, every_s=1.0, idempotent=Idempotent.NO, timeout_ms=800
    )
    assert len([status for status in statuses if status != 200]) <= 6
    assert Fault.COPY in {attempt.verdict for record in rig.records for attempt in record.attempts}


def test_of_many_environments_each_hears_in_time_what_the_others_saw() -> None:
    """Eight environments take turns at two requests a second; the stream delivers within a second."""
    stores, clock = Stores(), ManualClock()
    rigs = [Rig(word_count(idempotent=Idempotent.NO), stores=stores, clock=clock)]
    rigs += [Rig(stores=stores, clock=clock) for _ in range(7)]
    for rig in rigs:
        for copy in COPIES:
            rig.answer(copy, GOOD)

    def turns(count: int) -> list[int]:
        statuses = []
        for number in range(count):
            statuses.append(rigs[number % len(rigs)].invoke("word-count", body="{}").status)
            clock.advance(0.5)
            if number % 2:
                rigs[0].fold()
        return statuses

    turns(160)
    (best, _), *_ = Counter(copy for rig in rigs for copy in rig.calls).most_common()
    for rig in rigs:
        rig.endpoints.set(best, WAYS["its own 500"])
    failures = [status for status in turns(120) if status != 200]
    assert len(failures) <= 6
