"""Instances: what runs a function's calls on one arm: which are warm, which are busy, when more are started.

AWS and Google run one request per instance: a free warm one is used again, the one used last first, else a new one is
started. Azure runs several in one instance and adds at most one instance a second
(learn.microsoft.com/azure/azure-functions/event-driven-scaling). Calls must come in the order of their time.

A call's latency is settled when it begins, by what is in flight then: later arrivals do not slow it down. Of a burst
from nothing the first calls are therefore faster than the rule for the whole burst says, the last one is not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from fiso.domain.endpoint import Provider
from fiso_cli.worlds.clouds.cold_curves import ColdCurve
from fiso_cli.worlds.clouds.service import Draws, crowding

ADDED_EVERY_S = 1.0
MOST_SHARED = 200
"""Instances that Azure's consumption plan adds at most for one app."""


@dataclass(slots=True, kw_only=True, eq=False)
class Instance:
    """One instance. `ends` are the times at which the calls in it end; idle, it is kept for `kept_s`."""

    ready_at: float
    idle_since: float
    kept_s: float
    ends: list[float] = field(default_factory=list)

    def busy(self, now: float) -> int:
        """Calls in it now."""
        self.ends = [end for end in self.ends if end > now]
        return len(self.ends)

    def is_gone(self, now: float) -> bool:
        """Whether it has been given up by now."""
        return not self.busy(now) and now - self.idle_since >= self.kept_s

    def book(self, end: float, kept_s: float) -> None:
        """One more call. The last to end decides how long it is kept from then on."""
        self.ends.append(end)
        if end >= self.idle_since:
            self.idle_since, self.kept_s = end, kept_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a call goes: an instance, or None for one that must be started; what it waits, and how crowded it is."""

    instance: Instance | None
    wait_s: float = 0.0
    crowded: float = 1.0


class OnDemand:
    """The instances of one function on one arm, one request in each."""

    def __init__(self, curve: ColdCurve) -> None:
        self._curve = curve
        self._all: list[Instance] = []

    def look(self, now: float) -> Place:
        """Where a call would go: the free one that was used last. Nothing changes that a later call could notice."""
        self._give_up(now)
        free = [instance for instance in self._all if not instance.busy(now)]
        crowded = crowding(len(self._all) - len(free) + 1, 1)
        return Place(instance=max(free, key=lambda instance: instance.idle_since, default=None), crowded=crowded)

    def take(self, place: Place, now: float, draws: Draws, start_s: Callable[[float], float]) -> Instance:
        """The instance of the place, or a new one that starts for this call, which takes `start_s` of a normal draw.

        The caller books it.
        """
        return place.instance or self._add(ready_at=now + start_s(draws.start), idle_since=now)

    def _give_up(self, now: float) -> None:
        self._all = [instance for instance in self._all if not instance.is_gone(now)]

    def _add(self, *, ready_at: float, idle_since: float) -> Instance:
        self._all.append(Instance(ready_at=ready_at, idle_since=idle_since, kept_s=self._curve.last_s))
        return self._all[-1]


class Shared(OnDemand):
    """Several requests in each, at most one more instance each second."""

    _added_at = float("-inf")

    def look(self, now: float) -> Place:
        """The ready one with the fewest calls; while none is ready, the one that will be first."""
        self._give_up(now)
        if not self._all:
            return Place(instance=None)
        ready = [instance for instance in self._all if instance.ready_at <= now]
        crowded = crowding(self._in_flight(now) + 1, max(1, len(ready)))
        if ready:
            return Place(instance=min(ready, key=lambda instance: instance.busy(now)), crowded=crowded)
        first = min(self._all, key=lambda instance: instance.ready_at)
        return Place(instance=first, wait_s=first.ready_at - now, crowded=crowded)

    def take(self, place: Place, now: float, draws: Draws, start_s: Callable[[float], float]) -> Instance:
        """The instance of the place; one more is started where calls outnumber instances."""
        if place.instance is None:
            return self._start(now, start_s(draws.start))
        is_due = now - self._added_at >= ADDED_EVERY_S
        if self._in_flight(now) + 1 > len(self._all) and is_due and len(self._all) < MOST_SHARED:
            self._start(now, start_s(draws.instance_start))
        return place.instance

    def _in_flight(self, now: float) -> int:
        return sum(instance.busy(now) for instance in self._all)

    def _start(self, now: float, start_s: float) -> Instance:
        self._added_at = now
        return self._add(ready_at=now + start_s, idle_since=now + start_s)


def instances_of(provider: Provider, curve: ColdCurve) -> OnDemand:
    """The provider's way."""
    return Shared(curve) if provider is Provider.AZURE else OnDemand(curve)
