"""Traces: paired measurements, one row per round and arm, read and checked row by row. Standard library only.

An arm is provider + region + memory. In every round the outcomes of all arms present are known; an arm that is missing
in a round cannot be called there.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import BinaryIO

from fiso.domain.endpoint import EndpointId, Provider

COLUMNS = (
    "round",
    "t",
    "function",
    "in_flight",
    "provider",
    "region",
    "memory_mb",
    "cold",
    "latency_ms",
    "cost_usd",
    "ok",
)
LATEST_T = 1e11
"""Seconds since the epoch, the year 5138: milliseconds given for seconds lie beyond."""
_GZIP = b"\x1f\x8b"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_REPORT_EVERY = 2_000


class InvalidTrace(Exception):
    """A file that cannot be replayed. The message is one line and names the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One copy that could be called. `memory_mb` 0: the cloud has no such setting."""

    provider: Provider
    region: str
    memory_mb: int

    @property
    def id(self) -> EndpointId:
        """The arm's name, `provider/region/memory`."""
        return EndpointId(f"{self.provider}/{self.region}/{self.memory_mb or 'dynamic'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
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
    calls: Mapping[EndpointId, Call]


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
    """The trace in a plain or gzip file. `on_bytes` hears how far reading is. `InvalidTrace` otherwise."""
    rounds = _Rounds()
    try:
        with ExitStack() as closing:
            raw = closing.enter_context(path.open("rb"))
            lines = closing.enter_context(_text_of(raw))
            for number, row in enumerate(_rows(lines), start=1):
                rounds.add(row)
                if number % _REPORT_EVERY == 0:
                    on_bytes(raw.tell())
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InvalidTrace(f"row {rounds.rows + 1} cannot be read: {' '.join(str(error).split())}") from error
    return rounds.finish(path.name)


def _text_of(raw: BinaryIO) -> io.TextIOWrapper:
    is_gzip = raw.peek(2)[:2] == _GZIP if isinstance(raw, io.BufferedReader) else False
    source = gzip.GzipFile(fileobj=raw) if is_gzip else raw
    return io.TextIOWrapper(source, encoding="utf-8-sig", newline="")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    where: str
    round: int
    t: float
    function: str
    in_flight: float
    arm: Arm
    call: Call


def _rows(lines: io.TextIOWrapper) -> Iterator[_Row]:
    reader = csv.reader(lines, strict=True)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InvalidTrace(f"row 0 (line 1, the header): columns missing: {', '.join(missing)}")
    if len(set(header)) != len(header):
        raise InvalidTrace("row 0 (line 1, the header): a column stands there twice")
    places = {name: header.index(name) for name in COLUMNS}
    filled = (cells for cells in reader if cells)
    for number, cells in enumerate(filled, start=1):
        where = f"row {number} (line {reader.line_num})"
        if len(cells) != len(header):
            raise InvalidTrace(f"{where}: {len(cells)} fields, the header names {len(header)}")
        yield _Fields(where, {name: cells[place].strip() for name, place in places.items()}).row()


class _Fields:
    """One row's texts, read with the type each must have."""

    __slots__ = ("_texts", "_where")

    def __init__(self, where: str, texts: Mapping[str, str]) -> None:
        self._where, self._texts = where, texts

    def row(self) -> _Row:
        t = self._number("t")
        if t > LATEST_T:
            raise self._wrong("t", "seconds since the epoch")
        return _Row(
            where=self._where,
            round=self._whole("round"),
            t=t,
            function=self._word("function"),
            in_flight=self._number("in_flight"),
            arm=Arm(provider=self._provider(), region=self._word("region"), memory_mb=self._whole("memory_mb")),
            call=Call(
                latency_ms=self._number("latency_ms"),
                cost_usd=self._number("cost_usd"),
                cold=self._flag("cold") if self._texts["cold"] else None,
                ok=self._flag("ok"),
            ),
        )

    def _number(self, name: str) -> float:
        try:
            value = float(self._texts[name])
        except ValueError as error:
            raise self._wrong(name, "a number") from error
        if not (isfinite(value) and value >= 0):
            raise self._wrong(name, "a finite number of at least 0")
        return value

    def _whole(self, name: str) -> int:
        value = self._number(name)
        if value != int(value):
            raise self._wrong(name, "a whole number")
        return int(value)

    def _word(self, name: str) -> str:
        value = self._texts[name]
        if not value or not value.isprintable():
            raise self._wrong(name, "a name")
        return value

    def _flag(self, name: str) -> bool:
        value = _FLAGS.get(self._texts[name].lower())
        if value is None:
            raise self._wrong(name, "True or False")
        return value

    def _provider(self) -> Provider:
        try:
            return Provider(self._texts["provider"])
        except ValueError as error:
            raise self._wrong("provider", "one of " + ", ".join(Provider)) from error

    def _wrong(self, name: str, wanted: str) -> InvalidTrace:
        return InvalidTrace(f"{self._where}: {name} must be {wanted}, not {self._texts[name][:40]!r}")


class _Rounds:
    """Rounds as they grow, row by row."""

    def __init__(self) -> None:
        self.rows = 0
        self._arms: dict[EndpointId, Arm] = {}
        self._ids: dict[Arm, EndpointId] = {}
        self._done: list[Round] = []
        self._first: _Row | None = None
        self._calls: dict[EndpointId, Call] = {}

    def add(self, row: _Row) -> None:
        if self._first is None or row.round != self._first.round:
            self._begin(row)
        elif (row.function, row.in_flight) != (self._first.function, self._first.in_flight):
            raise InvalidTrace(f"{row.where}: function or in_flight differ from the first row of round {row.round}")
        arm = self._ids.setdefault(row.arm, row.arm.id)
        if arm in self._calls:
            raise InvalidTrace(f"{row.where}: arm {arm} stands twice in round {row.round}")
        self._arms.setdefault(arm, row.arm)
        self._calls[arm] = row.call
        self.rows += 1

    def finish(self, name: str) -> Trace:
        self._close()
        if not self.rows:
            raise InvalidTrace("row 1: there are no rows under the header")
        if len(self._arms) < 2:
            only = next(iter(self._arms))
            raise InvalidTrace(f"rows 1 to {self.rows}: one arm only, {only}; a choice needs two")
        return Trace(name=name, rounds=tuple(self._done), arms=self._arms)

    def _begin(self, row: _Row) -> None:
        before = self._first
        if before is not None and row.round < before.round:
            raise InvalidTrace(f"{row.where}: rounds are unsorted, {row.round} comes after {before.round}")
        if before is not None and row.t < before.t:
            raise InvalidTrace(f"{row.where}: rounds are unsorted, t goes back from {before.t:g} to {row.t:g}")
        self._close()
        self._first, self._calls = row, {}

    def _close(self) -> None:
        if self._first is not None:
            first = self._first
            self._done.append(
                Round(
                    number=first.round, t=first.t, function=first.function, in_flight=first.in_flight, calls=self._calls
                )
            )
