"""`python -m tests.lab chaos`: what it says, keeps and exits with."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.lab.__main__ import app
from tests.lab.chaos import report, summary
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op
from tests.lab.chaos.series import run_one

runner = CliRunner()


def met(setting: Setting) -> Sequence[Figure]:
    (setting.folder / "history.jsonl").write_text("{}\n")
    return [Figure(name="success", value=1, op=Op.AT_LEAST, target=0.9, unit="share", n=setting.sized(100, 10))]


def breaking(setting: Setting) -> Sequence[Figure]:
    raise OSError("no such port\nmore lines")


def an_experiment(run: object, name: str = "tried") -> Experiment:
    return Experiment(row=3, name=name, question="Does it?", run=run)  # type: ignore[arg-type]


def test_an_experiments_figures_and_history_are_kept(tmp_path: Path) -> None:
    ran = run_one(an_experiment(met), tmp_path, is_quick=True, seed=1)
    assert ran.is_met
    assert [line.n for line in ran.lines] == [10]
    assert (tmp_path / "tried" / "history.jsonl").exists()
    assert summary.read(tmp_path / "summary.json") == list(ran.lines)


def test_one_that_raises_is_broken_in_one_line_and_spares_the_others(tmp_path: Path) -> None:
    run_one(an_experiment(met, name="other"), tmp_path, is_quick=True, seed=1)
    ran = run_one(an_experiment(breaking), tmp_path, is_quick=True, seed=1)
    assert (ran.is_met, ran.error) == (False, "OSError: no such port")
    assert {line.name: line.met for line in summary.read(tmp_path / "summary.json")} == {
        "other: success": True,
        "tried: broke": False,
    }


def test_the_report_is_written_beside_the_summary(tmp_path: Path) -> None:
    ran = run_one(an_experiment(met), tmp_path, is_quick=True, seed=7)
    page = report.write(tmp_path, [ran], is_quick=True, seed=7).read_text()
    assert "1 of 1 figures keep their targets" in page
    assert "quick (reduced)" in page


def test_what_is_listed_can_be_read_by_machines() -> None:
    shown = runner.invoke(app, ["chaos", "list", "--json"])
    assert shown.exit_code == 0
    assert {"row", "name", "question"} == set(json.loads(shown.stdout)[0])


@pytest.mark.parametrize("arguments", [["no-such"], [], ["refused", "--all"]], ids=["unknown", "none", "both"])
def test_bad_input_is_told_in_a_line(arguments: list[str]) -> None:
    shown = runner.invoke(app, ["chaos", "run", *arguments])
    assert shown.exit_code == 2
    assert "python -m tests.lab chaos list" in shown.output or "refused" in shown.output
