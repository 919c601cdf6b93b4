"""Whose word counts: what one of several tenants reports moves its own decisions, what others do is in test_quorum."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import InvocationRecord
from fiso.domain.request import TenantId
from fiso.domain.state import EndpointState
from fiso.routing.fold import fold
from fiso.routing.reported import MOST_TENANTS, seen_by, seen_by_fiso, tenant_hash
from fiso_client.core.breaker import CONSECUTIVE
from fiso_client.core.failures import Failure
from tests.builders import NOW, a_record, an_attempt, changed

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


@pytest.mark.parametrize("others", [1, 2, 5])
def test_what_fewer_than_a_quorum_report_counts_for_nobody_else(others: int) -> None:
    states = after([*reports("a", 100.0), *(r for n in range(others) for r in reports(f"other {n}", 5_000.0))])
    assert mean_for(states, "newcomer") is None
    assert mean_for(states, "a") == pytest.approx(100.0)


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


def test_nor_do_all_tenants_together() -> None:
    down = after(failures_of("a", "b", "c", "d"))
    assert down[AWS].consecutive_failures == 0
    assert seen_by(down, tenant_hash("a"))[AWS].consecutive_failures == CONSECUTIVE
    assert seen_by(down, tenant_hash("e"))[AWS].consecutive_failures == 0


def test_what_was_reported_is_kept_from_the_breakers_of_an_environment() -> None:
    alone = after(failures_of("liar"))
    assert alone[AWS].consecutive_failures == CONSECUTIVE
    assert seen_by_fiso(alone) == {}
    shared = after(proxied(), alone)
    assert seen_by_fiso(shared) == shared
    assert shared[AWS].consecutive_failures == 0


def test_a_sudden_change_that_a_tenant_sees_outdates_for_it_what_fiso_saw_before() -> None:
    states = after([*proxied(times=40), *reports("a", 100.0, 150)])
    states = after((a_call("a", number, latency_ms=400.0) for number in range(150, 190)), states)
    found = mean_for(states, "a")
    assert found is not None
    assert found > 300
    assert mean_for(states, "honest") == pytest.approx(100.0)


calls = st.tuples(
    st.sampled_from(["liar", "liar 2", "liar 3"]),
    st.sampled_from([1e-9, 1.0, 100.0, 9e5]),
    st.sampled_from([None, Failure.UNREACHABLE, Failure.OVERTAKEN, Failure.BROKEN, Failure.THROTTLED]),
    st.integers(-60, 60),
)


@given(st.lists(st.booleans(), max_size=20), st.data())
def test_whatever_others_report_and_when_an_honest_tenant_decides_by_the_same(
    own: list[bool], data: st.DataObject
) -> None:
    """`own` are its requests, by leases or not; others report between them, the past and the future."""
    quiet = among = after([replace_endpoint(a_call("other", leased=False))])
    for number, leased in enumerate(own):
        for tenant, latency_ms, failure, ahead_s in data.draw(st.lists(calls, max_size=4)):
            at = NOW + timedelta(seconds=number + ahead_s)
            among = fold(among, a_call(tenant, number, latency_ms=latency_ms, failure=failure, at=at))
        call = a_call("honest", number, latency_ms=80.0 + number, leased=leased)
        quiet, among = fold(quiet, call), fold(among, call)
    expected, found = (seen_by(states, tenant_hash("honest")) for states in (quiet, among))
    for id, state in expected.items():
        assert replace(found[id], reported=(), said=(), only_of="", folded=0) == replace(
            state, reported=(), said=(), only_of="", folded=0
        )


def replace_endpoint(record: InvocationRecord) -> InvocationRecord:
    gcp = EndpointId("gcp")
    return changed(record, endpoint=gcp, attempts=(replace(record.attempts[0], endpoint=gcp),))


def test_states_of_older_code_count_as_seen_by_fiso() -> None:
    older = after([a_call("x", 1, leased=False)], after(proxied()))
    assert older[AWS].only_of == EndpointState(function=FunctionName("f"), endpoint=AWS).only_of == ""
    assert after(reports("liar", 9e5), older)[AWS].levels == older[AWS].levels
