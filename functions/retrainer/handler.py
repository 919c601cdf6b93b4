"""The retrainer's edge: a schedule or a command in, a retraining and its run out; or a compaction of the archive."""

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from fiso import telemetry
from fiso.codecs.run import RUNS
from fiso.domain.model import RetrainingRun
from fiso.retrainer_settings import RetrainerSettings
from fiso.services.maintenance.follow import Follower
from fiso.services.maintenance.retrain import Retrainer
from fiso.services.maintenance.watch import DriftWatch
from functions.retrainer import wiring

logger = logging.getLogger("fiso.retrainer")

SPARE = timedelta(seconds=60)
"""Before the function is stopped: what was begun is brought to its end, and the end is recorded."""


@cache
def _retrainer() -> Retrainer | Follower:
    telemetry.logger()
    return wiring.build(_settings(), metrics=telemetry.metrics())


@cache
def _watch() -> DriftWatch:
    telemetry.logger()
    return wiring.watch(_settings(), metrics=telemetry.metrics())


@cache
def _settings() -> RetrainerSettings:
    return RetrainerSettings.from_environ(os.environ)


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """One retraining, or of `{"roll_back": true}` a promotion of the model before: the answer is the run. Of
    `{"trial": true}` a look at the challenger on trial; of `{"compact": true}` one run of compaction; of
    `{"drift": true}` one look for drift, with the retraining that it asks for."""
    telemetry.identify(event, context)
    now, asked = wiring.utc_now(), event if isinstance(event, Mapping) else {}
    try:
        if asked.get("compact") is True:
            return _compacted(ends_at(now, context))
        if asked.get("drift") is True:
            retrainer = _retrainer() if _settings().retrains_on_drift else None
            return watched(_watch(), retrainer, now, ends_at(now, context))
        if asked.get("trial") is True:
            return looked(_retrainer(), now, ends_at(now, context))
        if asked.get("roll_back") is True:
            run = _retrainer().roll_back(now=now, trigger=trigger_of(event))
        else:
            run = _retrainer().retrain(now=now, trigger=trigger_of(event), ends_at=ends_at(now, context))
        tell(run)
        return RUNS.to_document(run)
    finally:
        telemetry.flush()


def tell(run: RetrainingRun) -> None:
    """The line that the dashboard's table shows, and that a run ended: an alarm rings where none does."""
    done = {
        "trigger": run.trigger,
        "rows": run.rows,
        "promoted": run.promoted,
        "reason": run.reason,
        "champion_version": run.champion_version,
        "challenger_version": run.challenger_version,
        "champion_error": run.champion_error,
        "challenger_error": run.challenger_error,
    }
    logger.info("retraining done", extra=done)
    telemetry.metrics().add("RetrainerRuns", 1, "Count")


def _compacted(until: datetime) -> dict[str, Any]:
    telemetry.logger()
    run = wiring.compaction(_settings()).compact(ends_at=until)
    telemetry.metrics().add("ArchiveCompacted", run.is_done, "Count")
    return asdict(run)


def watched(
    watch: DriftWatch, retrainer: Retrainer | Follower | None, now: datetime, until: datetime
) -> dict[str, Any]:
    """A look's report; with the run of the retraining that drift sets off, where the stage wants that."""
    report = watch.look(now=now, ends_at=until)
    answer: dict[str, Any] = dict(RUNS.to_document(report))
    if report.is_drift and retrainer is not None:
        run = retrainer.retrain(now=now, trigger="drift", ends_at=until)
        tell(run)
        answer["run"] = RUNS.to_document(run)
    return answer


def looked(retrainer: Retrainer | Follower, now: datetime, until: datetime) -> dict[str, Any]:
    """The run whose challenger is on trial, as it stands; empty while none is. A standby has no trials of its own."""
    run = retrainer.look(now=now, ends_at=until) if isinstance(retrainer, Retrainer) else None
    return {} if run is None else dict(RUNS.to_document(run))


def ends_at(now: datetime, context: object) -> datetime:
    """When nothing long is begun any more."""
    left = getattr(context, "get_remaining_time_in_millis", lambda: 900_000)
    return now + timedelta(milliseconds=left()) - SPARE


def trigger_of(event: object) -> str:
    """`schedule` for what EventBridge sends: its own event, or the schedule's input `{"trigger": "schedule"}`."""
    fields = event if isinstance(event, Mapping) else {}
    is_scheduled = fields.get("source") in {"aws.events", "aws.scheduler"} or fields.get("trigger") == "schedule"
    return "schedule" if is_scheduled else "command"
