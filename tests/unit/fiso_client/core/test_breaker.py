from datetime import timedelta

import pytest

from fiso_client.core.breaker import (
    CLOSED,
    CONSECUTIVE,
    FIRST_S,
    FIRST_SHARE,
    FORGET_S,
    JITTER,
    LEAST_CALLS,
    LONGEST_RETURN_S,
    LONGEST_S,
    REFUSED_FIRST_S,
    Breaker,
    BreakerState,
)
from tests.builders import NOW

NO_JITTER = 0.5
"""The draw in the middle."""


def failed(breaker: Breaker, at_s: float = 0.0, *, is_refusal: bool = False) -> Breaker:
    now = NOW + timedelta(seconds=at_s)
    return breaker.after_failure(now, cause="timed_out", draw=NO_JITTER, is_refusal=is_refusal)


def after_failures(count: int, breaker: Breaker = CLOSED) -> Breaker:
    for _ in range(count):
        breaker = failed(breaker)
    return breaker


def state_at(breaker: Breaker, seconds: float) -> BreakerState:
    return breaker.state(NOW + timedelta(seconds=seconds))


def test_opens_only_after_consecutive_failures() -> None:
    assert after_failures(CONSECUTIVE - 1).state(NOW) is BreakerState.CLOSED
    assert after_failures(CONSECUTIVE).state(NOW) is BreakerState.OPEN


def test_a_success_in_between_starts_the_row_afresh() -> None:
    almost = after_failures(CONSECUTIVE - 1).after_success(NOW)
    assert after_failures(CONSECUTIVE - 1, almost).state(NOW) is BreakerState.CLOSED


def alternating(calls: int, seconds: float) -> Breaker:
    """Every second call fails."""
    breaker = CLOSED
    for number in range(calls):
        now = NOW + timedelta(seconds=seconds * number / calls)
        is_failure = bool(number % 2)
        breaker = (
            breaker.after_failure(now, cause="broken", draw=NO_JITTER) if is_failure else breaker.after_success(now)
        )
    return breaker


def test_opens_when_half_of_enough_calls_failed_within_the_window() -> None:
    assert alternating(LEAST_CALLS, seconds=5).opened_until is not None
    assert alternating(LEAST_CALLS - 2, seconds=5).opened_until is None
    assert alternating(LEAST_CALLS, seconds=60).opened_until is None


def test_half_opens_when_the_time_is_over_and_closes_on_success() -> None:
    opened = after_failures(CONSECUTIVE)
    probe_at = NOW + timedelta(seconds=FIRST_S)
    assert opened.state(probe_at) is BreakerState.HALF_OPEN
    assert opened.after_success(probe_at).state(probe_at) is BreakerState.CLOSED


def test_one_request_probes_and_the_others_wait_for_what_it_finds() -> None:
    opened, probe_at = after_failures(CONSECUTIVE), NOW + timedelta(seconds=FIRST_S)
    probing = opened.after_start(probe_at, 1.0)
    assert probing.state(probe_at) is BreakerState.OPEN
    assert probing.after_success(probe_at).state(probe_at) is BreakerState.CLOSED
    assert probing.state(probe_at + timedelta(seconds=1)) is BreakerState.HALF_OPEN


def test_a_failing_probe_opens_for_twice_the_time() -> None:
    again = failed(after_failures(CONSECUTIVE).after_start(NOW + timedelta(seconds=FIRST_S), 1.0), FIRST_S)
    assert again.opened_until == NOW + timedelta(seconds=FIRST_S + 2 * FIRST_S)


def test_failures_while_open_do_not_lengthen_it() -> None:
    opened = after_failures(CONSECUTIVE)
    assert failed(opened, 1.0).opened_until == opened.opened_until


def test_the_wait_never_passes_the_longest_and_its_jitter() -> None:
    breaker, now = CLOSED, NOW
    for _ in range(200):
        breaker = breaker.after_failure(now, cause="broken", draw=0.999)
        now = breaker.opened_until or now
    assert breaker.opened_until is not None
    assert breaker.changed_at is not None
    assert breaker.opened_until - breaker.changed_at <= timedelta(seconds=LONGEST_S * (1 + JITTER))


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 1 - JITTER), (NO_JITTER, 1.0)])
def test_the_wait_is_spread_by_the_draw(draw: float, factor: float) -> None:
    tripped = CLOSED.tripped(NOW, cause="broken", draw=draw)
    assert tripped.opened_until == NOW + timedelta(seconds=FIRST_S * factor)


def test_an_endpoint_that_flaps_is_out_longer_each_time() -> None:
    probe_at = NOW + timedelta(seconds=FIRST_S)
    closed = after_failures(CONSECUTIVE).after_success(probe_at)
    again = closed.tripped(probe_at, cause="broken", draw=NO_JITTER)
    assert again.opened_until == probe_at + timedelta(seconds=2 * FIRST_S)
    much_later = probe_at + timedelta(seconds=FORGET_S + 1)
    forgotten = closed.tripped(much_later, cause="broken", draw=NO_JITTER)
    assert forgotten.opened_until == much_later + timedelta(seconds=FIRST_S)


def test_a_refusal_opens_at_once_and_for_long() -> None:
    refused = failed(CLOSED, is_refusal=True)
    assert state_at(refused, REFUSED_FIRST_S - 1) is BreakerState.OPEN
    assert state_at(refused, REFUSED_FIRST_S) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("step_s", [-900, 900])
def test_a_clock_that_steps_keeps_nothing_open(step_s: float) -> None:
    assert state_at(after_failures(CONSECUTIVE), step_s) is BreakerState.HALF_OPEN


def test_throttling_caps_the_share_and_opens_nothing() -> None:
    throttled = CLOSED
    for _ in range(10):
        throttled = throttled.after_throttled(NOW, retry_after_s=7)
    assert throttled.state(NOW) is BreakerState.CLOSED
    assert throttled.is_unavailable(NOW + timedelta(seconds=4))
    assert not throttled.is_unavailable(NOW + timedelta(seconds=6))


def test_a_copy_that_is_back_gets_a_share_that_grows_for_as_long_as_it_was_out() -> None:
    closed = after_failures(CONSECUTIVE).after_success(NOW + timedelta(seconds=8))
    assert closed.state(NOW + timedelta(seconds=8)) is BreakerState.CLOSED
    shares = [closed.share(NOW + timedelta(seconds=8 + past_s)) for past_s in (0, 2, 4, 6, 7.9)]
    assert shares[0] == pytest.approx(FIRST_SHARE)
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx(FIRST_SHARE**0.5)
    assert closed.share(NOW + timedelta(seconds=16)) == 1.0


@pytest.mark.parametrize(("out_s", "back_s"), [(2.5, 2.5), (1_000, LONGEST_RETURN_S)])
def test_the_return_has_bounds(out_s: float, back_s: float) -> None:
    back = after_failures(CONSECUTIVE).after_success(NOW + timedelta(seconds=out_s))
    assert back.share(NOW + timedelta(seconds=out_s + back_s - 0.1)) < 1
    assert back.share(NOW + timedelta(seconds=out_s + back_s)) == 1.0


def test_how_long_it_was_out_is_counted_from_the_first_failure_that_opened_it() -> None:
    breaker = after_failures(CONSECUTIVE)
    for at_s in (3, 9, 20):
        breaker = failed(breaker, at_s)
    assert breaker.after_success(NOW + timedelta(seconds=45)).out_for_s == 45


def test_a_clock_that_steps_back_holds_no_share_down() -> None:
    back = after_failures(CONSECUTIVE).after_success(NOW + timedelta(seconds=8))
    assert back.share(NOW) == 1.0


def test_what_was_never_out_gets_all() -> None:
    assert CLOSED.after_success(NOW).share(NOW) == 1.0
