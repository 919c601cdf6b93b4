"""The measurements: each gives one row, ours and the rival's taken in turn so that the machine's mood hits both."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import distribution
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.lab.bench import naive, ours
from tests.lab.bench.rows import Row, at_most, row, times_better
from tests.lab.bench.timing import in_turn, timed, timer

HANDLER_GATE, REPEATABLE_GATE = 40.0, 25.0
COLD_START_GATE = 5.0
ARTIFACT_LIMIT_MB = 1.0
PACKAGE_LIMIT_MB = 15.0
RSS_LIMIT_MB = 96.0
NAIVE_NEEDS = ("scikit-learn", "scipy", "numpy", "joblib", "flask", "boto3", "botocore", "threadpoolctl")


def handlers_in_memory(model_dir: Path, rival_dir: Path, rounds: int = 300) -> tuple[Row, Row]:
    """The whole handler against the naive design's, on in-memory ports, the same small request each time: for a
    function that must not be repeated, and for one whose calls run in a thread of their own to be hedged."""
    client = naive.create_app(rival_dir).test_client()
    ask_rival = lambda: client.post("/route", json={"size": 31, "function_type": 1})  # noqa: E731

    def against(name: str, ask_ours: Callable[[], object], gate: float) -> Row:
        timed(ask_ours, 200)
        taken = in_turn(timer(ask_ours), timer(ask_rival), turns=rounds // 10, ours_each=30, rivals_each=2)
        return row(
            name,
            median(taken.ours) * 1000,
            "ms",
            rival="naive: Flask, forest x3",
            rival_value=median(taken.rivals) * 1000,
            n=len(taken.ours),
            gate=times_better(gate),
        )

    with redirect_stdout(StringIO()):
        usual, repeatable = ours.handler(model_dir), ours.handler(model_dir, is_repeatable=True)
        return (
            against("handler_in_memory", usual, HANDLER_GATE),
            against("handler_repeatable", repeatable, REPEATABLE_GATE),
        )


def cold_starts(model_dir: Path, rival_dir: Path, rounds: int = 7) -> tuple[Row, Row]:
    """Fresh processes in turn: their whole time against each other, and ours' peak memory."""
    mine = ("tests.lab.bench.ours", str(model_dir))
    rivals = ("tests.lab.bench.naive", str(rival_dir))
    for module in (mine, rivals):
        _run(*module)
    pairs = [(_run(*mine), _run(*rivals)) for _ in range(rounds)]
    time_row = row(
        "cold_start",
        median(one.wall_ms for one, _ in pairs),
        "ms",
        rival="naive, whole process",
        rival_value=median(other.wall_ms for _, other in pairs),
        n=rounds,
        gate=times_better(COLD_START_GATE),
    )
    memory_row = row(
        "rss_mb",
        median(one.peak_mb for one, _ in pairs),
        "MB",
        rival="naive, whole process",
        rival_value=median(other.peak_mb for _, other in pairs),
        n=rounds,
        gate=at_most(RSS_LIMIT_MB),
    )
    return time_row, memory_row


def cold_start_ms(model_dir: Path, rounds: int = 7) -> float:
    """Ours alone."""
    return median(_run("tests.lab.bench.ours", str(model_dir)).wall_ms for _ in range(rounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    """What one process took."""

    wall_ms: float
    peak_mb: float


def _run(module: str, argument: str) -> _Finished:
    """One process from start to end."""
    with tempfile.NamedTemporaryFile("r", encoding="ascii") as peak:
        command = [sys.executable, "-m", "tests.lab.bench.peak", peak.name, module, argument]
        start = perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        wall_ms = (perf_counter() - start) * 1000
        return _Finished(wall_ms=wall_ms, peak_mb=float(peak.read()))


def artifact_mb(model_file: Path, rival_dir: Path) -> Row:
    """The model's file against the naive design's three."""
    return row(
        "artifact_mb",
        model_file.stat().st_size / 1e6,
        "MB",
        rival="naive: three forests",
        rival_value=naive.size_mb(rival_dir),
        n=1,
        gate=at_most(ARTIFACT_LIMIT_MB),
    )


def package_mb(unzipped_mb: float, rival_dir: Path) -> Row:
    """The orchestrator with its model layer, unzipped, against what the naive design would have to ship."""
    return row(
        "package_mb",
        unzipped_mb,
        "MB",
        rival="naive: its libraries and models",
        rival_value=sum(_installed_mb(name) for name in NAIVE_NEEDS) + naive.size_mb(rival_dir),
        n=1,
        gate=at_most(PACKAGE_LIMIT_MB),
    )


def package_with_tokens_mb(unzipped_mb: float) -> Row:
    """The same on a stage for tokens, access layer included. The naive design checks none, so there is no rival."""
    return row("package_with_tokens_mb", unzipped_mb, "MB", rival="none: it checks no tokens", rival_value=None, n=1)


def _installed_mb(name: str) -> float:
    files = distribution(name).files or []
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.exists()) / 1e6
