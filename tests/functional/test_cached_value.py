from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Event

import pytest

from fiso.domain.errors import StoreUnavailable
from fiso.services.freshness.cached import FRESH_S, RETRY_S, STALE_S, CachedValue
from fiso.testing.clock import ManualClock


class Source:
    """A store that counts its reads; `down` makes them fail."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_down = False

    def read(self, _: int | None) -> int:
        self.reads += 1
        if self.is_down:
            raise StoreUnavailable("down")
        return self.reads


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def known(source: Source, clock: ManualClock, executor: Executor) -> CachedValue[int]:
    return CachedValue("thing", source.read, clock=clock, executor=executor)


def test_the_first_use_reads_and_the_next_does_not(known: CachedValue[int], source: Source) -> None:
    assert [known.get_or_wait(), known.get_or_wait()] == [1, 1]
    assert source.reads == 1


def test_a_value_is_refreshed_during_the_wait_once_it_is_no_longer_fresh(
    known: CachedValue[int], clock: ManualClock
) -> None:
    known.get_or_wait()
    known.refresh_in_background()
    known.await_pending()
    assert known.value == 1
    clock.advance(FRESH_S + 0.1)
    assert known.get_or_wait() == 1
    known.refresh_in_background()
    known.await_pending()
    assert known.value == 2


def test_a_stale_value_is_read_again_before_deciding(known: CachedValue[int], clock: ManualClock) -> None:
    known.get_or_wait()
    clock.advance(STALE_S + 0.1)
    assert known.get_or_wait() == 2


def test_a_store_that_is_away_leaves_the_last_value_serving(
    known: CachedValue[int], source: Source, clock: ManualClock
) -> None:
    known.get_or_wait()
    source.is_down = True
    clock.advance(STALE_S + 0.1)
    assert known.get_or_wait() == 1
    assert known.age_s == pytest.approx(STALE_S + 0.1)


def test_a_store_that_just_failed_is_not_asked_by_every_request(
    known: CachedValue[int], source: Source, clock: ManualClock
) -> None:
    source.is_down = True
    for _ in range(5):
        assert known.get_or_wait() is None
    assert source.reads == 1
    clock.advance(RETRY_S)
    source.is_down = False
    assert known.get_or_wait() == 2


def test_a_store_that_hangs_delays_a_decision_only_for_a_moment(clock: ManualClock, executor: Executor) -> None:
    release = Event()
    answers = iter([1, 2])

    def read(value: int | None) -> int:
        if value is not None:
            release.wait(5)
        return next(answers)

    known: CachedValue[int] = CachedValue("thing", read, clock=clock, executor=executor)
    known.get_or_wait()
    clock.advance(STALE_S + 0.1)
    assert known.get_or_wait() == 1
    release.set()


def test_a_defect_is_not_hidden_as_staleness(clock: ManualClock, executor: Executor) -> None:
    def read(_: int | None) -> int:
        raise ZeroDivisionError

    known: CachedValue[int] = CachedValue("thing", read, clock=clock, executor=executor)
    with pytest.raises(ZeroDivisionError):
        known.get_or_wait()


def test_a_clock_that_was_set_back_freezes_no_refresh(clock: ManualClock, executor: Executor, source: Source) -> None:
    ticks = [0.0]
    known: CachedValue[int] = CachedValue("thing", source.read, clock=clock, executor=executor, ticks=lambda: ticks[0])
    known.get_or_wait()
    clock.advance(-900)
    assert known.age_s == 0.0
    ticks[0] += STALE_S + 0.1
    assert known.get_or_wait() == 2


def test_a_frozen_environment_wakes_with_values_that_are_old(clock: ManualClock, executor: Executor) -> None:
    """Lambda may stop the monotonic clock with the environment; the time of day goes on."""
    known: CachedValue[int] = CachedValue("thing", lambda _: 1, clock=clock, executor=executor, ticks=lambda: 7.0)
    known.get_or_wait()
    clock.advance(3600)
    assert known.age_s == 3600.0
