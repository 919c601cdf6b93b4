"""Counting: what the stage's tables and bucket hold, read through the same adapters that the functions use."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3RetrainingRuns
from fiso.codecs.record import instant
from fiso.domain.endpoint import FunctionName
from fiso.domain.model import RetrainingRun, RunEnd
from fiso.domain.record import RecordStatus
from fiso_cli.stage import Stage

Runs: TypeAlias = Sequence[RetrainingRun]

MOST_RUNS = 50
INSTANT = timedelta(milliseconds=1)
"""What a stored time may lack of the true one: it is cut to milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of one stage; `functions` are those whose states are summed."""

    stage: Stage
    functions: Sequence[str]

    def logged_since(self, moment: datetime) -> int:
        """Final records in the log table, those that are folded. By a scan: of a stage on this machine."""
        with self.stage.wrapped_errors():
            pages = (
                self.stage.client("dynamodb")
                .get_paginator("scan")
                .paginate(
                    TableName=self.stage.log_table,
                    FilterExpression="#status = :final AND #timestamp > :after",
                    ExpressionAttributeNames={"#status": "status", "#timestamp": "timestamp"},
                    ExpressionAttributeValues={
                        ":final": {"S": RecordStatus.FINAL.value},
                        ":after": {"S": instant(moment - INSTANT)},
                    },
                    Select="COUNT",
                )
            )
            return sum(page["Count"] for page in pages)

    def folded(self) -> int:
        """The sum of `folded` over every state, that of "no endpoint was called" included."""
        with self.stage.wrapped_errors():
            states = DynamoDBEndpointStates(self.stage.client("dynamodb"), self.stage.state_table, clock=_utc_now)
            found = [states.of_function(FunctionName(function)) for function in self.functions]
        return sum(state.folded for of_function in found for state in of_function.values())

    def runs_since(self, moment: datetime) -> Runs:
        """Retraining runs that have ended, newest first."""
        with self.stage.wrapped_errors():
            latest = S3RetrainingRuns(self.stage.client("s3"), self.stage.bucket).latest(MOST_RUNS)
        ended = [run for run in latest if run.end is not RunEnd.UNDER_WAY]
        return [run for run in ended if run.started_at >= moment - INSTANT]

    def has_champion(self) -> bool:
        """Whether a model was ever published into this stage."""
        with self.stage.wrapped_errors():
            return S3ModelStore(self.stage.client("s3"), self.stage.bucket).champion() is not None


def _utc_now() -> datetime:
    return datetime.now(UTC)
