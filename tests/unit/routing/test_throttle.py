from datetime import timedelta

from fiso.routing.throttle import DECREASE, FORGET_S, LEAST_PER_S, LONGEST_RETRY_AFTER_S, RateCap, capped
from tests.builders import NOW


def admitted(cap: RateCap, *, seconds: int, asked_per_s: int = 20) -> int:
    """How many of the calls that are asked for at regular intervals may go there."""
    count = 0
    for number in range(seconds * asked_per_s):
        now = NOW + timedelta(seconds=number / asked_per_s)
        if cap.admits(now):
            cap, count = cap.after_call(now), count + 1
    return count


def test_no_call_before_retry_after_is_over() -> None:
    cap = capped(10.0, NOW, 3.0)
    assert not cap.admits(NOW + timedelta(seconds=2.9))
    assert cap.admits(NOW + timedelta(seconds=3.0))


def test_the_share_stays_near_what_was_answered() -> None:
    count = admitted(capped(10.0, NOW, 0.0), seconds=10)
    assert 10 * 10 * DECREASE * 0.9 <= count <= 10 * 10


def test_throttled_again_it_gets_less_but_once_a_second_only() -> None:
    cap = capped(10.0, NOW, 0.0)
    later = NOW + timedelta(seconds=2)
    once = cap.after_throttled(later, 0.0)
    assert once.rate_per_s < cap.rate_per_s
    assert once.after_throttled(later, 0.0).rate_per_s == once.rate_per_s


def test_a_capped_endpoint_is_always_asked_now_and_then() -> None:
    cap = capped(0.0, NOW, 0.0)
    assert cap.rate_per_s == LEAST_PER_S
    assert admitted(cap, seconds=30) >= 30 * LEAST_PER_S - 1


def test_the_cap_grows_and_is_forgotten() -> None:
    cap = capped(10.0, NOW, 0.0)
    later = NOW + timedelta(seconds=30)
    assert cap.after_call(later).rate_per_s > cap.rate_per_s
    assert cap.is_over(NOW + timedelta(seconds=FORGET_S + 1))


def test_neither_a_long_retry_after_nor_a_clock_that_steps_back_locks_it_out() -> None:
    cap = capped(10.0, NOW, 1e9)
    assert cap.admits(NOW + timedelta(seconds=LONGEST_RETRY_AFTER_S + 6))
    assert cap.admits(NOW - timedelta(seconds=900))
