"""BreakerSync: breakers that opened or closed or are being probed, told to other environments and heard from them.

Written on transitions and for late calls, beside whatever is awaited then; read while a provider is awaited, when older
than 2 s, and before a request that would be a probe: of a cloud that is silent each probe costs somebody's request.
Without the store each environment finds out for itself.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime
from time import monotonic

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId
from fiso.domain.errors import StoreError
from fiso.domain.state import EndpointState
from fiso.ports import Clock, SharedBreakers
from fiso.routing.breaker_notices import Notice, SlowCall, Transition
from fiso.services.freshness.cached import CachedValue
from fiso.services.freshness.wait_budget import StoreWaitBudget
from fiso.services.resilience.breakers import Breakers
from fiso_client.core.breaker import Breaker, BreakerState

HEARD_FRESH_S = 2.0
"""So long others' bad news may take to be heard where all is well; each request until then may be lost."""
PROBE_FRESH_S = 0.1
"""A probe is made by what was heard so lately."""

logger = logging.getLogger(__name__)


def effective_breakers(
    breakers: Breakers,
    breaker_sync: "BreakerSync | None",
    entry: CatalogEntry,
    states: Mapping[EndpointId, EndpointState],
    now: datetime,
) -> Mapping[EndpointId, Breaker]:
    """The breakers that hold for a function, with what others told and all environments saw together."""
    if breaker_sync is not None:
        breaker_sync.apply_remote(breakers)
    breakers.learn(entry, states, now)
    found = breakers.of(entry)
    if breaker_sync is not None and any(breaker.state(now) is BreakerState.HALF_OPEN for breaker in found.values()):
        breaker_sync.refresh_before_probe(breakers)
        found = breakers.of(entry)
    return found


class BreakerSync:
    """One environment's side of it."""

    def __init__(
        self,
        store: SharedBreakers,
        *,
        clock: Clock,
        executor: Executor,
        budget: StoreWaitBudget | None = None,
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        self._store, self._clock, self._executor = store, clock, executor
        self._budget = budget or StoreWaitBudget()
        self._known: CachedValue[Sequence[Notice]] = CachedValue(
            "shared breakers",
            lambda _: store.read(),
            clock=clock,
            executor=executor,
            budget=self._budget,
            is_needed=False,
            ticks=ticks,
        )
        self._adopted: Sequence[Notice] | None = None
        self._writes: list[Future[None]] = []

    def prefetch(self) -> None:
        """Start the first read, beside those of whatever else a new environment needs."""
        if self._known.age_s is None:
            self._known.refresh_in_background()

    def publish(self, notice: Notice) -> None:
        """Write one, without waiting for it."""
        self._share(lambda: self._store.write(notice))

    def retract(self, late: SlowCall) -> None:
        """Take a late call back that was answered, without waiting for it."""
        self._share(lambda: self._store.retract(late))

    def refresh_in_background(self, *, oldest_s: float = HEARD_FRESH_S) -> None:
        """Read what is due; call right before waiting for a provider."""
        self._known.refresh_in_background(oldest_s=oldest_s)

    def refresh_before_probe(self, breakers: Breakers) -> None:
        """Hear what others know by now, unless that was just heard: one of them may be probing already."""
        self._known.get_or_wait(oldest_s=PROBE_FRESH_S)
        self.apply_remote(breakers)

    def await_pending(self, breakers: Breakers) -> None:
        """Let reads and writes that were started finish, and take over what others saw."""
        self._known.await_pending()
        self._writes = [write for write in self._writes if not self._budget.wait_for(write)]
        self.apply_remote(breakers)

    def apply_remote(self, breakers: Breakers) -> None:
        """Let what was heard since the last time hold here too."""
        heard = self._known.value
        if heard is not None and heard is not self._adopted:
            self._adopted, now = heard, self._clock()
            breakers.apply_remote((notice for notice in heard if isinstance(notice, Transition)), now)
            breakers.on_remote_slow_calls([notice for notice in heard if isinstance(notice, SlowCall)], now)

    def _share(self, write: Callable[[], None]) -> None:
        self._writes.append(self._executor.submit(_tried, write))


def _tried(write: Callable[[], None]) -> None:
    try:
        write()
    except StoreError as error:
        logger.warning("what others should know was not shared: %s", error)
