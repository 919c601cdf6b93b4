"""Several environments: what they tell each other of breakers, probes and late calls."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from fiso.domain.endpoint import Endpoint
from fiso.routing.breaker_notices import NOTICE_VALID_FOR, SlowCall, Transition
from fiso.services.freshness.cached import StoreWaitBudget, staleness_clock
from fiso.services.resilience.breakers import (
    PROBE_FRESH_S,
    REMOTE_FRESH_S,
    SLOW_CALL_BYTES,
    UNIT_BYTES,
    Breakers,
    BreakerSync,
    Failed,
    effective_breakers,
)
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemorySharedBreakers, away
from fiso_client.core.attribution import Attribution
from fiso_client.core.breaker import CLOSED, CONSECUTIVE, LONGEST_S, BreakerState
from fiso_client.core.failures import Failure
from tests.builders import NOW
from tests.functional.breaker_facts import AWS, AZURE, FIRST, GCP, fails, middle, state


class Environment:
    """One environment with its side of the breaker sync."""

    def __init__(self, store: InMemorySharedBreakers, clock: ManualClock) -> None:
        self.clock = clock
        self.budget = StoreWaitBudget(ThreadPoolExecutor(max_workers=2), stopwatch=staleness_clock(clock, clock.ticks))
        self.breaker_sync = BreakerSync(store, clock=clock, budget=self.budget)
        self.breakers = Breakers(draw=middle, publish=self.breaker_sync.publish)

    def request(self) -> None:
        self.breaker_sync.refresh_in_background()
        self.budget.renew()
        self.budget.await_pending()
        self.breaker_sync.apply_remote(self.breakers)

    def settle_writes(self) -> None:
        self.budget.renew()
        self.budget.await_pending()
        self.breaker_sync.apply_remote(self.breakers)

    def holds(self) -> BreakerState:
        """Of AWS, when a request is about to be decided."""
        held = effective_breakers(self.breakers, Attribution(), self.breaker_sync, FIRST, {}, self.clock())
        return held.get(AWS.id, CLOSED).state(self.clock())


def test_a_breaker_that_opened_is_open_in_another_environment_after_its_next_request() -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    one, other = Environment(store, clock), Environment(store, clock)
    fails(one.breakers, FIRST, AWS, times=CONSECUTIVE)
    one.request()
    other.request()
    assert state(other.breakers, FIRST, AWS) is BreakerState.OPEN


def test_one_that_closed_elsewhere_is_half_open_here() -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    one, other = Environment(store, clock), Environment(store, clock)
    for breakers in (one.breakers, other.breakers):
        fails(breakers, FIRST, AWS, times=CONSECUTIVE)
    clock.advance(LONGEST_S)
    one.breakers.started(FIRST.name, AWS, clock(), 1.0)
    one.breakers.answered(FIRST.name, AWS, clock())
    fails(other.breakers, FIRST, AWS)
    one.request()
    other.request()
    assert other.breakers.of(FIRST)[AWS.id].state(clock()) is not BreakerState.CLOSED


def both_open(clock: ManualClock, store: InMemorySharedBreakers) -> tuple[Environment, Environment]:
    """Two environments that both know of an open breaker, whose time is over."""
    one, other = Environment(store, clock), Environment(store, clock)
    fails(one.breakers, FIRST, AWS, times=CONSECUTIVE)
    one.request()
    other.request()
    clock.advance(LONGEST_S)
    return one, other


def test_a_probe_is_made_by_one_environment_for_all() -> None:
    clock, store = ManualClock(), InMemorySharedBreakers()
    one, other = both_open(clock, store)
    assert one.holds() is BreakerState.HALF_OPEN
    one.breakers.started(FIRST.name, AWS, clock(), 28.0)
    one.settle_writes()
    assert other.holds() is BreakerState.OPEN
    clock.advance(27.0)
    assert other.holds() is BreakerState.OPEN
    clock.advance(2.0)  # nothing was heard of it: somebody else finds out
    assert other.holds() is BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    ("endpoints", "failure"),
    [
        pytest.param([AWS], None, id="answered"),
        pytest.param([AWS], Failure.REJECTED, id="the-callers-fault"),
        pytest.param([AWS], Failure.THROTTLED, id="throttled"),
        pytest.param([AWS, AZURE, GCP], Failure.PROVIDER_FAULT, id="alike-everywhere"),
    ],
)
def test_a_probe_that_is_answered_or_says_nothing_of_the_endpoint_lets_the_others_find_out_at_once(
    endpoints: list[Endpoint], failure: Failure | None
) -> None:
    clock, store = ManualClock(), InMemorySharedBreakers()
    one, other = both_open(clock, store)
    one.breakers.started(FIRST.name, AWS, clock(), 28.0)
    one.settle_writes()
    assert other.holds() is BreakerState.OPEN
    clock.advance(1.0)
    if failure is None:
        one.breakers.answered(FIRST.name, AWS, clock())
    else:
        one.breakers.failed(FIRST.name, [Failed(endpoint=endpoint, failure=failure) for endpoint in endpoints], clock())
    one.settle_writes()
    clock.advance(6.0)
    other.request()
    assert other.holds() is BreakerState.HALF_OPEN


def test_an_older_call_that_fails_meanwhile_is_not_taken_for_the_probe() -> None:
    clock, store = ManualClock(), InMemorySharedBreakers()
    one, other = both_open(clock, store)
    one.breakers.started(FIRST.name, AWS, clock(), 28.0)
    one.settle_writes()
    other.holds()
    fails(other.breakers, FIRST, AWS)
    known = {notice.breaker.trips_in_row for notice in store.read() if isinstance(notice, Transition)}
    assert known == {1}


def late_calls(count: int, at_s: float = 0.0) -> list[SlowCall]:
    """One each of so many environments, that began at a time."""
    began_at = NOW + timedelta(seconds=at_s)
    return [
        SlowCall(function=FIRST.name, endpoint=AWS.id, teller=f"environment {number}", began_at=began_at)
        for number in range(count)
    ]


def nothing(_: Environment) -> None: ...


def one_is_retracted(here: Environment) -> None:
    here.breaker_sync.retract(late_calls(1)[0])
    here.settle_writes()


def answered_since(here: Environment) -> None:
    here.clock.advance(0.1)
    here.breakers.answered(FIRST.name, AWS, here.clock())


def long_ago(here: Environment) -> None:
    here.clock.advance(NOTICE_VALID_FOR.total_seconds() + 1)


@pytest.mark.parametrize(
    ("count", "then", "held"),
    [
        (CONSECUTIVE - 1, nothing, BreakerState.CLOSED),
        (CONSECUTIVE, nothing, BreakerState.OPEN),
        (CONSECUTIVE, one_is_retracted, BreakerState.CLOSED),
        (CONSECUTIVE, answered_since, BreakerState.CLOSED),  # it knows better than those who wait
        (CONSECUTIVE, long_ago, BreakerState.CLOSED),
    ],
)
def test_enough_calls_that_are_slow_elsewhere_open_a_breaker_here(
    count: int, then: Callable[[Environment], None], held: BreakerState
) -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    here = Environment(store, clock)
    for slow in late_calls(count):
        store.write(slow)
    then(here)
    here.request()
    assert here.holds() is held


def test_without_the_store_an_environment_keeps_its_own_breakers_and_probes_for_itself() -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    store.before = away()
    alone = Environment(store, clock)
    fails(alone.breakers, FIRST, AWS, times=CONSECUTIVE)
    alone.request()
    assert state(alone.breakers, FIRST, AWS) is BreakerState.OPEN
    clock.advance(LONGEST_S)
    assert alone.holds() is BreakerState.HALF_OPEN


def test_where_there_is_much_to_hear_it_is_read_less_often_but_before_a_probe() -> None:
    """A fleet must not ask more of one key than it can give: a read unit a second for each environment at most."""
    store, clock = InMemorySharedBreakers(), ManualClock()
    here = Environment(store, clock)
    for slow in late_calls(5 * UNIT_BYTES // SLOW_CALL_BYTES):
        store.write(slow)
    here.request()
    clock.advance(REMOTE_FRESH_S + 0.1)
    here.request()
    assert store.operations["read"] == 1
    clock.advance(3.0)
    here.request()
    assert store.operations["read"] == 2
    here.breaker_sync.refresh_before_probe(here.breakers)
    clock.advance(PROBE_FRESH_S + 0.1)
    here.breaker_sync.refresh_before_probe(here.breakers)
    assert store.operations["read"] == 3


def test_notices_from_several_threads_are_all_awaited_and_none_takes_an_answer_away() -> None:
    def unforeseen(operation: str) -> None:
        if operation == "write":
            raise KeyError("Attributes")

    store = InMemorySharedBreakers()
    store.before = unforeseen
    here = Environment(store, ManualClock())
    with ThreadPoolExecutor(max_workers=8) as threads:
        for slow in late_calls(200):
            threads.submit(here.breaker_sync.publish, slow)
        for _ in range(20):
            here.request()
    here.request()
