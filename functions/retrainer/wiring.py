"""Composition root of the retrainer: settings in, a ready `Retrainer` out."""

from typing import Any

import boto3
from botocore.config import Config

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.archive_compaction import READERS, Compaction
from fiso.adapters.aws.candidates import KeeperDesk, S3Candidates
from fiso.adapters.aws.models import DynamoDBPromotionWitness, S3ModelStore
from fiso.adapters.aws.s3 import S3DriftReports, S3RetrainingRuns
from fiso.adapters.clock import utc_now
from fiso.adapters.http.signers import NoSigner, OpenKeySigner
from fiso.codecs import signature
from fiso.domain.model import DrawnBy
from fiso.ports import Metrics, Signer
from fiso.retrainer_settings import RetrainerSettings, TrialSettings
from fiso.services.maintenance.follow import Follower
from fiso.services.maintenance.retrain import Retrainer
from fiso.services.maintenance.trial import TrialRules
from fiso.services.maintenance.watch import DriftWatch

__all__ = ["build", "utc_now"]

PATIENCE = Config(
    connect_timeout=2,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=READERS,
)
"""Nobody waits for a retraining, and every write survives being repeated; the archive is read by many at once."""


def build(settings: RetrainerSettings, *, s3: Any = None, metrics: Metrics | None = None) -> Retrainer | Follower:
    """Wire the stores on S3 and whoever promotes. The clients are made here unless given."""
    client = s3 or boto3.client("s3", config=PATIENCE)
    if settings.follows is not None:
        there = boto3.client("s3", region_name=settings.follows.region, config=PATIENCE)
        return Follower(
            leader=S3ModelStore(there, settings.follows.bucket),
            models=S3ModelStore(client, settings.bucket),
            runs=S3RetrainingRuns(client, settings.bucket),
            keys=signature.parsed(settings.model_keys),
            stage=settings.stage,
            witness=_witness(settings),
        )
    return Retrainer(
        models=S3ModelStore(client, settings.bucket),
        archive=S3Archive(client, settings.bucket, clock=utc_now),
        runs=S3RetrainingRuns(client, settings.bucket),
        signer=_signer(settings),
        desk=_desk(settings, client),
        families=settings.families,
        most_rows=settings.most_rows,
        train_on=settings.train_on,
        keys=signature.parsed(settings.model_keys),
        minimum_rows=settings.minimum_rows,
        minimum_new_rows=settings.minimum_new_rows,
        lookback_days=settings.lookback_days,
        stage=settings.stage,
        witness=_witness(settings),
        clock=utc_now,
        metrics=metrics,
        trial=_trial(settings.trial),
    )


def _trial(wanted: TrialSettings | None) -> TrialRules | None:
    if wanted is None:
        return None
    drawn_by = DrawnBy.TENANT if wanted.by_tenant else DrawnBy.REQUEST
    return TrialRules(share=wanted.share, requests=wanted.requests, hours=wanted.hours, drawn_by=drawn_by)


def watch(settings: RetrainerSettings, *, s3: Any = None, metrics: Metrics | None = None) -> DriftWatch:
    client = s3 or boto3.client("s3", config=PATIENCE)
    return DriftWatch(
        models=S3ModelStore(client, settings.bucket),
        archive=S3Archive(client, settings.bucket, clock=utc_now),
        reports=S3DriftReports(client, settings.bucket),
        lookback_days=settings.lookback_days,
        threshold=settings.drift_threshold,
        metrics=metrics,
    )


def compaction(settings: RetrainerSettings, *, s3: Any = None) -> Compaction:
    return Compaction(s3 or boto3.client("s3", config=PATIENCE), settings.bucket, clock=utc_now)


def _witness(settings: RetrainerSettings) -> DynamoDBPromotionWitness | None:
    table = settings.state_table
    return DynamoDBPromotionWitness(boto3.client("dynamodb", config=PATIENCE), table) if table else None


def _desk(settings: RetrainerSettings, s3: Any) -> KeeperDesk | None:
    """None promotes in this process, with the key in the open of the local stage."""
    if settings.keeper_function is None:
        return None
    client = boto3.client("lambda", config=PATIENCE)
    return KeeperDesk(client, settings.keeper_function, S3Candidates(s3, settings.bucket))


def _signer(settings: RetrainerSettings) -> Signer:
    key = settings.local_signing_key
    return OpenKeySigner.parsed(key) if key else NoSigner("fiso model-key")
