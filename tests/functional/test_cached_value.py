"""One cached value, over a store whose reads a test lets end when it wants."""

from time import monotonic

import pytest

from fiso.domain.errors import StoreUnavailable
from fiso.services.freshness.cached import (
    FRESH_S,
    RETRY_S,
    STALE_S,
    STORE_WAIT_S,
    CachedValue,
    StoreWaitBudget,
    staleness_clock,
)
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryMetrics
from tests.held_executor import HeldExecutor


class Rig:
    """A value that counts its reads; `fails` makes them raise."""

    def __init__(self) -> None:
        self.clock, self.executor, self.metrics = ManualClock(), HeldExecutor(), InMemoryMetrics()
        stopwatch = staleness_clock(self.clock, self.clock.ticks)
        self.budget = StoreWaitBudget(self.executor, stopwatch=stopwatch, metrics=self.metrics)
        self.reads, self.fails = 0, False
        self.error: Exception = StoreUnavailable("down")
        self.cached: CachedValue[int] = CachedValue("thing", self._read, budget=self.budget)

    def _read(self, _: int | None) -> int:
        self.reads += 1
        if self.fails:
            raise self.error
        return self.reads

    def request(self) -> int | None:
        """What a request decides with, and what happens beside it."""
        self.budget.renew()
        value = self.cached.get_or_wait()
        self.cached.refresh_in_background()
        self.budget.await_pending()
        return value

    def waited_s(self) -> float:
        """What a request waits in all."""
        start_s = monotonic()
        self.request()
        return monotonic() - start_s


def test_the_first_use_reads_and_the_next_does_not() -> None:
    rig = Rig()
    assert [rig.request(), rig.request(), rig.reads] == [1, 1, 1]


def test_a_value_is_refreshed_during_the_wait_when_no_longer_fresh_and_before_deciding_when_stale() -> None:
    rig = Rig()
    rig.request()
    rig.clock.advance(FRESH_S + 0.1)
    assert [rig.request(), rig.request()] == [1, 2]
    rig.clock.advance(STALE_S + 0.1)
    assert rig.request() == 3


@pytest.mark.parametrize("error", [StoreUnavailable("down"), KeyError("Items")], ids=["away", "a-damaged-answer"])
def test_a_read_that_fails_leaves_the_last_value_and_is_told_but_raised_nowhere(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    rig.request()
    rig.fails, rig.error = True, error
    rig.clock.advance(FRESH_S + 0.1)
    assert [rig.request(), rig.request()] == [1, 1]  # during the wait
    rig.clock.advance(STALE_S + 0.1)
    assert rig.request() == 1  # before deciding
    assert rig.cached.force_refresh() == 1
    assert rig.cached.age_s == pytest.approx(FRESH_S + STALE_S + 0.2)
    assert rig.cached.problem == str(error)
    assert rig.metrics.total("StoreProblems") == 2
    assert "thing" in caplog.text
    rig.fails = False
    rig.clock.advance(RETRY_S)
    assert rig.request() == 4
    assert not rig.cached.problem


def test_a_store_that_just_failed_is_not_asked_by_every_request() -> None:
    rig = Rig()
    rig.fails = True
    assert [rig.request() for _ in range(5)] == [None] * 5
    assert rig.reads == 1
    rig.clock.advance(RETRY_S)
    rig.fails = False
    assert rig.request() == 2


def test_a_store_that_hangs_is_waited_for_once_until_it_answers_again() -> None:
    rig = Rig()
    rig.request()
    rig.executor.is_held = True
    rig.clock.advance(STALE_S + 0.1)
    assert rig.waited_s() >= STORE_WAIT_S
    rig.clock.advance(2.0)
    assert rig.waited_s() < STORE_WAIT_S / 2
    assert rig.cached.problem == "the store does not answer"
    rig.executor.let_go()
    assert rig.cached.value == 2
    assert not rig.cached.problem


def test_a_slow_read_during_the_wait_is_not_waited_for_twice_and_is_no_hang() -> None:
    rig = Rig()
    rig.request()
    rig.executor.is_held = True
    rig.clock.advance(FRESH_S + 0.1)
    assert rig.waited_s() >= STORE_WAIT_S  # the answer goes out then
    assert rig.waited_s() < STORE_WAIT_S / 2
    assert rig.cached.problem is None


def test_requests_over_several_values_wait_for_all_of_them_together() -> None:
    rig = Rig()
    rig.executor.is_held = True
    others: list[CachedValue[int]] = [
        CachedValue(f"other {number}", lambda _: 1, budget=rig.budget, is_needed=False) for number in range(5)
    ]
    start_s = monotonic()
    for other in others:
        assert other.get_or_wait() is None
    rig.budget.await_pending()
    assert monotonic() - start_s < 2 * STORE_WAIT_S
    assert [other.problem for other in others] == ["the store does not answer", None, None, None, None]


def test_a_clock_that_was_set_back_keeps_no_value_young() -> None:
    rig = Rig()
    rig.request()
    rig.clock.now = rig.clock.now.replace(year=2025)
    assert rig.cached.age_s == 0.0
    rig.clock.advance(STALE_S + 0.1)
    assert rig.request() == 2
