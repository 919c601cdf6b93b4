"""Environments: the orchestrator's execution environments. Lambda runs one request in each at a time.

Each has breakers, contexts and readings of its own, and knows of the others' what the stream has folded and which
breakers they shared; stores answer in no time. A free one is used again, the one used last first; one that is idle for
as long as AWS keeps instances is given up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.state import EndpointState
from fiso.ports import Clock, EndpointStates, FunctionCaller
from fiso.services.freshness.cached import FRESH_S, STALE_S
from fiso.services.freshness.knowledge import HURRY_S
from fiso.services.request.decide import DecisionContexts
from fiso.services.request.decision_cache import Contexts
from fiso.services.resilience.breaker_sync import Sharing, holding
from fiso.services.resilience.breakers import Breakers
from fiso.services.resilience.calls import Calls
from fiso.services.resilience.dispatch import Dispatcher
from fiso.services.resilience.slow_calls import Overdue, Remind
from fiso.testing.memory import InMemorySharedBreakers
from fiso_cli.inline_executor import Inline
from fiso_client.core.breaker import Breaker

States = Mapping[EndpointId, EndpointState]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    states: States
    at: datetime


@dataclass(slots=True, kw_only=True)
class Environment:
    """One environment. States are read again as `services.known` does it."""

    dispatcher: Dispatcher
    sharing: Sharing
    store: EndpointStates
    contexts: DecisionContexts = field(default_factory=Contexts)
    used_at: datetime
    _readings: dict[FunctionName, _Reading] = field(default_factory=dict)

    def states_to_decide(self, function: FunctionName, now: datetime) -> States:
        """What was read last; read again first when that is older than 60 s."""
        return self._read(function, now, STALE_S).states

    def breakers_of(self, entry: CatalogEntry, states: States, now: datetime) -> Mapping[EndpointId, Breaker]:
        """The breakers that hold, with what others told and all saw together."""
        return holding(self.dispatcher.breakers, self.sharing, entry, states, now)

    def refresh_while_waiting(self, function: FunctionName, now: datetime) -> None:
        """Read again, for the next request, what is older than 5 s."""
        self._read(function, now, FRESH_S)
        self.sharing.refresh_while_waiting()

    def hurry(self, function: FunctionName, now: datetime) -> None:
        """A call is slow or failed: read what others know by now."""
        self._read(function, now, HURRY_S)
        self.sharing.refresh_while_waiting(oldest_s=HURRY_S)

    def _read(self, function: FunctionName, now: datetime, oldest_s: float) -> _Reading:
        reading = self._readings.get(function)
        if reading is None or (now - reading.at).total_seconds() > oldest_s:
            reading = _Reading(states=self.store.of_function(function), at=now)
            self._readings[function] = reading
        return reading


class Environments:
    """All environments of one run."""

    def __init__(
        self,
        caller: FunctionCaller,
        store: EndpointStates,
        *,
        clock: Clock,
        stopwatch: Callable[[], float],
        beside: Calls,
        remind: Remind,
        kept_s: float,
        draw: Callable[[], float],
    ) -> None:
        self._caller, self._store, self._clock, self._stopwatch = caller, store, clock, stopwatch
        self._beside, self._remind, self._kept_s, self._draw = beside, remind, kept_s, draw
        self._shared = InMemorySharedBreakers()
        self._free: list[Environment] = []
        self.started = 0

    def take(self) -> Environment:
        """A free one, or a new one. To be given back when its request has ended."""
        now = self._clock()
        self._free = [free for free in self._free if (now - free.used_at).total_seconds() < self._kept_s]
        if self._free:
            return self._free.pop()
        self.started += 1
        return self._made(now)

    def _made(self, now: datetime) -> Environment:
        sharing = Sharing(self._shared, clock=self._clock, ticks=self._stopwatch, executor=Inline())
        overdue = Overdue(
            teller=str(self.started),
            tell=sharing.tell,
            withdraw=sharing.withdraw,
            clock=self._clock,
            stopwatch=self._stopwatch,
            remind=self._remind,
        )
        dispatcher = Dispatcher(
            caller=self._caller,
            clock=self._clock,
            stopwatch=self._stopwatch,
            breakers=Breakers(draw=self._draw, tell=sharing.tell),
            beside=self._beside,
            watched=overdue.watched,
            on_trouble=lambda function: made.hurry(function, self._clock()),
        )
        made = Environment(dispatcher=dispatcher, sharing=sharing, store=self._store, used_at=now)
        sharing.prefetch()
        return made

    def give_back(self, environment: Environment) -> None:
        """Its request has ended."""
        environment.used_at = self._clock()
        self._free.append(environment)
