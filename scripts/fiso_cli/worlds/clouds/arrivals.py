"""Arrivals: which function is called when: Poisson, or counts per minute of a measured trace.

Given its count, a Poisson process spreads the calls of a minute evenly and independently; so does this.
"""

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fiso_cli.worlds.clouds.popularity import shares

MINUTE_S = 60.0


class InvalidCounts(Exception):
    """A file of counts that cannot be used. The message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request, the same for every contender."""

    number: int
    at_s: float
    function: str


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
        kept = islice(calls, self.requests)
        end_s = float("inf") if self.minutes is None else self.minutes * MINUTE_S
        found = []
        for number, (at_s, function) in enumerate(kept):
            if at_s >= end_s:
                break
            found.append(Arrival(number=number, at_s=at_s, function=function))
        return found


def poisson(functions: Sequence[str], rate: float, extent: Extent, *, seed: int) -> list[Arrival]:
    """`rate` calls a second over all functions, their shares by Zipf's law in the order given."""
    return extent.cut(_poisson(functions, rate, random.Random(f"arrivals/{seed}")))  # nosec B311 # a simulation


def _poisson(functions: Sequence[str], rate: float, draws: random.Random) -> Iterator[tuple[float, str]]:
    weights, at_s = shares(len(functions)), 0.0
    while True:
        at_s += draws.expovariate(rate)
        yield at_s, draws.choices(functions, weights)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Calls per minute by row of a trace, most called first."""

    name: str
    rows: tuple[tuple[float, ...], ...]

    def of(self, functions: Sequence[str], *, rate: float | None) -> Mapping[str, tuple[float, ...]]:
        """Rows spread evenly over the ranks, one per function; scaled to a mean rate a second where one is wanted."""
        if len(self.rows) < len(functions):
            raise InvalidCounts(f"{len(self.rows)} rows with calls, {len(functions)} functions asked for")
        step = len(self.rows) / len(functions)
        chosen = {name: self.rows[int(index * step)] for index, name in enumerate(functions)}
        if rate is None:
            return chosen
        minutes = max(len(row) for row in chosen.values())
        scale = rate * MINUTE_S * minutes / sum(sum(row) for row in chosen.values())
        return {name: tuple(count * scale for count in row) for name, row in chosen.items()}


def counted(counts: Mapping[str, Sequence[float]], extent: Extent, *, seed: int) -> list[Arrival]:
    """Calls at random within each minute; a count that is no whole number is rounded up or down by lot."""
    return extent.cut(_counted(counts, random.Random(f"arrivals/{seed}")))  # nosec B311 # a simulation


def _counted(counts: Mapping[str, Sequence[float]], draws: random.Random) -> Iterator[tuple[float, str]]:
    for minute in range(max(len(row) for row in counts.values())):
        calls: list[tuple[float, str]] = []
        for name, row in counts.items():
            count = row[minute] if minute < len(row) else 0.0
            whole = int(count) + (draws.random() < count % 1)
            calls.extend((MINUTE_S * (minute + draws.random()), name) for _ in range(whole))
        yield from sorted(calls)


def read(path: Path) -> Counts:
    """A file of counts: a row per function with columns named by minute (Azure's 2019 trace), or a single column.

    `InvalidCounts`, `OSError`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
            cells = [row for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidCounts(" ".join(str(error).split())) from error
    if len(header) == 1:
        rows = [tuple(_count(row[0], number) for number, row in enumerate(cells, start=2))]
    else:
        places = [place for place, name in enumerate(header) if name.strip().isdigit()]
        if not places:
            raise InvalidCounts("no column is named by a minute")
        rows = [_row(row, places, number) for number, row in enumerate(cells, start=2)]
    called = sorted((row for row in rows if sum(row)), key=sum, reverse=True)
    if not called:
        raise InvalidCounts("no calls are counted in it")
    return Counts(name=path.name, rows=tuple(called))


def _row(cells: Sequence[str], places: Sequence[int], line: int) -> tuple[float, ...]:
    if len(cells) <= places[-1]:
        raise InvalidCounts(f"line {line}: {len(cells)} fields, the header names more")
    return tuple(_count(cells[place], line) for place in places)


def _count(text: str, line: int) -> float:
    try:
        value = float(text or 0)
    except ValueError as error:
        raise InvalidCounts(f"line {line}: a count must be a number, not {text[:40]!r}") from error
    if not 0 <= value < float("inf"):
        raise InvalidCounts(f"line {line}: a count must be finite and at least 0, not {text[:40]!r}")
    return value
