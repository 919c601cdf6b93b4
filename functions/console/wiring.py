"""Wiring: the console's app over DynamoDB and S3. The only module here that knows AWS."""

from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from flask import Flask

from fiso.adapters.dynamodb import DynamoDBEndpointStates, DynamoDBInvocationLog
from fiso.adapters.s3 import S3RetrainingRuns, S3Snapshots
from fiso.adapters.s3_models import S3ModelStore
from fiso.settings import ConsoleSettings
from functions.console import app
from functions.console.sources import Sources

PATIENCE = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
"""A person waits: a store that is away is said to be away within seconds."""


def build(settings: ConsoleSettings, *, dynamodb: Any = None, s3: Any = None) -> Flask:
    """The app for an execution environment. Clients are made here unless given."""
    dynamodb = dynamodb or boto3.client("dynamodb", config=PATIENCE)
    s3 = s3 or boto3.client("s3", config=PATIENCE)
    sources = Sources(
        log=DynamoDBInvocationLog(dynamodb, settings.log_table, clock=_utc_now),
        states=DynamoDBEndpointStates(dynamodb, settings.state_table, clock=_utc_now),
        snapshots=S3Snapshots(s3, settings.bucket),
        models=S3ModelStore(s3, settings.bucket),
        runs=S3RetrainingRuns(s3, settings.bucket),
        clock=_utc_now,
    )
    return app.create(sources, stage=settings.stage)


def _utc_now() -> datetime:
    return datetime.now(UTC)
