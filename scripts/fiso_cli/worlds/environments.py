"""Environments: the orchestrator's execution environments. Lambda runs one request in each at a time.

Each has breakers, a decision cache and readings of its own, and knows of the others what the stream has folded and
which breakers they shared; stores answer in no time. A free one is used again, the one used last first; one that is
idle too long is given up. Where calls cannot overlap (a trace) there is one, and it reads states for every request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.state import EndpointState
from fiso.ports import Clock, EndpointStates, FunctionCaller
from fiso.services.freshness.cached import FRESH_S, STALE_S, StoreWaitBudget
from fiso.services.freshness.decision_sources import TROUBLE_FRESH_S
from fiso.services.request.decide import RankingCache
from fiso.services.request.decision_cache import DecisionCache
from fiso.services.resilience.breakers import Breakers, BreakerSync, effective_breakers
from fiso.services.resilience.dispatch import Dispatcher
from fiso.services.resilience.slow_calls import SlowCallMonitor
from fiso.testing.memory import InMemorySharedBreakers
from fiso_cli.inline_executor import Inline
from fiso_cli.worlds.virtual_time import ConcurrentCalls, Timeline, VirtualTime
from fiso_client.core.breaker import Breaker

States = Mapping[EndpointId, EndpointState]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    states: States
    at: datetime


@dataclass(slots=True, kw_only=True)
class Environment:
    """One environment. States are read again as a `CachedValue` is; without `breaker_sync` for every request."""

    dispatcher: Dispatcher
    store: EndpointStates
    breaker_sync: BreakerSync | None = None
    cache: RankingCache = field(default_factory=DecisionCache)
    used_at: datetime
    _readings: dict[FunctionName, _Reading] = field(default_factory=dict)

    def states_to_decide(self, function: FunctionName, now: datetime) -> States:
        """What was read last; read again first when that is older than 60 s."""
        return self._read(function, now, STALE_S) if self.breaker_sync else self.store.of_function(function)

    def breakers_of(self, entry: CatalogEntry, states: States, now: datetime) -> Mapping[EndpointId, Breaker]:
        """The breakers that hold, with what others told and all saw together."""
        if self.breaker_sync is None:
            return self.dispatcher.breakers.of(entry)
        return effective_breakers(
            self.dispatcher.breakers, self.dispatcher.attribution, self.breaker_sync, entry, states, now
        )

    def refresh_in_background(self, function: FunctionName, now: datetime) -> None:
        """Read again, for the next request, what is older than 5 s."""
        if self.breaker_sync is not None:
            self._read(function, now, FRESH_S)
            self.breaker_sync.refresh_in_background()

    def force_refresh(self, function: FunctionName, now: datetime) -> None:
        """A call is slow or failed: read what others know by now."""
        if self.breaker_sync is not None:
            self._read(function, now, TROUBLE_FRESH_S)
            self.breaker_sync.refresh_in_background(oldest_s=TROUBLE_FRESH_S)

    def _read(self, function: FunctionName, now: datetime, oldest_s: float) -> States:
        reading = self._readings.get(function)
        if reading is None or (now - reading.at).total_seconds() > oldest_s:
            reading = _Reading(states=self.store.of_function(function), at=now)
            self._readings[function] = reading
        return reading.states


class Environments:
    """All environments of one run. `draw` gives uniform numbers in [0, 1)."""

    def __init__(
        self,
        caller: FunctionCaller,
        store: EndpointStates,
        *,
        time: VirtualTime,
        clock: Clock,
        kept_s: float,
        draw: Callable[[], float],
    ) -> None:
        self._caller, self._store, self._time, self._clock = caller, store, time, clock
        self._kept_s, self._draw = kept_s, draw
        self._shared = InMemorySharedBreakers()
        self._free: list[Environment] = []
        self.all: list[Environment] = []

    def take(self) -> Environment:
        """A free one, or a new one. To be given back when its request has ended."""
        now = self._clock()
        self._free = [free for free in self._free if (now - free.used_at).total_seconds() < self._kept_s]
        if self._free:
            return self._free.pop()
        time = self._time
        self.all.append(self._one_of_many(time, now) if isinstance(time, Timeline) else self._alone(now))
        return self.all[-1]

    def give_back(self, environment: Environment) -> None:
        """Its request has ended."""
        environment.used_at = self._clock()
        self._free.append(environment)

    def _alone(self, now: datetime) -> Environment:
        dispatcher = Dispatcher(
            caller=self._caller,
            clock=self._clock,
            stopwatch=self._time.stopwatch,
            breakers=Breakers(draw=self._draw),
        )
        return Environment(dispatcher=dispatcher, store=self._store, used_at=now)

    def _one_of_many(self, timeline: Timeline, now: datetime) -> Environment:
        budget = StoreWaitBudget(Inline(), stopwatch=timeline.stopwatch)
        breaker_sync = BreakerSync(self._shared, clock=self._clock, budget=budget)
        monitor = SlowCallMonitor(
            teller=partial(str, len(self.all) + 1),
            publish=breaker_sync.publish,
            retract=breaker_sync.retract,
            clock=self._clock,
            stopwatch=timeline.stopwatch,
            remind=timeline.after,
        )
        dispatcher = Dispatcher(
            caller=self._caller,
            clock=self._clock,
            stopwatch=timeline.stopwatch,
            breakers=Breakers(draw=self._draw, publish=breaker_sync.publish),
            concurrent=ConcurrentCalls(timeline),
            watched=monitor.watched,
            on_trouble=lambda function: made.force_refresh(function, self._clock()),
        )
        made = Environment(dispatcher=dispatcher, breaker_sync=breaker_sync, store=self._store, used_at=now)
        breaker_sync.prefetch()
        return made
