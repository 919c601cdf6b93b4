from datetime import timedelta

from fiso.routing.breaker import CLOSED, CONSECUTIVE, FIRST_S, LONGEST_S, Breaker, BreakerState
from tests.builders import NOW


def after_failures(count: int, breaker: Breaker = CLOSED) -> Breaker:
    for _ in range(count):
        breaker = breaker.after_failure(NOW)
    return breaker


def later(seconds: float) -> object:
    return NOW + timedelta(seconds=seconds)


def test_opens_only_after_consecutive_failures() -> None:
    assert after_failures(CONSECUTIVE - 1).state(NOW) is BreakerState.CLOSED
    assert after_failures(CONSECUTIVE).state(NOW) is BreakerState.OPEN


def test_a_success_in_between_starts_the_count_afresh() -> None:
    almost = after_failures(CONSECUTIVE - 1).after_success(NOW)
    assert after_failures(CONSECUTIVE - 1, almost).state(NOW) is BreakerState.CLOSED


def test_half_opens_when_the_time_is_over_and_closes_on_success() -> None:
    probe_at = NOW + timedelta(seconds=FIRST_S)
    opened = after_failures(CONSECUTIVE)
    assert opened.state(probe_at) is BreakerState.HALF_OPEN
    assert opened.after_success(probe_at).state(probe_at) is BreakerState.CLOSED


def test_a_failing_probe_opens_for_twice_the_time() -> None:
    probe_at = NOW + timedelta(seconds=FIRST_S)
    again = after_failures(CONSECUTIVE).after_failure(probe_at)
    assert again.opened_until == probe_at + timedelta(seconds=2 * FIRST_S)


def test_the_wait_never_passes_the_longest() -> None:
    breaker, now = CLOSED, NOW
    for _ in range(200):
        breaker = breaker.after_failure(now)
        now = breaker.opened_until or now
    assert breaker.opened_until is not None
    assert breaker.opened_until - now <= timedelta(seconds=LONGEST_S)


def test_a_success_while_open_goes_through_half_open() -> None:
    opened = after_failures(CONSECUTIVE)
    assert opened.after_success(NOW).state(NOW) is BreakerState.HALF_OPEN


def test_the_providers_own_retry_after_opens_at_once_for_as_long_as_it_says() -> None:
    throttled = CLOSED.after_failure(NOW, retry_after_s=7)
    assert throttled.opened_until == NOW + timedelta(seconds=7)
