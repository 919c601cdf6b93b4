"""Breaker sync: breakers that opened or closed or are being probed, and slow calls, published to other environments and
heard from them.

Written beside whatever is awaited then; read while a provider is awaited, when older than 2 s, and before a request
that would be a probe: of a cloud that is silent each probe costs somebody's request. Without the store each environment
finds out for itself. docs/decisions/0013-when-a-call-fails.md
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId
from fiso.domain.state import EndpointState
from fiso.ports import Clock, SharedBreakers
from fiso.routing.breaker_notices import TOLD_FOR, Notice, SlowCall, Transition
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso.services.resilience.breakers import Breakers
from fiso_client.core.breaker import Breaker, BreakerState

HEARD_FRESH_S = 2.0
"""So long others' bad news may take to be heard where all is well; each request until then may be lost."""
PROBE_FRESH_S = 0.1
"""A probe is made by what was heard so lately."""
UNIT_BYTES = 8_192
"""What one read unit of the store reads. An environment spends one a second, or a fleet would ask too much of one key;
only a probe is worth more."""
TRANSITION_BYTES, SLOW_CALL_BYTES = 300, 60


def effective_breakers(
    breakers: Breakers,
    sync: "BreakerSync | None",
    entry: CatalogEntry,
    states: Mapping[EndpointId, EndpointState],
    now: datetime,
) -> Mapping[EndpointId, Breaker]:
    """The breakers that hold for a function, with what others told and all environments saw together."""
    if sync is not None:
        sync.apply_remote(breakers)
    breakers.learn(entry, states, now)
    found = breakers.of(entry)
    if sync is not None and any(breaker.state(now) is BreakerState.HALF_OPEN for breaker in found.values()):
        sync.refresh_before_probe(breakers)
        found = breakers.of(entry)
    return found


class BreakerSync:
    """One environment's side of it. What it starts is awaited with all else that shares the budget."""

    def __init__(self, store: SharedBreakers, *, clock: Clock, budget: StoreWaitBudget) -> None:
        self._store, self._clock, self._budget = store, clock, budget
        self._heard: CachedValue[Sequence[Notice]] = CachedValue(
            "shared breakers", lambda _: store.read(), budget=budget, is_needed=False
        )
        self._applied: Sequence[Notice] | None = None
        self._last_read_units = 0.0

    def prefetch(self) -> None:
        """Start the first read, beside those of whatever else a new environment needs."""
        self._heard.refresh_in_background(oldest_s=float("inf"))

    def publish(self, notice: Notice) -> None:
        """Write one, without waiting for it. Called from other threads too."""
        self._budget.start("notice to share", lambda: self._store.write(notice))

    def retract(self, slow: SlowCall) -> None:
        """Take a slow call back that was answered, without waiting for it."""
        self._budget.start("notice to take back", lambda: self._store.retract(slow))

    def refresh_in_background(self, *, oldest_s: float = HEARD_FRESH_S) -> None:
        """Read what is due; call right before waiting for a provider. Where there is much to read, less often."""
        self._heard.refresh_in_background(oldest_s=max(oldest_s, self._last_read_units))

    def refresh_before_probe(self, breakers: Breakers) -> None:
        """Hear what others know by now, unless that was just heard: one of them may be probing already."""
        self._heard.get_or_wait(oldest_s=PROBE_FRESH_S)
        self.apply_remote(breakers)

    def apply_remote(self, breakers: Breakers) -> None:
        """Let what was heard since the last time hold here too."""
        heard = self._heard.value
        if heard is not None and heard is not self._applied:
            self._applied, now = heard, self._clock()
            transitions = [notice for notice in heard if isinstance(notice, Transition)]
            slow = [notice for notice in heard if isinstance(notice, SlowCall) and now - notice.began_at <= TOLD_FOR]
            self._last_read_units = (TRANSITION_BYTES * len(transitions) + SLOW_CALL_BYTES * len(slow)) / UNIT_BYTES
            breakers.apply_remote(transitions, now)
            breakers.on_remote_slow_calls(slow, now)
