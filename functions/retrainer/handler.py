"""The retrainer's edge: a schedule or a command in, one retraining, its run out."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from fiso import telemetry
from fiso.codecs.record import instant
from fiso.domain.model import RetrainingRun
from fiso.services.maintenance.retrain import Retrainer
from fiso.settings import RetrainerSettings
from functions.retrainer import wiring


@cache
def _retrainer() -> Retrainer:
    telemetry.logger()
    return wiring.build(RetrainerSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """One retraining, or of `{"roll_back": true}` a promotion of the model before. The answer is the run."""
    goes_back = isinstance(event, Mapping) and event.get("roll_back") is True
    act = _retrainer().roll_back if goes_back else _retrainer().retrain
    return to_document(act(now=wiring.utc_now(), trigger=trigger_of(event)))


def trigger_of(event: object) -> str:
    """`schedule` for what EventBridge sends: its own event, or the schedule's input `{"trigger": "schedule"}`."""
    fields = event if isinstance(event, Mapping) else {}
    is_scheduled = fields.get("source") in {"aws.events", "aws.scheduler"} or fields.get("trigger") == "schedule"
    return "schedule" if is_scheduled else "command"


def to_document(run: RetrainingRun) -> dict[str, Any]:
    """A run in JSON types."""
    document = {name: getattr(run, name) for name in RetrainingRun.__slots__}
    return document | {"started_at": instant(run.started_at)}
