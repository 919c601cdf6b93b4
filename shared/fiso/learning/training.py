"""One training, wherever it runs: rows and settings in; an unsigned model and a report of it out. Pure.

The retrainer calls it in its Lambda, the training platforms' entry point in their containers, the command line here.
The same rows and settings make the same bytes on one machine, with whatever number of processors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from math import inf

import numpy as np

from fiso.domain.errors import ModelRefused
from fiso.learning import dataset, evaluate, export
from fiso.learning import train as estimators
from fiso.learning.dataset import DataSet, Floats, Halves
from fiso.learning.train import Family, Trained
from fiso.ports import ModelFiles
from fiso.prediction.artifact import LATENCY


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """`families`: of several the one whose latency error is smallest on the newest fifth of the rows to learn from,
    so that the held-out rows choose nothing. `trained_at` None: from a seed, at no particular time. `parent` is the
    version that the model is to replace."""

    families: tuple[Family, ...] = (Family.BOOSTING,)
    version_prefix: str = "trained"
    trained_at: datetime | None = None
    parent: str | None = None
    note: str = ""
    with_quantiles: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What came of it. `files.artifact` are the bytes that serve, `files.card` the report; nothing is signed yet.
    `errors` has each family that was tried, with its geometric latency error."""

    files: ModelFiles
    trained: Trained
    halves: Halves
    origin: export.Origin
    errors: dict[Family, float] = field(default_factory=dict)


def train(rows: DataSet | Halves, settings: TrainingSettings, *, done: Callable[[str], None] | None = None) -> Training:
    """Train, export, compare the export with its estimators. `ModelRefused` says in one line why there is no model:
    too few rows, nothing to tell apart, or an export that differs."""
    halves = rows if isinstance(rows, Halves) else dataset.split(dataset.capped(rows))
    refusal = evaluate.refusal_of_split(halves)
    if refusal:
        raise ModelRefused(refusal)
    errors = _errors(halves.train, settings.families) if len(settings.families) > 1 else {}
    family = min(errors, key=lambda each: errors[each]) if errors else settings.families[0]
    trained = estimators.train(halves.train, family=family, with_quantiles=settings.with_quantiles, done=done)
    origin = export.Origin(
        version_prefix=settings.version_prefix,
        trained_at=settings.trained_at,
        note=settings.note,
        parent=settings.parent,
        window=_window(halves),
        rows_sha256=digest(halves),
    )
    return Training(
        files=export.package(trained, halves, origin), trained=trained, halves=halves, origin=origin, errors=errors
    )


def refitted(made: Training, settings: TrainingSettings) -> ModelFiles:
    """The same training on all rows, once the held-out ones have judged: without the newest rows the model would be
    of the world of days ago. The verdict stays the judged one's, and so do the errors in its card."""
    rows = made.halves.all_rows
    trained = estimators.train(rows, family=made.trained.family, with_quantiles=settings.with_quantiles)
    halves = replace(made.halves, train=rows)
    return export.package(trained, halves, made.origin, judged=made.trained)


def digest(halves: Halves) -> str:
    """Of the rows, learned from and held out: two models of one digest learned from the same."""
    found = sha256()
    for half in (halves.train, halves.held_out):
        for column in (half.features, half.at, half.latency_ms, half.cost_usd, half.success):
            found.update(np.ascontiguousarray(column, dtype="<f8").tobytes())
    return found.hexdigest()


def error_of(family: Family, rows: DataSet, unseen: DataSet) -> float:
    """The geometric latency error of a model of `rows` on others; infinite where it cannot be measured."""
    said: Floats = estimators.train(rows, family=family).fit_of(LATENCY).predict(unseen.features)
    error = evaluate.latency_error(said, unseen.latency_ms) if np.all(np.isfinite(said)) else None
    return inf if error is None else error


def _errors(rows: DataSet, families: tuple[Family, ...]) -> dict[Family, float]:
    """Each family's latency error on the newest fifth; none where that is too small."""
    inner = dataset.split(rows)
    if evaluate.refusal_of_split(inner):
        return {}
    return {family: error_of(family, inner.train, inner.held_out) for family in families}


def _window(halves: Halves) -> tuple[datetime, datetime] | None:
    if halves.train.is_synthetic:
        return None
    moments = np.concatenate([halves.train.at, halves.held_out.at])
    first, last = float(moments.min()), float(moments.max())
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
