"""Stopwatch: how old something held is, over times in which the process stood still as well.

A monotonic clock may stand still while Lambda freezes an environment or a laptop sleeps; the time of day may be set.
What counts here is the monotonic clock, and what the time of day gains on it by a jump: a freeze. A time of day that is
set forward costs one early renewal, one that is set back nothing.
"""

from collections.abc import Callable
from threading import Lock
from time import monotonic, time

JUMP_S = 0.5
"""Less than this is noise between two clocks, or one that is being adjusted; several short freezes add up to it."""


class Stopwatch:
    """Seconds since some moment, as floats that never go back, to age leases, connections and credentials by."""

    def __init__(self, *, ticks: Callable[[], float] = monotonic, wall: Callable[[], float] = time) -> None:
        self._ticks, self._wall = ticks, wall
        self._lock = Lock()
        self._frozen_s, self._ahead_s = 0.0, wall() - ticks()

    def __call__(self) -> float:
        """Now."""
        tick_s = self._ticks()
        if -JUMP_S <= self._wall() - tick_s - self._ahead_s <= JUMP_S:
            return tick_s + self._frozen_s
        with self._lock:
            tick_s = self._ticks()
            gained_s = self._wall() - tick_s - self._ahead_s
            if abs(gained_s) > JUMP_S:
                self._frozen_s += max(0.0, gained_s)
                self._ahead_s += gained_s
            return tick_s + self._frozen_s
