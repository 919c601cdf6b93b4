from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.decision import Purpose
from fiso.domain.endpoint import EndpointId
from fiso.domain.record import InvocationRecord
from fiso.domain.state import MOST_IN_FLIGHT, EndpointState
from fiso.routing.fold import NOT_CALLED, WEIGHT, fold
from fiso_client.core.failures import Failure
from tests.builders import NOW, a_record, a_summary, an_attempt

AWS, GCP = EndpointId("aws"), EndpointId("gcp")


def test_the_first_answers_count_alike_and_later_ones_by_their_weight() -> None:
    states = fold({}, a_record(1, attempts=(an_attempt(latency_ms=100.0),)))
    assert states[AWS].latency_ms == 100.0
    states = fold(states, a_record(2, attempts=(an_attempt(latency_ms=200.0),)))
    assert states[AWS].latency_ms == pytest.approx(150)
    for number in range(3, 50):
        states = fold(states, a_record(number, attempts=(an_attempt(latency_ms=150.0),)))
    states = fold(states, a_record(50, attempts=(an_attempt(latency_ms=250.0),)))
    assert states[AWS].latency_ms == pytest.approx(150 + WEIGHT * 100, rel=1e-3)


def test_a_failover_counts_against_the_endpoint_that_failed_and_for_the_one_that_answered() -> None:
    attempts = (an_attempt("aws", status=None, failure=Failure.UNREACHABLE), an_attempt("gcp"))
    states = fold({}, a_record(1, endpoint=GCP, attempts=attempts))
    assert (states[AWS].failures, states[AWS].failovers_from, states[AWS].consecutive_failures) == (1, 1, 1)
    assert (states[GCP].failures, states[GCP].attempts, states[GCP].folded) == (0, 1, 1)
    assert states[AWS].latency_ms is None
    assert states[AWS].last_failure == "unreachable"


def test_a_request_that_was_the_callers_fault_says_nothing_of_the_endpoint() -> None:
    rejected = a_record(1, attempts=(an_attempt(status=None, failure=Failure.REJECTED),), error_occurred=True)
    state = fold({}, rejected)[AWS]
    assert (state.attempts, state.failures, state.consecutive_failures, state.error_rate) == (1, 0, 0, 0.0)


def test_requests_in_flight_follow_littles_law() -> None:
    states: dict[EndpointId, EndpointState] = {}
    for number in range(200):
        at = NOW + timedelta(milliseconds=50 * number)
        states = fold(states, a_record(number, attempts=(an_attempt(started_at=at, latency_ms=100.0),)))
    assert states[AWS].in_flight == pytest.approx(100 / 50, rel=0.01)


def test_a_record_that_called_nothing_is_counted_under_a_name_of_its_own() -> None:
    states = fold({}, a_record(1, endpoint=None, attempts=(), execution_time_ms=None))
    assert states[NOT_CALLED].folded == 1


@pytest.mark.parametrize("failure", [Failure.OVERTAKEN, Failure.TIMED_OUT, Failure.THROTTLED])
def test_a_failure_that_is_folded_late_does_not_move_the_last_one_back(failure: Failure) -> None:
    failed = a_record(1, attempts=(an_attempt(status=None, failure=Failure.TIMED_OUT),))
    before = an_attempt(started_at=NOW - timedelta(seconds=5), status=None, failure=failure)
    states = fold(fold({}, failed), a_record(2, attempts=(before,)))
    assert states[AWS].last_failed_at == NOW


def called(number: int, *, every_ms: float = 1_000.0) -> InvocationRecord:
    at = NOW + timedelta(milliseconds=every_ms * number)
    return a_record(number, timestamp=at, attempts=(an_attempt(started_at=at, latency_ms=100.0),))


def test_a_hundred_records_from_before_leave_the_arrivals_alone() -> None:
    """They come when a shard was held up, or after the keeper replayed spilled lines."""
    states = folded(called(number) for number in range(500, 600))
    again = folded((called(number) for number in range(100)), states)
    assert again[AWS].arrival_interval_ms == states[AWS].arrival_interval_ms == pytest.approx(1_000)
    assert again[AWS].in_flight == pytest.approx(0.1)


def test_no_endpoint_has_more_in_flight_than_clouds_give() -> None:
    at_once = folded(a_record(n) for n in range(2))
    assert at_once[AWS].arrival_interval_ms == 0.0
    assert at_once[AWS].in_flight == 2
    crowd = folded((a_record(n) for n in range(100)), {AWS: replace(at_once[AWS], attempts=10**6)})
    assert crowd[AWS].in_flight == MOST_IN_FLIGHT


@given(st.integers(2, 40).flatmap(lambda count: st.permutations(range(count))))
def test_any_order_of_delivery_gives_the_same_state_within_the_error_that_lateness_makes(order: list[int]) -> None:
    """A record that comes up to d places late stretches an interval to at most d + 1 of them, and shortens none: the
    load reads between a (d + 1)th of what it is and all of it. Counts, sums and last moments do not depend on order."""
    displaced = max(abs(place - number) for place, number in enumerate(order))
    in_order, state = (folded(map(called, numbers))[AWS] for numbers in (sorted(order), order))
    exact = "folded attempts failures warm_answers last_called_at last_failed_at consecutive_failures".split()
    assert [getattr(state, name) for name in exact] == [getattr(in_order, name) for name in exact]
    assert (state.cost_usd, state.latency_ms) == pytest.approx((in_order.cost_usd, in_order.latency_ms))
    if state.arrival_interval_ms is not None:
        assert in_order.in_flight / (displaced + 1) <= state.in_flight * (1 + 1e-9)
        assert state.in_flight <= in_order.in_flight * (1 + 1e-9)


def folded(
    records: Iterable[InvocationRecord], states: Mapping[EndpointId, EndpointState] | None = None
) -> dict[EndpointId, EndpointState]:
    after = dict(states or {})
    for record in records:
        after = fold(after, record)
    return after


def failed_everywhere(number: int) -> InvocationRecord:
    attempts = tuple(an_attempt(endpoint, failure=Failure.TIMED_OUT, status=None) for endpoint in (AWS, GCP))
    return a_record(number, endpoint=GCP, attempts=attempts)


def test_a_poisonous_request_among_answered_ones_puts_no_endpoint_down() -> None:
    states: dict[EndpointId, EndpointState] = {}
    for number in range(0, 20, 2):
        states = fold(fold(states, a_record(number)), failed_everywhere(number + 1))
    assert {state.consecutive_failures for state in states.values()} == {1}


def test_failing_everywhere_without_an_answer_in_between_is_counted() -> None:
    states = fold({}, a_record(0))
    for number in range(1, 6):
        states = fold(states, failed_everywhere(number))
    assert {state.consecutive_failures for state in states.values()} == {5}


@pytest.mark.parametrize("failure", [None, Failure.THROTTLED, Failure.UNREACHABLE])
def test_a_try_counts_for_its_copy_whatever_came_of_it(failure: Failure | None) -> None:
    tried, best = EndpointId("tried"), EndpointId("best")
    candidates = (
        a_summary(best, score=1.0, propensity=0.6),
        a_summary(tried, score=0.5, propensity=0.4),
    )
    first = an_attempt(tried, failure=failure, status=None if failure else 200)
    record = a_record(
        attempts=(first, an_attempt(best)) if failure else (first,),
        candidates=candidates,
        tried_for=Purpose.NEW_COPY,
        endpoint=best if failure else tried,
    )
    levels = fold({}, record)[tried].levels[0]
    assert (levels.tries, levels.tried_loss) == (1, 1.0)  # twice the best one's loss
