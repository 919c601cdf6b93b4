"""Experiments: one row of the reliability scorecard each: break something, watch, say what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.chaos.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under what an experiment runs.

    `is_quick`: reduced samples, so that all of them together take 15 minutes on 2 cores; only a full run claims the
    figures. `folder` is the experiment's own, empty, for raw histories (JSON lines). `seed` makes what is drawn
    repeatable. `say` shows one short live line: what happens now, with counts.
    """

    is_quick: bool
    seed: int
    folder: Path
    say: Callable[[str], None]

    def sized(self, full: int, quick: int) -> int:
        """A sample size."""
        return quick if self.is_quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """`row` is the scorecard's number, `name` what the command line calls it, `question` what it asks, in a sentence.

    `run` raises nothing for a target that is missed: that is a figure. It cleans up after itself, also when
    interrupted (KeyboardInterrupt passes through).
    """

    row: int
    name: str
    question: str
    run: Callable[[Setting], Sequence[Figure]]
