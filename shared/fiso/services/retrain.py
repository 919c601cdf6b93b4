"""Retraining: from the archive to a new champion, or to a recorded refusal.

    champion -> archive -> data set -> challenger -> comparison on the newest rows -> publish | refuse -> run recorded

Killed at any point it leaves the old champion serving: the store's pointer moves last, the run is recorded after it.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from fiso.domain.errors import ModelRefused, StoreError
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.learning import dataset, evaluate, export, promotion, train
from fiso.learning.dataset import DataSet, Floats, Halves
from fiso.learning.promotion import Rules
from fiso.learning.train import Family
from fiso.ports import Archive, ModelStore, RetrainingRuns
from fiso.prediction import artifact
from fiso.prediction.artifact import LATENCY

NO_MODEL = "baseline"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrainer:
    """The retraining use case. Only rows of the last `lookback_days` count; the minimums are rows, too."""

    models: ModelStore
    archive: Archive
    runs: RetrainingRuns
    minimum_rows: int
    minimum_new_rows: int
    lookback_days: int
    family: Family = Family.BOOSTING

    def retrain(self, *, now: datetime, trigger: str) -> RetrainingRun:
        """One retraining, recorded. `StoreError` only when not even the run can be recorded."""
        run = self._run(now, trigger)
        self.runs.append(run)
        logger.info("challenger %s: %s", "promoted" if run.promoted else "refused", run.reason)
        return run

    def _run(self, now: datetime, trigger: str) -> RetrainingRun:
        run = RetrainingRun(
            started_at=now, trigger=trigger, rows=0, promoted=False, reason="", champion_version=NO_MODEL
        )
        try:
            champion = self.models.champion()
            data = dataset.build(self.archive.since((now - timedelta(days=self.lookback_days)).date()))
        except (StoreError, ModelRefused) as error:
            return replace(run, reason=f"champion or archive could not be read: {error}")
        run = replace(run, rows=len(data), champion_version=_version_of(champion, data))
        rules = Rules(minimum_rows=self.minimum_rows, minimum_new_rows=self.minimum_new_rows)
        new_rows = len(data) if champion is None else data.after(champion.trained_at.timestamp())
        halves = dataset.split(data, newest=new_rows)
        refusal = promotion.refusal_before_training(len(data), new_rows=new_rows, rules=rules)
        refusal = refusal or promotion.refusal_of_split(halves)
        return replace(run, reason=refusal) if refusal else self._challenge(run, champion, halves)

    def _challenge(self, run: RetrainingRun, champion: ModelPointer | None, halves: Halves) -> RetrainingRun:
        trained = train.train(halves.train, family=self.family)
        duel = _duel(
            self._champions_latencies(champion, halves.held_out),
            trained.fit_of(LATENCY).predict(halves.held_out.features),
            halves.held_out.latency_ms,
        )
        run = replace(run, champion_error=duel.champion_error, challenger_error=duel.challenger_error)
        verdict = promotion.judge(champion_error=duel.champion_error, challenger_error=duel.challenger_error)
        try:
            origin = export.Origin(version_prefix=f"{run.started_at:%Y%m%dT%H%M%SZ}", trained_at=run.started_at)
            files = export.package(trained, halves, origin)
            run = replace(run, challenger_version=files.pointer.version)
            if verdict.promoted:
                self.models.publish(files)
        except (ModelRefused, StoreError) as error:
            return replace(run, reason=f"the challenger could not be published: {error}")
        return replace(run, promoted=verdict.promoted, reason=verdict.reason)

    def _champions_latencies(self, champion: ModelPointer | None, data: DataSet) -> Floats:
        """What the champion says of these rows; what was said when they were served, if it cannot be asked."""
        if champion is None:
            return data.served_latency_ms
        try:
            model = artifact.read(self.models.artifact(champion), sha256=champion.sha256)
        except (ModelRefused, StoreError) as error:
            logger.warning("champion %s cannot be asked, logged predictions stand for it: %s", champion.version, error)
            return data.served_latency_ms
        rows = export.serving_rows(data).tolist()
        return np.array([model.predict(row).latency_ms for row in rows], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duel:
    champion_error: float | None
    challenger_error: float | None


def _duel(champions_ms: Floats, challengers_ms: Floats, actual_ms: Floats) -> _Duel:
    """Both errors over the same rows: those that the champion has a word on, or all when it has none."""
    both = np.isfinite(champions_ms) if np.any(np.isfinite(champions_ms)) else np.full(len(actual_ms), True)
    return _Duel(
        champion_error=evaluate.latency_error(champions_ms[both], actual_ms[both]),
        challenger_error=evaluate.latency_error(challengers_ms[both], actual_ms[both]),
    )


def _version_of(champion: ModelPointer | None, data: DataSet) -> str:
    """The published version; before the first one, whatever served last."""
    if champion is not None:
        return champion.version
    return next((version for version in reversed(data.served_by) if version), NO_MODEL)
