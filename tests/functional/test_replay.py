"""`fiso replay` over small traces, and over the measured ones where they are at hand; its picture."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fiso.billing import tariff
from fiso.domain.endpoint import Endpoint, Plan
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.main import app
from fiso_cli.worlds import contest, inputs, plot, router
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.trace import read
from fiso_cli.worlds.trace_worlds import TraceWorlds, billed_ms_of
from tests.builders import an_endpoint, three_endpoints
from tests.unit.fiso_cli.worlds.paired import AZURE, pair, row, write

PNG = b"\x89PNG\r\n\x1a\n"
RIVALS = {
    "best_single",
    "random",
    "round_robin",
    "lowest_recent_latency",
    "peak_ewma_p2c",
    "recent_means",
    "cheapest_list_price",
    "context_oracle",
    "round_hindsight",
}


def replay(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], env={"COLUMNS": "120"})


def measured_file(name: str) -> Path:
    path = inputs.paired_folder() / name
    if not path.exists():
        pytest.skip(f"the measured trace {name} is not at hand; set {inputs.VARIABLE} to what holds paired/")
    return path


@pytest.fixture
def lines() -> list[str]:
    return [line for number in range(120) for line in pair(number, 100, 40)]


def test_prints_the_table_and_writes_the_figures(tmp_path: Path, lines: list[str]) -> None:
    out = tmp_path / "figures.json"
    shown = replay("--trace", write(tmp_path, *lines), "--seeds", 2, "--out", out)
    assert shown.exit_code == 0, shown.output
    assert "worst_case" in shown.output
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert (figures["trace"], figures["objective"], figures["seeds"]) == ("trace.csv", "latency", 2)
    keys = {"mean", "p50", "p95", "p99", "cost_per_million", "success", "captured", "worst_case", "ci95"}
    assert keys <= figures["fiso"].keys()
    assert set(figures["rivals"]) == RIVALS | {"aws/us-east-1/512", "azure/westeurope/dynamic"}
    assert figures["rivals"]["best_single"]["mean"] == 40
    assert figures["best_single"] == "azure/westeurope/dynamic"


def test_a_router_that_sees_its_picks_does_better_than_chance(tmp_path: Path) -> None:
    rounds = [line for number in range(1_000) for line in pair(number, 50, 2_000)]
    out = tmp_path / "figures.json"
    assert replay("--trace", write(tmp_path, *rounds), "--seeds", 1, "--out", out).exit_code == 0
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
    retrainings = _run(write(tmp_path, *rounds), seed=1).retrainings
    assert [run.rows for run in retrainings] == [500, 1_000, 1_500]
    assert "too few rows" in retrainings[0].reason
    assert retrainings[1].promoted, retrainings[1].reason


@pytest.mark.parametrize("endpoint", three_endpoints(), ids=lambda endpoint: endpoint.provider)
def test_the_billed_time_is_what_the_tariff_prices_back_to_the_bill(endpoint: Endpoint) -> None:
    prices = tariff.current()
    bill = prices.cost_usd(endpoint, 1_200.0)
    assert bill is not None
    assert billed_ms_of(bill, endpoint, prices) == pytest.approx(1_200)
    assert billed_ms_of(0.0, endpoint, prices) == 0
    assert billed_ms_of(bill, an_endpoint(plan=Plan.MANAGED_INSTANCES), prices) is None


def test_a_region_without_a_price_is_told(tmp_path: Path) -> None:
    rows = [line for number in range(3) for line in (row(number), row(number, "aws,il-central-1,512"))]
    shown = replay("--trace", write(tmp_path, *rows), "--seeds", 1, "--objective", "cost")
    assert shown.exit_code == 0, shown.output
    assert "no row for aws il-central-1" in shown.output


def test_bad_files_are_refused_in_one_line_with_exit_2(tmp_path: Path) -> None:
    bad = write(tmp_path, row(0), row(0, AZURE, latency_ms=-5))
    for path, said in ((bad, "row 2 (line 3): latency_ms"), (tmp_path / "absent.csv", "No such file")):
        shown = replay("--trace", path)
        assert shown.exit_code == 2
        (line,) = shown.output.strip().splitlines()
        assert f"error: {path}: " in line
        assert said in line


def test_figures_that_cannot_be_written_fail_in_words(tmp_path: Path, lines: list[str]) -> None:
    shown = replay("--trace", write(tmp_path, *lines[:4]), "--seeds", 1, "--out", tmp_path / "absent" / "out.json")
    assert shown.exit_code == 1
    assert "could not be written" in shown.output


def test_the_measured_sweeps_replay_whole(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    shown = replay("--trace", measured_file("faasdom-factors.csv.gz"), "--seeds", 1, "--out", out)
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
    return tuple(result.arm for result in _run(path, seed=5).results)


def _run(path: Path, *, seed: int) -> router.Run:
    worlds = TraceWorlds(read(path), tariff.current())
    return router.run(worlds, router.policy_of(Objective.LATENCY), None, seed=seed)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path, *(line for number in range(40) for line in pair(number, 100, 40 + number % 3)))


def size_px(png: bytes) -> tuple[int, int]:
    """From the header chunk that every PNG begins with."""
    assert png.startswith(PNG)
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _held(path: Path, objective: Objective = Objective.LATENCY, *, seeds: int = 1) -> contest.Contest:
    worlds = TraceWorlds(read(path), tariff.current())
    plan = contest.Plan(worlds=worlds, objective=objective, seeds=seeds, model_dir=CHECKOUT / "ml_artifacts")
    return contest.hold(plan)


def test_draws_a_picture_of_the_stated_size(tmp_path: Path, small: Path) -> None:
    out = tmp_path / "out.png"
    shown = replay("--trace", small, "--seeds", 2, "--objective", Objective.BALANCED, "--plot", out)
    assert shown.exit_code == 0, shown.output
    assert size_px(out.read_bytes()) == (1950, 975)


def test_says_the_same_with_a_picture_as_without(tmp_path: Path, small: Path) -> None:
    """In a process of its own with no home to write to, where matplotlib would otherwise speak of its caches."""
    arguments = ("--seeds", "1", "--trace", str(small))
    program = "import sys; from fiso_cli.main import app; sys.argv = ['fiso', *sys.argv[1:]]; app()"
    command = [sys.executable, "-W", "error", "-c", program, "replay", *arguments, "--plot", str(tmp_path / "out.png")]
    environ = {"HOME": "/nonexistent", "COLUMNS": "120"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    without = replay(*arguments)
    assert (done.stdout, done.stderr) == (without.stdout, without.stderr)
    assert (tmp_path / "out.png").exists()


def test_without_a_picture_matplotlib_is_not_imported() -> None:
    program = "import sys, fiso_cli.worlds.commands, fiso_cli.worlds.plot; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.gif", "must end in .png, .svg or .pdf"),
        ("out", "must end in .png, .svg or .pdf"),
        ("absent/out.png", "No such file or directory"),
        ("folder.png", "Is a directory"),
    ],
)
def test_a_path_that_will_not_do_is_refused_before_the_work(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.png").mkdir()
    shown = replay("--trace", tmp_path / "never-opened.csv", "--plot", tmp_path / name)
    assert shown.exit_code == 2
    (line,) = shown.output.strip().splitlines()
    assert said in line


def test_asking_whether_a_picture_can_be_written_leaves_things_as_they_were(tmp_path: Path) -> None:
    old = tmp_path / "old.png"
    old.write_bytes(b"a picture")
    assert plot.problem_with(old) is None
    assert plot.problem_with(tmp_path / "new.png") is None
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("old.png", b"a picture")]


def test_the_curves_end_at_the_verdicts_regret(small: Path) -> None:
    held = _held(small, seeds=2)
    drawn = plot.picture(held, {})
    ends = {name: sum(run[-1] for run in runs) / len(runs) for name, runs in drawn.curves.items()}
    assert held.verdict.fiso.regret is not None
    assert ends.pop("FISO") == pytest.approx(held.verdict.fiso.regret / 1_000)
    told = {name.replace("_", " "): standing.regret for name, standing in held.verdict.rivals.items()}
    assert {name: end * 1_000 for name, end in ends.items()} == pytest.approx({name: told[name] for name in ends})
    assert list(drawn.endpoints) == ["aws/us-east-1/512", "azure/westeurope/dynamic"]


def test_the_frontier_is_the_router_under_each_objective(small: Path) -> None:
    held = _held(small, Objective.COST)
    others = contest.under(held.plan, [Objective.LATENCY, Objective.BALANCED])
    drawn = plot.picture(held, others)
    assert list(drawn.frontier) == ["latency", "balanced", "cost"]
    assert drawn.frontier["latency"] == others[Objective.LATENCY]
    assert drawn.frontier["cost"] == held.verdict.fiso.figures


def test_without_an_endpoint_that_is_always_there_regret_is_against_the_oracle(tmp_path: Path) -> None:
    held = _held(write(tmp_path, row(0), row(0, AZURE), row(1), row(2, AZURE)))
    drawn = plot.picture(held, contest.under(held.plan, [Objective.COST, Objective.BALANCED]))
    assert drawn.bar == "the context oracle"
    assert drawn.endpoints == {}
    plot.draw(drawn, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.parametrize(("name", "start"), [("out.png", PNG), ("out.svg", b"<?xml"), ("out.PDF", b"%PDF-")])
def test_any_name_can_be_drawn_in_the_format_that_the_suffix_says(tmp_path: Path, name: str, start: bytes) -> None:
    """Dollar signs begin no formula, letters that the font lacks are no warning, which the suite would raise."""
    (figures,) = {run.figures for run in _held(write(tmp_path, *pair(0))).fiso}
    drawn = plot.Picture(
        title="$\\frac$ 測定.csv",
        unit="seconds",
        bar="nothing",
        curves={"FISO": [[0.0, 0.0]]},
        frontier={"$\\frac$": figures, "測定": figures},
        rivals={"$\\frac$": figures},
        endpoints={"測定": figures},
    )
    plot.draw(drawn, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
