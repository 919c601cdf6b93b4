"""Composition root of the keeper: the only scheduled function that speaks to PostgreSQL."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
from botocore.config import Config

from fiso.adapters.dynamodb import DynamoDBInvocationLog
from fiso.adapters.postgres import PostgresCatalogStore, connect_from_url
from fiso.adapters.s3 import S3Snapshots
from fiso.adapters.snapshot_copy import CopiedSnapshots, DynamoDBSnapshotCopy
from fiso.ports import CatalogStore, Clock, InvocationLog, Snapshots
from fiso.settings import LOCAL_STAGE, KeeperSettings, MissingSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the keeper reads and writes."""

    log: InvocationLog
    catalog: CatalogStore
    snapshots: Snapshots
    clock: Clock


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def build(settings: KeeperSettings) -> Stores:
    """Wire the stores on AWS and PostgreSQL. No connection is opened yet."""
    config = Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 2})
    url = _database_url(settings, config)
    dynamodb = boto3.client("dynamodb", config=config)
    published: Snapshots = S3Snapshots(boto3.client("s3", config=config), settings.bucket)
    if settings.state_table:
        published = CopiedSnapshots(published, DynamoDBSnapshotCopy(dynamodb, settings.state_table))
    return Stores(
        log=DynamoDBInvocationLog(dynamodb, settings.log_table, clock=utc_now),
        catalog=PostgresCatalogStore(lambda: connect_from_url(url(), is_local=settings.stage == LOCAL_STAGE)()),
        snapshots=published,
        clock=utc_now,
    )


def _database_url(settings: KeeperSettings, config: Config) -> Callable[[], str]:
    if settings.database_url:
        known = settings.database_url
        return lambda: known
    arn = settings.database_secret_arn
    if not arn:
        raise MissingSetting("set FISO_DATABASE_SECRET_ARN (or FISO_DATABASE_URL on the local stage)")
    secrets = boto3.client("secretsmanager", config=config)
    return lambda: str(secrets.get_secret_value(SecretId=arn)["SecretString"])
