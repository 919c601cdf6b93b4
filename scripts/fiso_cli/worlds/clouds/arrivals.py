"""Arrivals: which function is called when: Poisson, or counts per minute of a measured trace.

Given its count, a Poisson process spreads the calls of a minute evenly and independently; so does this.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from math import isfinite
from pathlib import Path

from fiso_cli.errors import BadInput
from fiso_cli.worlds.inputs import csv_rows
from fiso_cli.worlds.virtual_time import Arrival

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How long a simulation is: so many requests, or so many minutes."""

    requests: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.requests is None) == (self.minutes is None):
            raise ValueError("an extent is a number of requests or of minutes")

    def cut(self, calls: Iterator[tuple[float, str]]) -> list[Arrival]:
        """The calls, in order of time, that lie within."""
        end_s = float("inf") if self.minutes is None else self.minutes * MINUTE_S
        kept = takewhile(lambda call: call[0] < end_s, islice(calls, self.requests))
        return [Arrival(number=number, at_s=at_s, function=function) for number, (at_s, function) in enumerate(kept)]


def poisson(functions: Sequence[str], rate: float, extent: Extent, *, seed: int) -> list[Arrival]:
    """`rate` calls a second over all functions, their shares by Zipf's law (1 / rank) in the order given."""
    draws = random.Random(f"arrivals/{seed}")  # nosec B311 # a simulation
    total = sum(1 / rank for rank in range(1, len(functions) + 1))
    weights = [1 / rank / total for rank in range(1, len(functions) + 1)]

    def calls() -> Iterator[tuple[float, str]]:
        at_s = 0.0
        while True:
            at_s += draws.expovariate(rate)
            yield at_s, draws.choices(functions, weights)[0]

    return extent.cut(calls())


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Calls per minute by row of a trace, most called first."""

    name: str
    rows: tuple[tuple[float, ...], ...]

    def of(self, functions: Sequence[str], *, rate: float | None) -> Mapping[str, tuple[float, ...]]:
        """Rows spread evenly over the ranks, one per function; scaled to a mean rate a second where one is wanted."""
        if len(self.rows) < len(functions):
            raise BadInput(f"{self.name}: {len(self.rows)} rows with calls, {len(functions)} functions asked for")
        step = len(self.rows) / len(functions)
        chosen = {name: self.rows[int(index * step)] for index, name in enumerate(functions)}
        if rate is None:
            return chosen
        minutes = max(len(row) for row in chosen.values())
        scale = rate * MINUTE_S * minutes / sum(sum(row) for row in chosen.values())
        return {name: tuple(count * scale for count in row) for name, row in chosen.items()}


def counted(counts: Mapping[str, Sequence[float]], extent: Extent, *, seed: int) -> list[Arrival]:
    """Calls at random within each minute; a count that is no whole number is rounded up or down by lot."""
    draws = random.Random(f"arrivals/{seed}")  # nosec B311 # a simulation

    def calls() -> Iterator[tuple[float, str]]:
        for minute in range(max(len(row) for row in counts.values())):
            found: list[tuple[float, str]] = []
            for name, row in counts.items():
                count = row[minute] if minute < len(row) else 0.0
                whole = int(count) + (draws.random() < count % 1)
                found.extend((MINUTE_S * (minute + draws.random()), name) for _ in range(whole))
            yield from sorted(found)

    return extent.cut(calls())


def read(path: Path) -> Counts:
    """A file of counts: a row per function with columns named by minute (Azure's 2019 trace), or a single column."""
    header, *cells = csv_rows(path) or [[]]
    places = [0] if len(header) == 1 else [place for place, name in enumerate(header) if name.strip().isdigit()]
    if not places:
        raise BadInput(f"{path}: no column is named by a minute")
    rows = [_row(row, places, f"{path}: line {number}") for number, row in enumerate(cells, start=2)]
    if len(header) == 1:
        rows = [tuple(count for row in rows for count in row)]
    called = sorted((row for row in rows if sum(row)), key=sum, reverse=True)
    if not called:
        raise BadInput(f"{path}: no calls are counted in it")
    return Counts(name=str(path), rows=tuple(called))


def _row(cells: Sequence[str], places: Sequence[int], where: str) -> tuple[float, ...]:
    if len(cells) <= places[-1]:
        raise BadInput(f"{where}: {len(cells)} fields, the header names more")
    return tuple(_count(cells[place], where) for place in places)


def _count(text: str, where: str) -> float:
    try:
        value = float(text or 0)
    except ValueError as error:
        raise BadInput(f"{where}: a count must be a number, not {text[:40]!r}") from error
    if not (isfinite(value) and value >= 0):
        raise BadInput(f"{where}: a count must be finite and at least 0, not {text[:40]!r}")
    return value
