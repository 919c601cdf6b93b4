"""The claims on the stream, on a sample that takes seconds: the experiments are the same, the history shorter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.chaos.experiment import Setting
from tests.lab.chaos.experiments import stream
from tests.lab.chaos.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Short(Setting):
    """A setting with a sample of its own."""

    sample: int

    def sized(self, full: int, quick: int) -> int:
        """Always the sample."""
        return self.sample


@pytest.mark.parametrize(("run", "sample"), [(stream.repeated_deliveries, 300), (stream.poison, 100)])
def test_every_figure_keeps_its_target(
    run: Callable[[Setting], Sequence[Figure]], sample: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BATCH", 10)  # the whole batch of poison, too, is ten times smaller
    monkeypatch.setattr(stream, "KILLS", 0.3)
    monkeypatch.setattr(stream, "LOST_ANSWERS", 0.3)  # there are some thirty transactions, with draws by many threads
    figures = run(Short(is_quick=True, seed=3, folder=tmp_path, say=lambda _: None, sample=sample))
    assert [figure for figure in figures if not figure.is_met] == []
