"""`fiso replay --plot`: a picture of the right kind and size, no word beside the table, bad paths refused."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fiso_cli.errors import CommandGroup
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.worlds import plot
from fiso_cli.worlds import trace_contest as contest
from fiso_cli.worlds import trace_picture as picture
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.replay import replay_command
from fiso_cli.worlds.trace import read
from tests.unit.fiso_cli.worlds.paired import AZURE, pair, row, write

MODEL_DIR = CHECKOUT / "ml_artifacts"
PNG = b"\x89PNG\r\n\x1a\n"


def replay(*arguments: object) -> Result:
    app = typer.Typer(cls=CommandGroup)
    app.command("replay")(replay_command)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], env={"COLUMNS": "120"})


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write(tmp_path, *(line for number in range(40) for line in pair(number, 100, 40 + number % 3)))


def size_px(png: bytes) -> tuple[int, int]:
    """From the header chunk that every PNG begins with."""
    assert png.startswith(PNG)
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("objective", list(Objective))
def test_draws_a_picture_of_the_stated_size(tmp_path: Path, trace: Path, objective: Objective) -> None:
    out = tmp_path / "out.png"
    shown = replay("--trace", trace, "--seeds", 2, "--objective", objective, "--plot", out)
    assert shown.exit_code == 0, shown.output
    assert size_px(out.read_bytes()) == (1950, 975)


@pytest.mark.parametrize(("name", "start"), [("out.svg", b"<?xml"), ("out.PDF", b"%PDF-")])
def test_the_suffix_says_the_format(tmp_path: Path, trace: Path, name: str, start: bytes) -> None:
    shown = replay("--trace", trace, "--seeds", 1, "--plot", tmp_path / name)
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / name).read_bytes().startswith(start)


def test_says_the_same_with_a_picture_as_without(tmp_path: Path, trace: Path) -> None:
    """In a process of its own with no home to write to, where matplotlib would otherwise speak of its caches."""
    said = [_said("--trace", trace, *more) for more in ((), ("--plot", tmp_path / "out.png"))]
    assert said[0] == said[1]
    assert (tmp_path / "out.png").exists()


def _said(*arguments: object) -> tuple[str, str]:
    program = "import sys; from fiso_cli.main import app; sys.argv = ['fiso', *sys.argv[1:]]; app()"
    command = [sys.executable, "-W", "error", "-c", program, "replay", "--seeds", "1", *map(str, arguments)]
    environ = {"HOME": "/nonexistent", "COLUMNS": "120"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    return done.stdout, done.stderr


def test_without_a_picture_matplotlib_is_not_imported() -> None:
    program = "import sys, fiso_cli.worlds.replay, fiso_cli.worlds.trace_picture; print('matplotlib' in sys.modules)"
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


def test_the_curves_end_at_the_verdicts_regret(trace: Path) -> None:
    held = contest.hold(read(trace), Objective.LATENCY, seeds=2, model_dir=MODEL_DIR)
    drawn = picture.comparison(held, {}, trace="t", objective=Objective.LATENCY, seeds=2)
    ends = {curve.name: sum(run[-1] for run in curve.runs) / len(curve.runs) for curve in drawn.curves}
    assert held.verdict.fiso.regret is not None
    assert ends.pop("FISO") == pytest.approx(held.verdict.fiso.regret / 1_000)
    told = {name.replace("_", " "): standing.regret for name, standing in held.verdict.rivals.items()}
    assert {name: end * 1_000 for name, end in ends.items()} == pytest.approx({name: told[name] for name in ends})
    assert [point.name for point in drawn.endpoints] == ["aws/us-east-1/512", "azure/westeurope/dynamic"]


def test_the_frontier_is_the_router_under_each_objective(trace: Path) -> None:
    paired = read(trace)
    held = contest.hold(paired, Objective.COST, seeds=1, model_dir=MODEL_DIR)
    beside = contest.under(paired, [Objective.LATENCY, Objective.BALANCED], model_dir=MODEL_DIR)
    drawn = picture.comparison(held, beside, trace="t", objective=Objective.COST, seeds=1)
    assert [point.name for point in drawn.frontier] == ["latency", "balanced", "cost"]
    assert drawn.frontier[0].latency_ms == beside[Objective.LATENCY].mean
    assert drawn.frontier[2].cost_per_million == held.verdict.fiso.figures.cost_per_million


def test_without_an_endpoint_that_is_always_there_regret_is_against_the_oracle(tmp_path: Path) -> None:
    paired = read(write(tmp_path, row(0), row(0, AZURE), row(1), row(2, AZURE)))
    held = contest.hold(paired, Objective.LATENCY, seeds=1, model_dir=MODEL_DIR)
    beside = contest.under(paired, [Objective.COST, Objective.BALANCED], model_dir=MODEL_DIR)
    drawn = picture.comparison(held, beside, trace="t", objective=Objective.LATENCY, seeds=1)
    assert drawn.bar == "the context oracle"
    assert drawn.endpoints == []
    plot.draw(drawn, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 10_000


def test_any_name_can_be_drawn(tmp_path: Path) -> None:
    """Dollar signs begin no formula, letters that the font lacks are no warning, which the suite would raise."""
    points = [plot.Point(name=name, latency_ms=100, cost_per_million=2) for name in ("$\\frac$", "測定")]
    drawn = plot.Comparison(
        title="$\\frac$ 測定.csv",
        regret_unit="seconds",
        bar="nothing",
        curves=[plot.Curve(name="FISO", runs=[[0.0, 0.0]])],
        frontier=points,
        rivals=points[:1],
        endpoints=points[1:],
    )
    plot.draw(drawn, tmp_path / "out.png")
    assert size_px((tmp_path / "out.png").read_bytes()) == (1950, 975)
