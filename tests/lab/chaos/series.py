"""A series: experiments run one after the other, each kept when it ends; one that raises does not end the others."""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.chaos import summary
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.summary import Line

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One experiment that was run: its figures, or the error it broke with."""

    experiment: Experiment
    lines: tuple[Line, ...]
    seconds: float
    error: str | None = None

    @property
    def is_met(self) -> bool:
        """Whether every figure keeps its target."""
        return all(line.met for line in self.lines)


def run_one(
    experiment: Experiment, root: Path, *, is_quick: bool, seed: int, say: Callable[[str], None] = lambda _: None
) -> Ran:
    """Run an experiment in its own empty folder under `root`, and keep its figures in `root`'s summary."""
    folder, start = root / experiment.name, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    setting = Setting(is_quick=is_quick, seed=seed, folder=folder, say=say)
    error = None
    try:
        lines: Sequence[Line] = summary.lines_of(experiment, experiment.run(setting))
    except Exception as raised:  # an experiment's outer boundary: what it breaks with is what is reported
        logger.exception("experiment %s broke", experiment.name)
        error = f"{type(raised).__name__}: {raised}".partition("\n")[0]
        lines = [summary.broke(experiment)]
    summary.write(root / "summary.json", experiment, lines)
    return Ran(experiment=experiment, lines=tuple(lines), seconds=time.monotonic() - start, error=error)
