"""Timing: ours and the rival's in turn, so that the machine's mood hits both."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeAlias

Timer: TypeAlias = Callable[[int], list[float]]
"""Seconds of each of so many calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The seconds of every call, ours and the rival's."""

    ours: list[float]
    rivals: list[float]

    def median_us(self) -> tuple[float, float]:
        """Both medians in microseconds."""
        return median(self.ours) * 1e6, median(self.rivals) * 1e6


def timed(call: Callable[[], object], times: int) -> list[float]:
    """Seconds of each of so many calls."""
    taken = []
    for _ in range(times):
        start = perf_counter()
        call()
        taken.append(perf_counter() - start)
    return taken


def timer(call: Callable[[], object]) -> Timer:
    """Times this call."""
    return lambda times: timed(call, times)


def in_turn(ours: Timer, rivals: Timer, *, turns: int, ours_each: int, rivals_each: int) -> Timed:
    """So many turns of each, one after the other, after a turn of each that does not count."""
    ours(ours_each)
    rivals(rivals_each)
    taken = Timed(ours=[], rivals=[])
    for _ in range(turns):
        taken.ours.extend(ours(ours_each))
        taken.rivals.extend(rivals(rivals_each))
    return taken
