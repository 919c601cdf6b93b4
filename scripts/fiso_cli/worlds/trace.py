"""Traces: paired measurements, one row per round and arm, read and checked row by row. Standard library only.

An arm is provider + region + memory. In every round the outcomes of all arms present are known; an arm that is missing
in a round cannot be called there.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.errors import BadInput
from fiso_cli.rendering import one_line
from fiso_cli.worlds.world import Arm

LATEST_T = 1e11
"""Seconds since the epoch, the year 5138: milliseconds given for seconds lie beyond."""
_GZIP = b"\x1f\x8b"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_REPORT_EVERY = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an arm did, or would have done, in a round. `cold` is None where the file does not say."""

    latency_ms: float
    cost_usd: float
    cold: bool | None
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One request with the outcome of every arm present. `t` is in seconds; `in_flight` is the load around it."""

    number: int
    t: float
    function: str
    in_flight: float
    calls: Mapping[EndpointId, Measured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A whole file, oldest round first; `arms` in order of appearance."""

    name: str
    rounds: tuple[Round, ...]
    arms: Mapping[EndpointId, Arm]

    @property
    def always_present(self) -> tuple[EndpointId, ...]:
        """The arms that can be called in every round."""
        return tuple(arm for arm in self.arms if all(arm in played.calls for played in self.rounds))


def read(path: Path, *, on_bytes: Callable[[int], None] = lambda _: None) -> Trace:
    """The trace in a plain or gzip file. `on_bytes` hears how far reading is. `BadInput` in one line with the row."""
    rows, arms = 0, dict[EndpointId, Arm]()

    def counted(found: Iterable[_Row], raw: BinaryIO) -> Iterator[_Row]:
        nonlocal rows
        for row in found:
            yield row
            arms.setdefault(row.arm.id, row.arm)
            rows += 1
            if rows % _REPORT_EVERY == 0:
                on_bytes(raw.tell())

    try:
        with ExitStack() as closing:
            raw = closing.enter_context(path.open("rb"))
            source = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP else raw
            lines = closing.enter_context(io.TextIOWrapper(source, encoding="utf-8-sig", newline=""))
            rounds = tuple(_rounds(counted(_rows(lines), raw)))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: row {rows + 1} cannot be read: {one_line(error)}") from error
    if not rows:
        raise BadInput(f"{path}: row 1: there are no rows under the header")
    if len(arms) < 2:
        raise BadInput(f"{path}: rows 1 to {rows}: one arm only, {next(iter(arms))}; a choice needs two")
    return Trace(name=path.name, rounds=rounds, arms=arms)


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    round: int
    t: float
    function: str
    in_flight: float
    arm: Arm
    measured: Measured


def _rows(lines: io.TextIOWrapper) -> Iterator[_Row]:
    reader = csv.reader(lines, strict=True)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise BadInput(f"row 0 (line 1, the header): columns missing: {', '.join(missing)}")
    if len(set(header)) != len(header):
        raise BadInput("row 0 (line 1, the header): a column stands there twice")
    filled = (cells for cells in reader if cells)
    for number, cells in enumerate(filled, start=1):
        where = f"row {number} (line {reader.line_num})"
        if len(cells) != len(header):
            raise BadInput(f"{where}: {len(cells)} fields, the header names {len(header)}")
        yield _row(where, dict(zip(header, cells, strict=True)))


def _row(where: str, cells: Mapping[str, str]) -> _Row:
    found: dict[str, Any] = {}
    for name, (value_of, wanted) in _COLUMNS.items():
        text = cells[name].strip()
        try:
            found[name] = value_of(text)
        except ValueError as error:
            raise BadInput(f"{where}: {name} must be {wanted}, not {text[:40]!r}") from error
    arm = Arm(provider=found["provider"], region=found["region"], memory_mb=found["memory_mb"])
    measured = Measured(latency_ms=found["latency_ms"], cost_usd=found["cost_usd"], cold=found["cold"], ok=found["ok"])
    return _Row(where, found["round"], found["t"], found["function"], found["in_flight"], arm, measured)


def _number(text: str) -> float:
    value = float(text)
    if not (isfinite(value) and value >= 0):
        raise ValueError
    return value


def _whole(text: str) -> int:
    value = _number(text)
    if value != int(value):
        raise ValueError
    return int(value)


def _seconds(text: str) -> float:
    value = _number(text)
    if value > LATEST_T:
        raise ValueError
    return value


def _word(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError
    return text


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError
    return _FLAGS[text.lower()]


_NUMBER = (_number, "a number of at least 0")
_COLUMNS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "round": (_whole, "a whole number"),
    "t": (_seconds, "seconds since the epoch"),
    "function": (_word, "a name"),
    "in_flight": _NUMBER,
    "provider": (Provider, "one of " + ", ".join(Provider)),
    "region": (_word, "a name"),
    "memory_mb": (_whole, "a whole number"),
    "cold": (lambda text: _flag(text) if text else None, "True, False or nothing"),
    "latency_ms": _NUMBER,
    "cost_usd": _NUMBER,
    "ok": (_flag, "True or False"),
}


def _rounds(rows: Iterable[_Row]) -> Iterator[Round]:
    """Rows of one round stand together, rounds in the order of their numbers and times."""
    before: _Row | None = None
    for number, group in groupby(rows, key=lambda row: row.round):
        calls: dict[EndpointId, Measured] = {}
        first: _Row | None = None
        for row in group:
            first = first or _after(before, row)
            if (row.function, row.in_flight) != (first.function, first.in_flight):
                raise BadInput(f"{row.where}: function or in_flight differ from the first row of round {number}")
            if row.arm.id in calls:
                raise BadInput(f"{row.where}: arm {row.arm.id} stands twice in round {number}")
            calls[row.arm.id] = row.measured
        if first is not None:
            yield Round(number=number, t=first.t, function=first.function, in_flight=first.in_flight, calls=calls)
        before = first


def _after(before: _Row | None, row: _Row) -> _Row:
    if before is not None and row.round < before.round:
        raise BadInput(f"{row.where}: rounds are unsorted, {row.round} comes after {before.round}")
    if before is not None and row.t < before.t:
        raise BadInput(f"{row.where}: rounds are unsorted, t goes back from {before.t:g} to {row.t:g}")
    return row
