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

from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.worlds.inputs import BadInput, one_line
from fiso_cli.worlds.world import Arm

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
    rounds = _Rounds()
    try:
        with ExitStack() as closing:
            raw = closing.enter_context(path.open("rb"))
            source = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP else raw
            lines = closing.enter_context(io.TextIOWrapper(source, encoding="utf-8-sig", newline=""))
            for number, row in enumerate(_rows(lines), start=1):
                rounds.add(row)
                if number % _REPORT_EVERY == 0:
                    on_bytes(raw.tell())
        return rounds.finish(path.name)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: row {rounds.rows + 1} cannot be read: {one_line(error)}") from error


def _rows(lines: io.TextIOWrapper) -> Iterator["_Row"]:
    reader = csv.reader(lines, strict=True)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise BadInput(f"row 0 (line 1, the header): columns missing: {', '.join(missing)}")
    if len(set(header)) != len(header):
        raise BadInput("row 0 (line 1, the header): a column stands there twice")
    filled = (cells for cells in reader if cells)
    for number, cells in enumerate(filled, start=1):
        where = f"row {number} (line {reader.line_num})"
        if len(cells) != len(header):
            raise BadInput(f"{where}: {len(cells)} fields, the header names {len(header)}")
        yield _Row(where, dict(zip(header, cells, strict=True)))


class _Row:
    """One row's texts, read with the type each must have."""

    def __init__(self, where: str, texts: Mapping[str, str]) -> None:
        self.where, self._texts = where, {name: texts[name].strip() for name in COLUMNS}
        self.round, self.t, self.function = self._whole("round"), self._number("t"), self._word("function")
        if self.t > LATEST_T:
            raise self._wrong("t", "seconds since the epoch")
        self.in_flight = self._number("in_flight")
        self.arm = Arm(provider=self._provider(), region=self._word("region"), memory_mb=self._whole("memory_mb"))
        self.measured = Measured(
            latency_ms=self._number("latency_ms"),
            cost_usd=self._number("cost_usd"),
            cold=self._flag("cold") if self._texts["cold"] else None,
            ok=self._flag("ok"),
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

    def _wrong(self, name: str, wanted: str) -> BadInput:
        return BadInput(f"{self.where}: {name} must be {wanted}, not {self._texts[name][:40]!r}")


class _Rounds:
    """Rounds as they grow, row by row."""

    def __init__(self) -> None:
        self.rows = 0
        self._ids: dict[Arm, EndpointId] = {}
        self._done: list[Round] = []
        self._first: _Row | None = None
        self._calls: dict[EndpointId, Measured] = {}

    def add(self, row: _Row) -> None:
        if self._first is None or row.round != self._first.round:
            self._begin(row)
        elif (row.function, row.in_flight) != (self._first.function, self._first.in_flight):
            raise BadInput(f"{row.where}: function or in_flight differ from the first row of round {row.round}")
        arm = self._ids.setdefault(row.arm, row.arm.id)
        if arm in self._calls:
            raise BadInput(f"{row.where}: arm {arm} stands twice in round {row.round}")
        self._calls[arm] = row.measured
        self.rows += 1

    def finish(self, name: str) -> Trace:
        self._close()
        arms = {id: arm for arm, id in self._ids.items()}
        if not self.rows:
            raise BadInput("row 1: there are no rows under the header")
        if len(arms) < 2:
            raise BadInput(f"rows 1 to {self.rows}: one arm only, {next(iter(arms))}; a choice needs two")
        return Trace(name=name, rounds=tuple(self._done), arms=arms)

    def _begin(self, row: _Row) -> None:
        before = self._first
        if before is not None and row.round < before.round:
            raise BadInput(f"{row.where}: rounds are unsorted, {row.round} comes after {before.round}")
        if before is not None and row.t < before.t:
            raise BadInput(f"{row.where}: rounds are unsorted, t goes back from {before.t:g} to {row.t:g}")
        self._close()
        self._first, self._calls = row, {}

    def _close(self) -> None:
        row = self._first
        if row is not None:
            self._done.append(
                Round(number=row.round, t=row.t, function=row.function, in_flight=row.in_flight, calls=self._calls)
            )
