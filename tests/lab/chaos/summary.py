"""The summary: the figures of the last run of every experiment, as a JSON file that a partial run adds to."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.lab.chaos.experiment import Experiment
from tests.lab.chaos.figures import Figure, Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure as it is kept. `name` begins with its experiment's name. `value` is None where it is infinite."""

    row: int
    name: str
    value: float | None
    op: str
    target: float
    unit: str
    n: int
    bound: float | None
    met: bool

    @property
    def is_proven(self) -> bool:
        """Whether the sample shows the target, too, with 95 % confidence."""
        if self.bound is None or not self.met:
            return False
        return self.bound >= self.target if self.op == Op.AT_LEAST else self.bound <= self.target

    @property
    def verdict(self) -> str:
        """`met` or `MISSED`."""
        return "met" if self.met else "MISSED"


def lines_of(experiment: Experiment, figures: Sequence[Figure]) -> list[Line]:
    """An experiment's figures."""
    return [
        Line(
            row=experiment.row,
            name=f"{experiment.name}: {figure.name}",
            value=figure.value if abs(figure.value) != float("inf") else None,
            op=figure.op,
            target=figure.target,
            unit=figure.unit,
            n=figure.n,
            bound=figure.bound,
            met=figure.is_met,
        )
        for figure in figures
    ]


def broke(experiment: Experiment) -> Line:
    """What stands for the figures of an experiment that raised."""
    name = f"{experiment.name}: broke"
    return Line(
        row=experiment.row, name=name, value=1, op=Op.EQUALS, target=0, unit="errors", n=1, bound=None, met=False
    )


def read(file: Path) -> list[Line]:
    """The figures kept; none where the file is missing or does not parse."""
    try:
        return [Line(**document) for document in json.loads(file.read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def write(file: Path, experiment: Experiment, lines: Sequence[Line]) -> list[Line]:
    """Put an experiment's figures in the place of its former ones; the whole file is replaced at once."""
    others = [line for line in read(file) if not line.name.startswith(f"{experiment.name}: ")]
    kept = sorted([*others, *lines], key=lambda line: line.row)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(documents(kept), indent=2) + "\n", encoding="utf-8")
    draft.replace(file)
    return kept


def documents(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """JSON-able; an infinite value is null."""
    return [asdict(line) for line in lines]


def number(value: float | None) -> str:
    """A figure's number; one that never came is told so."""
    if value is None:
        return "never"
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:,.5g}"
