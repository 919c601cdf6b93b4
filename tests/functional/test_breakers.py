"""One environment's breakers: fault domains, failures everywhere, and what others tell."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from fiso.adapters.memory import InMemorySharedBreakers
from fiso.domain.attempt import Failure
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.state import EndpointState
from fiso.routing.breaker import CLOSED, CONSECUTIVE, LONGEST_S, BreakerState, Transition
from fiso.routing.late import TOLD_FOR, LateCall, Notice
from fiso.services.breakers import Breakers, Failed
from fiso.services.sharing import Sharing, holding
from tests.builders import NOW, ManualClock, an_entry, three_endpoints

FIRST, SECOND = an_entry(name="first"), an_entry(name="second")
AWS, AZURE, GCP = three_endpoints()


def middle() -> float:
    return 0.5


def fails(
    breakers: Breakers, entry: CatalogEntry, *endpoints: Endpoint, failure: Failure = Failure.TIMED_OUT, times: int = 1
) -> None:
    for _ in range(times):
        breakers.failed(entry.name, [Failed(endpoint=endpoint, failure=failure) for endpoint in endpoints], NOW)


def state(breakers: Breakers, entry: CatalogEntry, endpoint: Endpoint, at_s: float = 0) -> BreakerState:
    return breakers.of(entry).get(endpoint.id, CLOSED).state(NOW + timedelta(seconds=at_s))


def test_one_functions_failures_say_nothing_of_another() -> None:
    breakers = Breakers(draw=middle)
    fails(breakers, FIRST, AWS, times=CONSECUTIVE)
    assert state(breakers, FIRST, AWS) is BreakerState.OPEN
    assert state(breakers, SECOND, AWS) is BreakerState.CLOSED


def test_a_fault_of_a_provider_across_functions_trips_its_domain_once() -> None:
    told: list[Transition] = []
    breakers = Breakers(draw=middle, tell=told.append)
    third = an_entry(name="third")
    fails(breakers, FIRST, AWS, times=CONSECUTIVE)
    fails(breakers, SECOND, AWS, times=CONSECUTIVE)
    assert state(breakers, third, AWS) is BreakerState.OPEN
    assert state(breakers, third, AZURE) is BreakerState.CLOSED
    assert sum(transition.function is None for transition in told) == 1


def test_one_request_finds_out_for_a_whole_domain() -> None:
    breakers = Breakers(draw=middle)
    fails(breakers, FIRST, AWS, times=CONSECUTIVE)
    fails(breakers, SECOND, AWS, times=CONSECUTIVE)
    later = NOW + timedelta(seconds=3)
    assert state(breakers, FIRST, AWS, 3) is BreakerState.HALF_OPEN
    breakers.started(FIRST.name, AWS, later, 1.0)
    assert state(breakers, SECOND, AWS, 3) is BreakerState.OPEN
    breakers.answered(FIRST.name, AWS, later)
    assert state(breakers, SECOND, AWS, 3) is BreakerState.HALF_OPEN
    assert state(breakers, FIRST, AWS, 3) is BreakerState.CLOSED


def test_the_same_failure_everywhere_is_the_requests_or_the_functions_and_trips_nothing() -> None:
    breakers = Breakers(draw=middle)
    for _ in range(10 * CONSECUTIVE):
        fails(breakers, FIRST, AWS, AZURE, GCP)
        breakers.answered(FIRST.name, AWS, NOW)
    assert all(state(breakers, FIRST, endpoint) is BreakerState.CLOSED for endpoint in (AWS, AZURE, GCP))


def test_failing_everywhere_without_one_answer_in_between_is_an_outage() -> None:
    breakers = Breakers(draw=middle)
    fails(breakers, FIRST, AWS, AZURE, GCP, times=2 * CONSECUTIVE)
    assert all(state(breakers, FIRST, endpoint) is BreakerState.OPEN for endpoint in (AWS, AZURE, GCP))


def test_unreachable_everywhere_is_no_fault_of_the_request() -> None:
    breakers = Breakers(draw=middle)
    fails(breakers, FIRST, AWS, AZURE, failure=Failure.UNREACHABLE, times=CONSECUTIVE)
    assert state(breakers, FIRST, AWS) is BreakerState.OPEN


def down(endpoint: Endpoint, failed_at_s: float) -> dict[EndpointId, EndpointState]:
    failed_at = NOW + timedelta(seconds=failed_at_s)
    known = EndpointState(
        function=FIRST.name, endpoint=endpoint.id, consecutive_failures=CONSECUTIVE, last_failed_at=failed_at
    )
    return {endpoint.id: known}


def test_what_all_environments_saw_together_opens_a_breaker_here() -> None:
    breakers = Breakers(draw=middle)
    breakers.learn(FIRST, down(AWS, -1), NOW)
    assert state(breakers, FIRST, AWS) is BreakerState.OPEN


def test_old_news_do_not_open_what_was_seen_to_answer_since() -> None:
    breakers = Breakers(draw=middle)
    breakers.learn(FIRST, down(AWS, -1), NOW)
    later = NOW + timedelta(seconds=3)
    breakers.started(FIRST.name, AWS, later, 1.0)
    breakers.answered(FIRST.name, AWS, later)
    breakers.learn(FIRST, down(AWS, -1), later)
    assert state(breakers, FIRST, AWS, 3) is BreakerState.CLOSED


class Environment:
    """One environment with its side of the sharing."""

    def __init__(self, store: InMemorySharedBreakers, clock: ManualClock) -> None:
        self.clock = clock
        self.sharing = Sharing(store, clock=clock, executor=ThreadPoolExecutor(max_workers=2))
        self.breakers = Breakers(draw=middle, tell=self.sharing.tell)

    def request(self) -> None:
        self.sharing.refresh_while_waiting()
        self.sharing.settle(self.breakers)

    def settle_writes(self) -> None:
        self.sharing.settle(self.breakers)

    def holds(self) -> BreakerState:
        """Of AWS, when a request is about to be decided."""
        held = holding(self.breakers, self.sharing, FIRST, {}, self.clock())
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


def test_a_probe_that_is_answered_lets_the_others_find_out_at_once() -> None:
    clock, store = ManualClock(), InMemorySharedBreakers()
    one, other = both_open(clock, store)
    one.breakers.started(FIRST.name, AWS, clock(), 28.0)
    one.settle_writes()
    assert other.holds() is BreakerState.OPEN
    clock.advance(1.0)
    one.breakers.answered(FIRST.name, AWS, clock())
    other.request()
    one.request()
    clock.advance(6.0)
    other.request()
    assert other.holds() is BreakerState.HALF_OPEN


@pytest.mark.parametrize("failure", [Failure.REJECTED, Failure.THROTTLED])
def test_a_probe_that_says_nothing_of_the_endpoint_leaves_it_to_the_next_one(failure: Failure) -> None:
    clock, store = ManualClock(), InMemorySharedBreakers()
    one, other = both_open(clock, store)
    one.breakers.started(FIRST.name, AWS, clock(), 28.0)
    one.settle_writes()
    assert other.holds() is BreakerState.OPEN
    clock.advance(1.0)
    one.breakers.failed(FIRST.name, [Failed(endpoint=AWS, failure=failure)], clock())
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


def test_without_the_store_each_environment_probes_for_itself() -> None:
    clock = ManualClock()
    alone = Environment(Gone(), clock)
    fails(alone.breakers, FIRST, AWS, times=CONSECUTIVE)
    alone.request()
    clock.advance(LONGEST_S)
    assert alone.holds() is BreakerState.HALF_OPEN


def late_calls(count: int, at_s: float = 0.0) -> list[LateCall]:
    """One each of so many environments, that began at a time."""
    began_at = NOW + timedelta(seconds=at_s)
    return [
        LateCall(function=FIRST.name, endpoint=AWS.id, teller=f"environment {number}", began_at=began_at)
        for number in range(count)
    ]


def test_calls_that_are_late_elsewhere_open_a_breaker_here() -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    here = Environment(store, clock)
    for late in late_calls(CONSECUTIVE - 1):
        store.write(late)
    here.request()
    assert here.holds() is BreakerState.CLOSED
    store.write(late_calls(CONSECUTIVE)[-1])
    clock.advance(6.0)
    here.request()
    assert here.holds() is BreakerState.OPEN


def test_late_calls_that_were_answered_after_all_count_no_more() -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    here = Environment(store, clock)
    for late in late_calls(CONSECUTIVE):
        store.write(late)
    here.sharing.withdraw(late_calls(1)[0])
    here.settle_writes()
    here.request()
    assert here.holds() is BreakerState.CLOSED


def test_who_was_answered_since_knows_better_than_those_who_wait() -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    here = Environment(store, clock)
    for late in late_calls(CONSECUTIVE):
        store.write(late)
    clock.advance(0.1)
    here.breakers.answered(FIRST.name, AWS, clock())
    here.request()
    assert here.holds() is BreakerState.CLOSED


def test_late_calls_of_long_ago_say_nothing() -> None:
    store, clock = InMemorySharedBreakers(), ManualClock()
    here = Environment(store, clock)
    for late in late_calls(CONSECUTIVE):
        store.write(late)
    clock.advance(TOLD_FOR.total_seconds() + 1)
    here.request()
    assert here.holds() is BreakerState.CLOSED


class Gone(InMemorySharedBreakers):
    """A store that is away."""

    def read(self) -> Sequence[Notice]:
        raise StoreUnavailable("away")

    def write(self, notice: Notice) -> None:
        raise StoreUnavailable("away")

    def withdraw(self, late: LateCall) -> None:
        raise StoreUnavailable("away")


def test_without_the_store_an_environment_keeps_its_own_breakers() -> None:
    alone = Environment(Gone(), ManualClock())
    fails(alone.breakers, FIRST, AWS, times=CONSECUTIVE)
    alone.request()
    assert state(alone.breakers, FIRST, AWS) is BreakerState.OPEN


def test_names_of_functions_are_no_part_of_a_domain() -> None:
    breakers = Breakers(draw=middle)
    elsewhere = Endpoint(
        id=EndpointId("aws-eu"), provider=Provider.AWS, region="eu-west-1", memory_mb=512, address="elsewhere"
    )
    both = an_entry(AWS, elsewhere, name="both")
    for entry in (FIRST, SECOND):
        fails(breakers, entry, AWS, times=CONSECUTIVE)
    assert state(breakers, both, AWS) is BreakerState.OPEN
    assert state(breakers, both, elsewhere) is BreakerState.CLOSED
    assert FunctionName("both") == both.name
