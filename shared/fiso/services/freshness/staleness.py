"""Staleness clock: how long ago something was, by two clocks, so that neither a step of the time of day nor a frozen
environment makes a value look younger than it is.

The time of day may be set back or forward. A monotonic clock never is, but may stand still while Lambda freezes the
environment. An age is therefore the longer of the two: a step back changes nothing, a step forward costs one early
refresh.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from fiso.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """One moment by both clocks."""

    at: datetime
    tick_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StalenessClock:
    """Takes instants and says their age. `ticks` gives seconds that never go back."""

    clock: Clock
    ticks: Callable[[], float] = monotonic

    def now(self) -> Instant:
        """This moment."""
        return Instant(at=self.clock(), tick_s=self.ticks())

    def since_s(self, instant: Instant) -> float:
        """Seconds since then, never negative."""
        return max(0.0, self.ticks() - instant.tick_s, (self.clock() - instant.at).total_seconds())
