"""Row 15: models that are missing, damaged, foreign, hostile, wrongly signed or slow to come, and what requests see."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none, quantile, share_reached

if TYPE_CHECKING:
    from tests.lab.chaos.bad_models import Trial

FLIPS = 300
DECISION_MS = 5.0
FIRST_MS = 80.0
"""A cold request waits 50 ms for the model, once."""
SLOW_READ_S = 3.0


def run(setting: Setting) -> Sequence[Figure]:
    """Publish each bad model in turn into a bucket and start a cold environment over it."""
    from tests.lab.chaos.bad_models import trials

    seen = list(trials(setting, flips=FLIPS, slow_read_s=SLOW_READ_S))
    bad, slow = [trial for trial in seen if trial.is_bad], [trial for trial in seen if not trial.is_bad]
    return (
        share_reached("refused before anything was opened", sum(trial.is_refused for trial in bad), len(bad), 1.0),
        count_of_none("code of a hostile file that ran", int(_trace(setting.folder).exists()), len(bad), "runs"),
        count_of_none("failed requests", sum(trial.failed for trial in seen), _requests(seen), "requests"),
        count_of_none("decisions by a model that must not serve", sum(t.misled for t in bad), len(bad), "models"),
        _time("FISO's own time of a request that falls back, p99", [ms for t in bad for ms in t.later_ms], DECISION_MS),
        _time("the same while the model's file hangs", [ms for t in slow for ms in t.later_ms], DECISION_MS),
        _time("a first request while the model's file hangs", [t.first_ms for t in slow], FIRST_MS),
    )


def _trace(folder: Path) -> Path:
    return folder / "code-ran"


def _requests(seen: "Sequence[Trial]") -> int:
    return sum(trial.requests for trial in seen)


def _time(name: str, values_ms: Sequence[float], most_ms: float) -> Figure:
    value = quantile(values_ms, 0.99)
    return Figure(name=name, value=round(value, 3), op=Op.AT_MOST, target=most_ms, unit="ms", n=len(values_ms))


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=15,
        name="models",
        question="Does a model that is missing, damaged, hostile or wrongly signed decide, or cost a request?",
        run=run,
    ),
)
