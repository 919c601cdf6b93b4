"""Retraining over a month of archive at several rates: how long, how much memory, how many rows."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fiso_cli.local_stage import CHECKOUT
from tests.lab.bench.rows import Gate, Row, at_least, at_most, row

WITHIN_S, WITHIN_MB, MOST_ROWS = 600.0, 3_000.0, 200_000.0
MONTHS = (
    ("100_per_s", 100.0, "compact"),
    ("1_per_s_small_objects", 1.0, "small-older"),
    ("0_5_per_s_small_objects", 0.5, "small"),
)
"""By name: requests a second of the stage, and the form of its objects. 259 million records in the first."""
COMPACTS_S = 60.0
BEFORE_MS = 21.0
"""An object one after another, as it was read before (measured on real parts)."""


def rows() -> Sequence[Row]:
    """Three figures for each month, and how many small objects a compaction takes in a second."""
    return [each for name, rate, form in MONTHS for each in _retrained(name, rate, form)] + [_compacted()]


def _retrained(name: str, rate: float, form: str) -> Iterator[Row]:
    with serving(rate, form) as port:
        told = worked(port, "retrain", 840.0)
    if told["end"] not in ("promoted", "refused"):
        raise RuntimeError(f"{name}: {told['end']}: {told['reason']}")
    objects = rate * 30 * 86_400 / max(1, min(25, round(rate / 4)))
    before_s = objects * BEFORE_MS / 1000
    n, why = int(rate * 30 * 86_400), f"one object after another: {told['end']} here"
    yield _row(f"archive_{name}_s", told["took_s"], "s", before_s, n, at_most(WITHIN_S), why)
    yield _row(f"archive_{name}_peak_mb", told["peak_mb"], "MB", None, n, at_most(WITHIN_MB), why)
    yield _row(f"archive_{name}_rows", float(told["rows"]), "rows", None, n, at_most(MOST_ROWS), told["read_since"])


def _row(name: str, value: float, unit: str, before: float | None, n: int, gate: Gate, why: str) -> Row:
    return row(name, value, unit, rival=why, rival_value=before, n=n, gate=gate)


def _compacted() -> Row:
    with serving(1.0, "small") as port:
        told = worked(port, "compact", COMPACTS_S)
    per_s = told["objects"] / told["took_s"]
    return row(
        "archive_compacted_objects_per_s",
        per_s,
        "1/s",
        rival="one object after another",
        rival_value=1000 / BEFORE_MS,
        n=int(told["objects"]),
        more_is_better=True,
    )


MILLION, MILLION_WITHIN_S = 1_000_000, 900.0


def million() -> Sequence[Row]:
    """A retraining on a million rows, reading included, in one process."""
    with serving(100.0, "compact") as port:
        told = worked(port, "retrain", 880.0, MILLION)
    why = f"{told['rows']:,} rows, {told['end']}"
    return [
        _row("retrain_1m_s", told["took_s"], "s", None, MILLION, at_most(MILLION_WITHIN_S), why),
        _row("retrain_1m_peak_mb", told["peak_mb"], "MB", None, MILLION, at_most(WITHIN_MB), why),
        _row("retrain_1m_rows", float(told["rows"]), "rows", None, MILLION, at_least(0.99 * MILLION), why),
    ]


@contextmanager
def serving(rate: float, form: str) -> Iterator[int]:
    """The port of a server of its own process."""
    end = datetime.now(UTC).isoformat()
    command = [sys.executable, "-m", "tests.lab.bench.archive_server", str(rate), form, end]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(json.loads(server.stdout.readline())["port"])
        finally:
            server.terminate()


def worked(port: int, does: str, seconds: float, most_rows: int = 200_000) -> dict[str, Any]:
    """What a process of its own says of what it did."""
    command = [sys.executable, "-m", "tests.lab.bench.archive_worker", str(port), does, str(seconds), str(most_rows)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
