"""The retrainer's edge: a schedule or a command in, one retraining, its run out."""

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from fiso import telemetry
from fiso.codecs.record import instant
from fiso.domain.model import RetrainingRun
from fiso.services.maintenance.follow import Follower
from fiso.services.maintenance.retrain import Retrainer
from fiso.settings import RetrainerSettings
from functions.retrainer import wiring

logger = logging.getLogger("fiso.retrainer")


@cache
def _retrainer() -> Retrainer | Follower:
    telemetry.logger()
    return wiring.build(RetrainerSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """One retraining, or of `{"roll_back": true}` a promotion of the model before. The answer is the run."""
    goes_back = isinstance(event, Mapping) and event.get("roll_back") is True
    telemetry.identify(event, context)
    act = _retrainer().roll_back if goes_back else _retrainer().retrain
    run = act(now=wiring.utc_now(), trigger=trigger_of(event))
    tell(run)
    return to_document(run)


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
    telemetry.flush()


def trigger_of(event: object) -> str:
    """`schedule` for what EventBridge sends: its own event, or the schedule's input `{"trigger": "schedule"}`."""
    fields = event if isinstance(event, Mapping) else {}
    is_scheduled = fields.get("source") in {"aws.events", "aws.scheduler"} or fields.get("trigger") == "schedule"
    return "schedule" if is_scheduled else "command"


def to_document(run: RetrainingRun) -> dict[str, Any]:
    """A run in JSON types."""
    document = {name: getattr(run, name) for name in RetrainingRun.__slots__}
    return document | {"started_at": instant(run.started_at)}
