"""`fiso replay` over small traces, and over the measured ones where they are at hand."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fiso.billing import tariff
from fiso.domain.endpoint import Endpoint
from fiso_cli.errors import CommandGroup
from fiso_cli.worlds import measured
from fiso_cli.worlds import trace_router as router
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.replay import replay_command
from fiso_cli.worlds.trace import read
from fiso_cli.worlds.trace_catalog import Catalog
from tests.builders import an_endpoint, three_endpoints
from tests.unit.fiso_cli.worlds.paired import AZURE, pair, row, write

RIVALS = {
    "best_single",
    "random",
    "round_robin",
    "lowest_recent_latency",
    "peak_ewma_p2c",
    "cheapest_list_price",
    "context_oracle",
    "round_hindsight",
}


def replay(*arguments: object) -> Result:
    app = typer.Typer(cls=CommandGroup)
    app.command("replay")(replay_command)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], env={"COLUMNS": "120"})


def measured_file(name: str) -> Path:
    path = measured.folder() / name
    if not path.exists():
        pytest.skip(f"the measured trace {name} is not at hand; set {measured.VARIABLE} to what holds paired/")
    return path


@pytest.fixture
def lines() -> list[str]:
    return [line for number in range(120) for line in pair(number, 100, 40)]


def test_prints_the_table_and_writes_the_figures(tmp_path: Path, lines: list[str]) -> None:
    out = tmp_path / "figures.json"
    shown = replay("--trace", write(tmp_path, *lines), "--seeds", 2, "--json", out)
    assert shown.exit_code == 0, shown.output
    assert "worst_case" in shown.output
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert (figures["trace"], figures["objective"], figures["seeds"]) == ("trace.csv", "latency", 2)
    keys = {"mean", "p50", "p95", "p99", "cost_per_million", "success", "captured", "worst_case", "ci95"}
    assert keys <= figures["fiso"].keys()
    assert set(figures["rivals"]) == RIVALS | {"aws/us-east-1/512", "azure/westeurope/dynamic"}
    assert figures["rivals"]["best_single"]["mean"] == 40
    assert figures["best_single"] == "azure/westeurope/dynamic"


@pytest.mark.parametrize("objective", list(Objective))
def test_the_same_file_and_seeds_give_the_same_figures(tmp_path: Path, lines: list[str], objective: Objective) -> None:
    path = write(tmp_path, *lines)
    written = []
    for name in ("one.json", "two.json"):
        shown = replay("--trace", path, "--objective", objective, "--seeds", 2, "--json", tmp_path / name)
        assert shown.exit_code == 0, shown.output
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_a_router_that_sees_its_picks_does_better_than_chance(tmp_path: Path) -> None:
    rounds = [line for number in range(1_000) for line in pair(number, 50, 2_000)]
    out = tmp_path / "figures.json"
    assert replay("--trace", write(tmp_path, *rounds), "--seeds", 2, "--json", out).exit_code == 0
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["fiso"]["mean"] < figures["rivals"]["random"]["mean"] / 2


def test_the_router_learns_only_from_what_it_picked(tmp_path: Path) -> None:
    """Outcomes of arms that were not picked may be anything: the picks stay the same."""
    rounds = [line for number in range(150) for line in pair(number, 100, 90)]
    picks = _picks(write(tmp_path, *rounds))
    changed = []
    for number, arm in enumerate(picks):
        not_picked_ms = 5_000 + number
        aws_ms, azure_ms = (100, not_picked_ms) if arm.startswith("aws") else (not_picked_ms, 90)
        changed.extend(pair(number, aws_ms, azure_ms))
    assert _picks(write(tmp_path, *changed)) == picks


def test_an_arm_that_is_missing_is_not_picked_and_a_failure_is_survived(tmp_path: Path) -> None:
    rows = [*pair(0), row(1), row(2, AZURE, ok=False), row(3, AZURE), *pair(4)]
    assert _picks(write(tmp_path, *rows))[1:4] == (
        "aws/us-east-1/512",
        "azure/westeurope/dynamic",
        "azure/westeurope/dynamic",
    )


def test_retrains_on_its_own_log_at_the_stated_cadence(tmp_path: Path) -> None:
    rounds = [
        line for number in range(1_502) for line in pair(number, 100 + number % 7, 300 + number % 11, in_flight=5)
    ]
    trace = read(write(tmp_path, *rounds))
    replayed = router.run(trace, Catalog(trace, Objective.LATENCY), None, seed=1)
    assert [run.rows for run in replayed.retrainings] == [500, 1_000, 1_500]
    assert "too few rows" in replayed.retrainings[0].reason
    assert replayed.retrainings[1].promoted, replayed.retrainings[1].reason


@pytest.mark.parametrize("endpoint", three_endpoints(), ids=lambda endpoint: endpoint.provider)
def test_the_billed_time_is_what_the_tariff_prices_back_to_the_bill(endpoint: Endpoint) -> None:
    prices = tariff.current()
    bill = prices.cost_usd(endpoint, 1_200.0)
    assert bill is not None
    assert router.billed_ms_of(bill, endpoint, prices) == pytest.approx(1_200)
    assert router.billed_ms_of(0.0, endpoint, prices) == 0
    assert router.billed_ms_of(bill, an_endpoint(region="nowhere"), prices) is None


def test_a_region_without_a_price_is_told(tmp_path: Path) -> None:
    rows = [line for number in range(3) for line in (row(number), row(number, "aws,af-south-1,512"))]
    shown = replay("--trace", write(tmp_path, *rows), "--seeds", 1, "--objective", "cost")
    assert shown.exit_code == 0, shown.output
    assert "no price for aws af-south-1" in shown.output


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(0), row(0, AZURE, latency_ms=-5)], "row 2 (line 3): latency_ms"),
        ([row(0), row(0, AZURE, cost_usd="nan")], "row 2 (line 3): cost_usd"),
        ([row(0), row(0, "ovh,rbx,256")], "row 2 (line 3): provider"),
        ([*pair(1), *pair(0)], "row 3 (line 4): rounds are unsorted"),
        ([row(0), row(1)], "one arm only"),
    ],
)
def test_bad_files_are_refused_in_one_line_with_exit_2(tmp_path: Path, rows: list[str], said: str) -> None:
    shown = replay("--trace", write(tmp_path, *rows))
    assert shown.exit_code == 2
    (line,) = shown.output.strip().splitlines()
    assert said in line


def test_a_file_that_is_not_there_is_refused_in_one_line_with_exit_2(tmp_path: Path) -> None:
    shown = replay("--trace", tmp_path / "absent.csv")
    assert shown.exit_code == 2
    assert len(shown.output.strip().splitlines()) == 1


def test_figures_that_cannot_be_written_fail_in_words(tmp_path: Path, lines: list[str]) -> None:
    shown = replay("--trace", write(tmp_path, *lines[:4]), "--seeds", 1, "--json", tmp_path / "absent" / "out.json")
    assert shown.exit_code == 1
    assert "could not be written" in shown.output


def test_the_measured_sweeps_replay_whole(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    shown = replay("--trace", measured_file("faasdom-factors.csv.gz"), "--seeds", 1, "--json", out)
    assert shown.exit_code == 0, shown.output
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["rounds"] == 208
    rivals = figures["rivals"]
    assert rivals["round_hindsight"]["mean"] <= rivals["context_oracle"]["mean"] <= rivals["best_single"]["mean"] + 1e-9


def test_the_measured_invocations_parse_and_have_the_known_best_endpoint() -> None:
    trace = read(measured_file("sebs2020.csv.gz"))
    assert len(trace.rounds) == 6_000
    assert len(trace.always_present) == 3


def _picks(path: Path) -> tuple[str, ...]:
    trace = read(path)
    return tuple(router.run(trace, Catalog(trace, Objective.LATENCY), None, seed=5).picks)
