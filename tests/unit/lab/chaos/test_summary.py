"""The summary file: a partial run replaces its own figures only."""

import json
from collections.abc import Sequence
from math import inf
from pathlib import Path

from tests.lab.chaos import summary
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, share_reached
from tests.lab.chaos.summary import number


def nothing(_: Setting) -> Sequence[Figure]:
    return []


def an_experiment(name: str, row: int = 1) -> Experiment:
    return Experiment(row=row, name=name, question="Does it?", run=nothing)


def a_figure(value: float = 5.0, name: str = "added p99") -> Figure:
    return Figure(name=name, value=value, op=Op.AT_MOST, target=30, unit="ms", n=10, bound=None)


def test_a_figure_keeps_its_experiments_name_and_verdict(tmp_path: Path) -> None:
    one = an_experiment("refused")
    summary.write(tmp_path / "summary.json", one, summary.lines_of(one, [a_figure(31)]))
    assert json.loads((tmp_path / "summary.json").read_text()) == [
        {
            "row": 1,
            "name": "refused: added p99",
            "value": 31,
            "op": "<=",
            "target": 30,
            "unit": "ms",
            "n": 10,
            "bound": None,
            "met": False,
        }
    ]


def test_a_partial_run_replaces_its_own_figures_only(tmp_path: Path) -> None:
    file, early, late = tmp_path / "summary.json", an_experiment("refused"), an_experiment("refused-twice", row=3)
    summary.write(file, late, summary.lines_of(late, [a_figure(1)]))
    summary.write(file, early, summary.lines_of(early, [a_figure(2), a_figure(3, name="success")]))
    summary.write(file, early, summary.lines_of(early, [a_figure(4)]))
    assert [(line.name, line.value) for line in summary.read(file)] == [
        ("refused: added p99", 4),
        ("refused-twice: added p99", 1),
    ]


def test_a_value_that_never_came_is_null_and_told_so(tmp_path: Path) -> None:
    one = an_experiment("refused")
    (line,) = summary.write(tmp_path / "summary.json", one, summary.lines_of(one, [a_figure(inf)]))
    assert "Infinity" not in (tmp_path / "summary.json").read_text()
    assert (line.met, number(line.value)) == (False, "never")


def test_a_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("[{")
    assert summary.read(tmp_path / "summary.json") == []


def test_only_a_large_enough_sample_shows_a_target() -> None:
    one = an_experiment("refused")
    small, large = summary.lines_of(one, [share_reached("s", n, n, 0.9999) for n in (300, 30_000)])
    assert small.met
    assert not small.is_proven
    assert large.is_proven
