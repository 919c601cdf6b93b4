"""Figures of seeded replays and simulations: what a change of the router, or of the draws it makes, moves.

Too short for a retraining: what scikit-learn finds may differ from machine to machine.
"""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fiso_cli.main import app
from fiso_cli.worlds.inputs import VARIABLE, paired_folder
from fiso_cli.worlds.router import RETRAIN_EVERY
from tests.golden.golden_files import golden_json, rounded
from tests.unit.fiso_cli.worlds.paired import row, write

ARMS = {"aws,us-east-1,512": 90, "aws,eu-central-1,1024": 140, "azure,westeurope,0": 110, "gcp,us-east4,256": 100}
"""Typical latencies in ms; halfway the first two change places."""
ROUNDS = 360
SEEDS = 2
MEASURED_ROUNDS = 400
"""Of three endpoints each."""


def a_trace(folder: Path) -> Path:
    """Rounds of four arms: lognormal latencies, cold starts, failures, a rush hour."""
    draw, rows = random.Random(20_261_123), []
    for number in range(ROUNDS):
        for place, (arm, usual_ms) in enumerate(ARMS.items()):
            cold, ok = draw.random() < 0.05, draw.random() < 0.98
            usual = usual_ms * (1.8 if place == 0 and number > ROUNDS / 2 else 1) + 900 * cold
            latency_ms = round(usual * draw.lognormvariate(0, 0.25), 3)
            cost_usd = round(latency_ms * (1 + place) * 1e-9, 12)
            in_flight = 1 + 7 * (120 <= number < 160)
            changes: dict[str, Any] = {"cold": cold, "ok": ok, "cost_usd": cost_usd, "in_flight": in_flight}
            rows.append(row(number, arm, latency_ms=latency_ms, function="fg"[number % 2], **changes))
    return write(folder, *rows)


def figures(folder: Path, command: str, *arguments: object) -> Any:
    """All figures that a command writes."""
    out = folder / "figures.json"
    shown = CliRunner().invoke(app, [command, *map(str, arguments), "--out", str(out)], env={"COLUMNS": "120"})
    assert shown.exit_code == 0, shown.output
    return rounded(json.loads(out.read_text(encoding="utf-8")))


def test_a_replay_for_latency(tmp_path: Path) -> None:
    assert max(ROUNDS, MEASURED_ROUNDS) <= RETRAIN_EVERY
    golden_json("replay-latency.json", figures(tmp_path, "replay", "--trace", a_trace(tmp_path), "--seeds", SEEDS))


def test_a_replay_for_cost(tmp_path: Path) -> None:
    trace = a_trace(tmp_path)
    golden_json("replay-cost.json", figures(tmp_path, "replay", "--trace", trace, "--objective", "cost", "--seeds", 1))


def test_a_simulation(tmp_path: Path) -> None:
    size = ("--functions", 2, "--requests", 200, "--rate", 1, "--seeds", SEEDS)
    golden_json("simulate.json", figures(tmp_path, "simulate", *size, "--outage", "aws/us-east-1:40:80"))


def test_a_simulation_of_calls_that_may_be_repeated(tmp_path: Path) -> None:
    size = ("--functions", 3, "--requests", 150, "--rate", 2, "--seeds", 1, "--objective", "cost", "--idempotent")
    golden_json("simulate-repeatable.json", figures(tmp_path, "simulate", *size, "--outage", "gcp:20:50:time_out"))


def test_a_replay_of_a_measured_trace(tmp_path: Path) -> None:
    path = paired_folder() / "sebs2020.csv.gz"
    if not path.exists():
        pytest.skip(f"the measured trace {path.name} is not at hand; set {VARIABLE} to what holds paired/")
    begun = tmp_path / "sebs2020.csv"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        begun.write_text("".join(itertools.islice(lines, 1 + 3 * MEASURED_ROUNDS)), encoding="utf-8")
    golden_json("replay-sebs2020.json", figures(tmp_path, "replay", "--trace", begun, "--seeds", SEEDS))
