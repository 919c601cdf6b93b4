"""Lambda freezes an environment when its answer has gone out, with whatever was under way, and thaws it much later.

Both kinds of monotonic clock are tried: one that stands still meanwhile, and one that goes on.
"""

from collections.abc import Callable
from threading import Event

import pytest

from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Mode
from fiso.routing.breaker_notices import SlowCall
from fiso.routing.budget import MOST_TRIES
from fiso.services.freshness.cached import FRESH_S, STALE_S, CachedValue, StoreWaitBudget, staleness_clock
from fiso.services.freshness.decision_sources import SNAPSHOT_STALE_S
from fiso.services.resilience.breakers import Breakers, BreakerSync
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemorySharedBreakers, InMemorySnapshots, answering, away
from fiso.testing.rig import PLACES, Rig, Stores
from fiso_client.core.breaker import CONSECUTIVE
from fiso_client.core.stopwatch import Stopwatch
from tests.functional.breaker_facts import AWS, FIRST, fails, middle, state
from tests.held_executor import HeldExecutor

FREEZES_S = [1.0, 60.0, 6 * 3600.0]
MONOTONIC = {"stands-still": ManualClock.freeze, "goes-on": ManualClock.advance}
Freeze = Callable[[ManualClock, float], None]
for_so_long = pytest.mark.parametrize("frozen_s", FREEZES_S)
by_either_clock = pytest.mark.parametrize("freeze", MONOTONIC.values(), ids=MONOTONIC.keys())


class HeldSnapshots(InMemorySnapshots):
    """The next read ends when a test lets it, with what stood there when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held, self.may_end = False, Event()

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        found = super().current(unless_version=unless_version)
        if self.is_held:
            self.is_held = False
            self.may_end.wait(20)
        return found


@by_either_clock
@for_so_long
@pytest.mark.parametrize("ends", [True, False], ids=["ends-after-the-thaw", "never-ends"])
def test_a_pin_published_during_a_freeze_holds_for_the_first_request_after_ten_seconds(
    freeze: Freeze, frozen_s: float, ends: bool
) -> None:
    snapshots = HeldSnapshots()
    snapshots.publish(Rig().stores.snapshots.versions[1])
    rig = Rig(stores=Stores(snapshots=snapshots))
    rig.invoke("word-count")
    rig.clock.advance(FRESH_S + 0.1)
    snapshots.is_held = True
    rig.invoke("word-count")  # its refresh is still under way when its answer goes out
    other = next(id for id in PLACES if id != rig.calls[-1])
    rig.change_policy("word-count", mode=Mode.PIN, pinned=other)
    freeze(rig.clock, max(frozen_s, SNAPSHOT_STALE_S))
    if ends:
        snapshots.may_end.set()
    rig.invoke("word-count")
    snapshots.may_end.set()
    assert rig.calls[-1] == other


@by_either_clock
@for_so_long
def test_a_read_under_way_is_as_old_as_its_beginning(freeze: Freeze, frozen_s: float) -> None:
    clock, executor = ManualClock(), HeldExecutor()
    budget = StoreWaitBudget(executor, stopwatch=staleness_clock(clock, clock.ticks))
    values = iter(["before", "after"])
    cached: CachedValue[str] = CachedValue("thing", lambda _: next(values), budget=budget)
    executor.is_held = True
    cached.refresh_in_background()
    budget.await_pending()
    freeze(clock, frozen_s)
    executor.let_go()
    assert cached.value == "before"
    assert cached.age_s == pytest.approx(frozen_s)
    assert cached.get_or_wait() == ("after" if frozen_s > STALE_S else "before")


@by_either_clock
@for_so_long
def test_a_shared_write_that_was_frozen_holds_nowhere_longer_than_if_it_had_been_in_time(
    freeze: Freeze, frozen_s: float
) -> None:
    clock, store = ManualClock(), InMemorySharedBreakers()
    executors = HeldExecutor(), HeldExecutor()
    one, other = (_sync(store, clock, executor) for executor in executors)
    executors[0].is_held = True
    breakers = Breakers(draw=middle, publish=one.publish)
    fails(breakers, FIRST, AWS, times=CONSECUTIVE)
    for number in range(CONSECUTIVE):
        one.publish(SlowCall(function=FIRST.name, endpoint=AWS.id, teller=str(number), began_at=clock()))
    freeze(clock, frozen_s)
    executors[0].let_go()
    elsewhere = Breakers(draw=middle)
    other.refresh_in_background()
    other.apply_remote(elsewhere)
    assert (state(elsewhere, FIRST, AWS, frozen_s).value == "open") is (frozen_s < 30)


def _sync(store: InMemorySharedBreakers, clock: ManualClock, executor: HeldExecutor) -> BreakerSync:
    budget = StoreWaitBudget(executor, stopwatch=staleness_clock(clock, clock.ticks))
    return BreakerSync(store, clock=clock, budget=budget)


@by_either_clock
def test_a_credential_of_an_hour_is_not_shown_after_five(freeze: Freeze) -> None:
    clock = ManualClock()
    stopwatch = Stopwatch(ticks=clock.ticks, wall=lambda: clock().timestamp())
    tokens: CredentialCache[str] = CredentialCache(stopwatch=stopwatch)
    assert tokens.get("a", lambda: Expiring("first", fresh_s=3000, usable_s=3540)) == "first"
    freeze(clock, 5 * 3600)
    assert tokens.get("a", lambda: Expiring("second", fresh_s=3000, usable_s=3540)) == "second"


@by_either_clock
@pytest.mark.parametrize("frozen_s", FREEZES_S[1:])
def test_after_a_freeze_the_log_is_tried_again_and_the_try_budget_is_full(freeze: Freeze, frozen_s: float) -> None:
    rig = Rig()
    rig.stores.log.before = away("throttled")
    for _ in range(5):
        rig.invoke("word-count")
    dispatcher = rig.app.orchestrator.dispatcher
    while dispatcher.may_try():
        pass
    rig.stores.log.before = answering
    freeze(rig.clock, frozen_s)
    rig.invoke("word-count")
    assert len(rig.records) == 1
    assert sum(dispatcher.may_try() for _ in range(10)) == MOST_TRIES
    assert EndpointId(rig.calls[-1]) in PLACES
