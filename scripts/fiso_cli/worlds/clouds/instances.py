"""Instances: what runs a function's calls on one arm: which are warm, which are busy, when more are started.

AWS and Google run one request per instance: a free warm one is used again, the one used last first, else a new one is
started. Azure runs several in one instance and adds at most one instance a second
(learn.microsoft.com/azure/azure-functions/event-driven-scaling). Calls must come in the order of their time.

A call's latency is settled when it begins, by what is in flight then: later arrivals do not slow it down. Of a burst
from nothing the first calls are therefore faster than the rule for the whole burst says, the last one is not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fiso.domain.endpoint import Provider
from fiso_cli.worlds.clouds.cold_curves import IdleCurve
from fiso_cli.worlds.clouds.common_random_numbers import Luck
from fiso_cli.worlds.clouds.service import crowding

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


class Instances(Protocol):
    """The instances of one function on one arm."""

    def look(self, now: float) -> Place:
        """Where a call would go. Nothing changes that a later call could notice."""
        ...

    def take(self, place: Place, now: float, luck: Luck, start_s: Callable[[float], float]) -> Instance:
        """Go there; `start_s` tells the duration of a start from a normal draw. The caller books the instance."""
        ...


class OnDemand:
    """One request per instance."""

    def __init__(self, curve: IdleCurve) -> None:
        self._curve = curve
        self._all: list[Instance] = []

    def look(self, now: float) -> Place:
        """The free one that was used last."""
        self._all = [instance for instance in self._all if not instance.is_gone(now)]
        free = [instance for instance in self._all if not instance.busy(now)]
        crowded = crowding(len(self._all) - len(free) + 1, 1)
        return Place(instance=max(free, key=lambda instance: instance.idle_since, default=None), crowded=crowded)

    def take(self, place: Place, now: float, luck: Luck, start_s: Callable[[float], float]) -> Instance:
        """The instance of the place, or a new one that starts for this call."""
        if place.instance is not None:
            return place.instance
        started = Instance(ready_at=now + start_s(luck.start), idle_since=now, kept_s=self._curve.last_s)
        self._all.append(started)
        return started


class Shared:
    """Several requests per instance, at most one more instance each second."""

    def __init__(self, curve: IdleCurve) -> None:
        self._curve = curve
        self._all: list[Instance] = []
        self._added_at = float("-inf")

    def look(self, now: float) -> Place:
        """The ready one with the fewest calls; while none is ready, the one that will be first."""
        self._all = [instance for instance in self._all if not instance.is_gone(now)]
        if not self._all:
            return Place(instance=None)
        ready = [instance for instance in self._all if instance.ready_at <= now]
        in_flight = sum(instance.busy(now) for instance in self._all) + 1
        crowded = crowding(in_flight, max(1, len(ready)))
        if ready:
            return Place(instance=min(ready, key=lambda instance: instance.busy(now)), crowded=crowded)
        first = min(self._all, key=lambda instance: instance.ready_at)
        return Place(instance=first, wait_s=first.ready_at - now, crowded=crowded)

    def take(self, place: Place, now: float, luck: Luck, start_s: Callable[[float], float]) -> Instance:
        """The instance of the place; one more is started where calls outnumber instances."""
        if place.instance is None:
            return self._add(now, start_s(luck.start))
        in_flight = sum(instance.busy(now) for instance in self._all) + 1
        is_due = now - self._added_at >= ADDED_EVERY_S
        if in_flight > len(self._all) and is_due and len(self._all) < MOST_SHARED:
            self._add(now, start_s(luck.instance_start))
        return place.instance

    def _add(self, now: float, start_s: float) -> Instance:
        added = Instance(ready_at=now + start_s, idle_since=now + start_s, kept_s=self._curve.last_s)
        self._all.append(added)
        self._added_at = now
        return added


def instances_of(provider: Provider, curve: IdleCurve) -> Instances:
    """The provider's way."""
    return Shared(curve) if provider is Provider.AZURE else OnDemand(curve)
