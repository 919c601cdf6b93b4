"""Whose word counts: reports of one of several tenants move its own decisions, and others' only as a quorum."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import pytest

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import InvocationRecord
from fiso.domain.request import TenantId
from fiso.domain.state import EndpointState
from fiso.routing.fold import fold
from fiso.routing.reported import MOST_ANSWERS, MOST_TENANTS, seen_by, seen_by_fiso, tenant_hash
from fiso_client.core.breaker import CONSECUTIVE
from fiso_client.core.failures import Failure
from tests.builders import NOW, a_record, an_attempt

AWS = EndpointId("aws")
States = dict[EndpointId, EndpointState]


def a_call(
    tenant: str,
    number: int = 0,
    *,
    latency_ms: float = 100.0,
    failure: Failure | None = None,
    leased: bool = True,
    at: datetime | None = None,
) -> InvocationRecord:
    attempt = an_attempt(
        latency_ms=latency_ms,
        failure=failure,
        status=None if failure else 200,
        started_at=at or NOW + timedelta(seconds=number),
    )
    return a_record(
        number,
        attempts=(attempt,),
        tenant=TenantId(tenant),
        lease_id="lease" if leased else None,
        error_occurred=failure is not None,
        execution_time_ms=latency_ms,
    )


def after(records: Iterable[InvocationRecord], states: Mapping[EndpointId, EndpointState] | None = None) -> States:
    found = dict(states or {})
    for record in records:
        found = fold(found, record)
    return found


def mean_for(states: States, tenant: str) -> float | None:
    level = seen_by(states, tenant_hash(tenant))[AWS].levels.get(0)
    return level.latency_ms if level else None


def reports(tenant: str, latency_ms: float, times: int = 20) -> list[InvocationRecord]:
    return [a_call(tenant, number, latency_ms=latency_ms) for number in range(times)]


def proxied(latency_ms: float = 100.0, times: int = 20) -> list[InvocationRecord]:
    return [a_call("honest", number, latency_ms=latency_ms, leased=False) for number in range(times)]


def test_a_tenant_that_is_alone_teaches_as_fiso_itself_does() -> None:
    told = after(reports("a", 100.0))[AWS]
    seen = after(a_call("a", number, leased=False) for number in range(20))[AWS]
    assert told.levels == seen.levels
    assert (told.attempts, told.latency_ms, told.conduct) == (seen.attempts, seen.latency_ms, seen.conduct)
    assert (told.holds_reports, seen.holds_reports) == (True, False)


@pytest.mark.parametrize("lie_ms", [0.001, 1.0, 90.0, 10_000.0, 900_000.0])
def test_what_fiso_saw_is_not_moved_by_another_tenants_reports(lie_ms: float) -> None:
    seen = after(proxied())
    lied = after(reports("liar", lie_ms, 100), seen)
    assert mean_for(lied, "honest") == seen[AWS].levels[0].latency_ms
    assert (lied[AWS].attempts, lied[AWS].last_called_at) == (seen[AWS].attempts, seen[AWS].last_called_at)
    assert lied[AWS].arrival_interval_ms == seen[AWS].arrival_interval_ms


def test_a_tenants_own_reports_count_for_itself_at_once() -> None:
    states = after(reports("a", 500.0), after(proxied()))
    assert mean_for(states, "a") == pytest.approx(300.0)


def test_what_a_tenant_said_while_it_was_alone_is_its_own_word_once_another_comes() -> None:
    alone = after(reports("liar", 9_000.0, 50))
    assert mean_for(alone, "liar") == pytest.approx(9_000.0)
    assert mean_for(alone, "honest") is None
    together = after(proxied(times=1), alone)
    assert together[AWS].levels[0].latency_ms == pytest.approx(100.0)
    assert mean_for(together, "honest") == pytest.approx(100.0)


def test_two_tenants_word_against_each_other_counts_for_no_third() -> None:
    states = after([*reports("a", 100.0), *reports("b", 5_000.0)])
    assert mean_for(states, "c") is None
    assert mean_for(states, "a") == pytest.approx(100.0)


@pytest.mark.parametrize(("liars", "lie_ms"), [(1, 5.0), (1, 90_000.0), (3, 0.001), (3, 900_000.0)])
def test_less_than_half_of_the_tenants_cannot_carry_a_quorum_beyond_the_honest(liars: int, lie_ms: float) -> None:
    honest = [reports(f"honest {n}", 90.0 + 5 * n) for n in range(MOST_TENANTS - liars)]
    lies = [reports(f"liar {n}", lie_ms, 100) for n in range(liars)]
    found = mean_for(after(record for row in [*lies, *honest] for record in row), "newcomer")
    assert found is not None
    assert 90.0 <= found <= 90.0 + 5 * MOST_TENANTS


def test_reporting_more_often_gives_nobody_a_greater_say() -> None:
    rows = [*reports("a", 100.0, 5), *reports("b", 110.0, 5), *reports("c", 120.0, 5)]
    assert mean_for(after(rows), "d") == pytest.approx(110.0)
    assert mean_for(after([*rows, *reports("c", 120.0, 500)]), "d") == pytest.approx(110.0)


def test_a_state_keeps_few_rows_whoever_comes_and_nobody_is_driven_out_by_noise() -> None:
    states = after(record for n in range(100) for record in reports(f"tenant {n}", 100.0, 1))
    kept = {row.tenant for row in states[AWS].reported}
    assert len(kept) == MOST_TENANTS
    again = after((record for n in range(0, 100, 7) for record in reports(f"tenant {n}", 100.0, 30)), states)
    assert {row.tenant for row in again[AWS].reported} == kept


def test_one_tenants_failures_open_no_breaker_for_others_and_suspect_no_copy() -> None:
    kinds = [Failure.UNREACHABLE, Failure.BROKEN, Failure.TIMED_OUT, Failure.REFUSED, Failure.PROVIDER_FAULT]
    seen = after(proxied())
    states = after((a_call("liar", 20 + n, failure=kinds[n % len(kinds)]) for n in range(100)), seen)
    assert (states[AWS].consecutive_failures, states[AWS].error_rate) == (0, 0.0)
    assert states[AWS].conduct == seen[AWS].conduct
    assert seen_by(states, tenant_hash("liar"))[AWS].consecutive_failures == 100


def failures_of(*tenants: str, begin: int = 100) -> list[InvocationRecord]:
    rows = range(CONSECUTIVE)
    return [a_call(t, begin + n, failure=Failure.UNREACHABLE) for n in rows for t in tenants]


def test_failures_of_most_tenants_count_for_all_and_end_with_them() -> None:
    names = ["a", "b", "c"]
    well = after(a_call(name, 90 + n) for n in range(6) for name in names)
    assert after(failures_of("a"), well)[AWS].consecutive_failures == 0
    down = after(failures_of("a", "b"), well)
    assert down[AWS].consecutive_failures == CONSECUTIVE
    assert down[AWS].last_failed_at is not None
    again = after([a_call(name, 110) for name in names], down)
    assert again[AWS].consecutive_failures == 0


def test_failures_of_three_of_eight_count_for_nobody_else() -> None:
    honest = [f"honest {n}" for n in range(5)]
    well = after(a_call(name, 90 + n) for n in range(10) for name in honest)
    assert after(failures_of("liar 1", "liar 2", "liar 3"), well)[AWS].consecutive_failures == 0


def test_what_fiso_itself_has_answered_lately_is_not_down_whoever_says_so() -> None:
    states = after(failures_of("a", "b", "c", begin=21), after(proxied()))
    assert states[AWS].consecutive_failures == 0


def test_what_was_reported_is_kept_from_the_breakers_of_an_environment() -> None:
    alone = after(failures_of("liar"))
    assert alone[AWS].consecutive_failures == CONSECUTIVE
    assert seen_by_fiso(alone) == {}
    shared = after(proxied(), alone)
    assert seen_by_fiso(shared) == shared
    assert shared[AWS].consecutive_failures == 0


def test_a_tenant_whose_reports_differ_from_what_fiso_saw_has_no_say_until_it_is_honest_again() -> None:
    base = [*proxied(times=40), *reports("a", 100.0, 40), *reports("b", 104.0, 40), *reports("c", 96.0, 40)]
    liars = [record for n in range(4) for record in reports(f"liar {n}", 1_000.0, 40)]
    states = after([*base, *liars])
    found = mean_for(states, "newcomer")
    assert found is not None
    assert found == pytest.approx(100.0, rel=0.05)
    for number in range(3 * int(MOST_ANSWERS)):
        at = NOW + timedelta(seconds=40 + number)
        states = fold(states, a_call("liar 0", number, latency_ms=100.0, at=at))
    (row,) = (row for row in states[AWS].reported if row.tenant == tenant_hash("liar 0"))
    assert row.levels[0].latency_ms == pytest.approx(100.0, rel=0.1)


def test_a_sudden_change_that_most_tenants_see_outdates_what_fiso_saw_before() -> None:
    states = after([*proxied(times=40), *(r for t in "abc" for r in reports(t, 100.0, 150))])
    for number in range(150, 180):
        for tenant in "abc":
            states = fold(states, a_call(tenant, number, latency_ms=400.0))
    found = mean_for(states, "newcomer")
    assert found is not None
    assert found > 300


def test_states_of_older_code_count_as_seen_by_fiso() -> None:
    older = after([a_call("x", 1, leased=False)], after(proxied()))
    assert older[AWS].only_of == EndpointState(function=FunctionName("f"), endpoint=AWS).only_of == ""
    assert after(reports("liar", 9e5), older)[AWS].levels == older[AWS].levels
