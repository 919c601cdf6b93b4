from datetime import timedelta

from fiso_client.core.throttle import DECREASE, FORGET_S, LEAST_PER_S, LONGEST_RETRY_AFTER_S, RateCap, capped
from tests.builders import NOW


def admitted(cap: RateCap, *, seconds: int, asked_per_s: int = 20) -> int:
    """How many of the calls that are asked for at regular intervals may go there."""
    count = 0
    for number in range(seconds * asked_per_s):
        now = NOW + timedelta(seconds=number / asked_per_s)
        if cap.admits(now):
            cap, count = cap.after_call(now), count + 1
    return count


def test_while_the_provider_asks_to_be_spared_its_share_does_not_grow() -> None:
    count = admitted(capped(10.0, NOW, retry_after_s=10.0), seconds=10)
    assert 10 * 10 * DECREASE * 0.9 <= count <= 10 * 10 * DECREASE


def test_afterwards_the_share_starts_below_what_was_answered_and_grows() -> None:
    cap = capped(10.0, NOW, retry_after_s=1.0)
    begins = NOW + timedelta(seconds=1)
    assert cap.current_per_s(begins) == 10.0 * DECREASE
    assert cap.current_per_s(begins + timedelta(seconds=5)) > 10.0


def test_throttled_again_it_gets_less_one_step_at_a_time() -> None:
    cap = capped(10.0, NOW, retry_after_s=1.0)
    later = NOW + timedelta(seconds=1)
    once = cap.after_throttled(later, answered_per_s=9.0, retry_after_s=1.0)
    assert once.rate_per_s < cap.rate_per_s
    assert once.after_throttled(later, answered_per_s=9.0, retry_after_s=1.0) is once


def test_who_answers_nothing_is_asked_now_and_then_only() -> None:
    cap = capped(10.0, NOW, retry_after_s=1.0)
    later = NOW + timedelta(seconds=2)
    assert cap.after_throttled(later, answered_per_s=0.0, retry_after_s=1.0).rate_per_s == LEAST_PER_S
    assert 0 < admitted(capped(0.0, NOW, retry_after_s=0.0), seconds=8) <= 4


def test_the_cap_is_forgotten() -> None:
    cap = capped(10.0, NOW, retry_after_s=0.0)
    assert not cap.is_over(NOW + timedelta(seconds=FORGET_S))
    assert cap.is_over(NOW + timedelta(seconds=FORGET_S + 2))


def test_neither_a_long_retry_after_nor_a_clock_that_steps_back_locks_it_out() -> None:
    cap = capped(0.0, NOW, retry_after_s=1e9)
    assert cap.admits(NOW + timedelta(seconds=LONGEST_RETRY_AFTER_S + 6))
    assert cap.admits(NOW - timedelta(seconds=900))
