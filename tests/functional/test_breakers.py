"""One environment's breakers: fault domains, failures everywhere, and what the folded states tell."""

from datetime import timedelta

import pytest

from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.state import EndpointState
from fiso.routing.breaker_notices import Transition
from fiso.services.resilience.breakers import Breakers, Failed
from fiso_client.core.breaker import CONSECUTIVE, BreakerState
from fiso_client.core.failures import Failure, Fault
from tests.builders import NOW, an_endpoint, an_entry
from tests.functional.breaker_facts import AWS, AZURE, FIRST, GCP, SECOND, fails, middle, state


@pytest.mark.parametrize(
    ("failure", "verdict", "is_open"),
    [
        (Failure.NOT_STARTED, Fault.CALLER, False),  # too large for this cloud
        (Failure.BROKEN, Fault.FUNCTION, False),  # an answer too large, or out of form
        (Failure.REJECTED, Fault.CALLER, False),
        (Failure.NOT_STARTED, Fault.COPY, True),
        (Failure.BROKEN, Fault.COPY, True),
        (Failure.FUNCTION_TIMED_OUT, Fault.FUNCTION, True),
    ],
)
def test_what_the_request_or_the_function_brings_about_trips_nothing(
    failure: Failure, verdict: Fault, is_open: bool
) -> None:
    breakers = Breakers(draw=middle)
    for _ in range(CONSECUTIVE):
        breakers.failed(FIRST.name, [Failed(endpoint=AWS, failure=failure, verdict=verdict)], NOW)
    assert (state(breakers, FIRST, AWS) is BreakerState.OPEN) == is_open


def test_one_functions_failures_say_nothing_of_another() -> None:
    breakers = Breakers(draw=middle)
    fails(breakers, FIRST, AWS, times=CONSECUTIVE)
    assert state(breakers, FIRST, AWS) is BreakerState.OPEN
    assert state(breakers, SECOND, AWS) is BreakerState.CLOSED


def test_a_fault_of_a_provider_across_functions_trips_its_domain_once() -> None:
    told: list[Transition] = []
    breakers = Breakers(draw=middle, publish=told.append)
    elsewhere = an_endpoint(id=EndpointId("aws-eu"), region="eu-west-1")
    third = an_entry(AWS, AZURE, elsewhere, name="third")
    fails(breakers, FIRST, AWS, times=CONSECUTIVE)
    fails(breakers, SECOND, AWS, times=CONSECUTIVE)
    assert state(breakers, third, AWS) is BreakerState.OPEN
    assert state(breakers, third, AZURE) is state(breakers, third, elsewhere) is BreakerState.CLOSED
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
