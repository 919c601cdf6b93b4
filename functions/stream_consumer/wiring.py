"""Composition root of both readers of the stream."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from time import monotonic
from typing import TYPE_CHECKING

from fiso import telemetry
from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.client import DynamoDBClient, JsonClient, S3Client
from fiso.adapters.aws.cloudwatch_logs import LOGS, CloudWatchLines
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, key_of_item
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.dynamodb_rollups import DynamoDBRollups
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.s3 import S3DeadLetters
from fiso.adapters.clock import utc_now
from fiso.adapters.http.otlp import OtlpSpans
from fiso.ports import (
    ArchiveSink,
    CloudMonitor,
    DeadLetters,
    EndpointStates,
    LineLog,
    RecordedRecords,
    RecordLists,
    Rollups,
    SpanSink,
)
from fiso.settings import LOCAL_STAGE, BadSetting, StreamConsumerSettings
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport

if TYPE_CHECKING:
    from fiso.domain.identity import EntraIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    log: RecordedRecords
    lists: RecordLists
    states: EndpointStates
    archive: ArchiveSink
    letters: DeadLetters
    rollups: Rollups | None = None
    predictions: LineLog | None = None
    spilled: LineLog | None = None
    spans: SpanSink | None = None
    stage: str = ""
    monitors: tuple[CloudMonitor, ...] = ()
    """Of the clouds that are told of their copies."""


AZURE_MONITOR = "https://monitor.azure.com"
ARCHIVE_TIMEOUT_S = 5.0
COPY_TIMEOUT_S = 2.0

key_of = key_of_item
"""Where the log holds what a stream record's image tells of."""


def build(settings: StreamConsumerSettings) -> Stores:
    """Wire the stores on AWS."""
    credentials, transport = Credentials.from_environ(os.environ), HttpTransport()

    def service(name: str, region: str | None = None) -> SignedService:
        endpoint = AwsEndpoint.from_environ(name, os.environ, region=region)
        return SignedService(endpoint=endpoint, credentials=credentials, transport=transport, clock=utc_now)

    logs = JsonClient(service("logs"), LOGS)

    def lines(group: str) -> LineLog | None:
        return CloudWatchLines(logs, group, clock=utc_now) if group else None

    dynamodb, s3 = DynamoDBClient(service("dynamodb")), S3Client(service("s3"), timeout_s=ARCHIVE_TIMEOUT_S)
    archive: ArchiveSink = S3Archive(s3, settings.bucket, clock=utc_now)
    if settings.copies_to is not None:
        from fiso.services.log.copying import CopiedArchive

        there = S3Client(service("s3", settings.copies_to.region), timeout_s=COPY_TIMEOUT_S)
        archive = CopiedArchive(
            own=archive,
            other=S3Archive(there, settings.copies_to.bucket, clock=utc_now),
            metrics=telemetry.metrics(),
            stopwatch=monotonic,
        )
    return Stores(
        log=DynamoDBInvocationLog(dynamodb, settings.log_table, clock=utc_now),
        lists=DynamoDBLists(dynamodb, settings.state_table, clock=utc_now),
        states=DynamoDBEndpointStates(
            dynamodb, settings.state_table, clock=utc_now, marks_as_before=settings.marks_as_before
        ),
        archive=archive,
        rollups=DynamoDBRollups(dynamodb, settings.state_table),
        predictions=lines(settings.predictions_log_group),
        spilled=lines(settings.spill_log_group),
        spans=OtlpSpans(transport, settings.otlp_url) if settings.otlp_url else None,
        letters=S3DeadLetters(s3, settings.bucket, clock=utc_now),
        stage=settings.stage,
        monitors=tuple(_monitors(settings, service("sts"), credentials, transport)),
    )


def _monitors(
    settings: StreamConsumerSettings, sts: SignedService, credentials: Credentials, transport: HttpTransport
) -> Iterator[CloudMonitor]:
    """Loads what the stage is set to."""
    told = {"azure": settings.azure_monitoring, "google": settings.google_monitoring}
    if not any(each.strip() for each in told.values()):
        return
    from fiso.adapters.http.monitoring import azure_monitor, google_monitor
    from fiso.domain.identity import AzureMonitoring, GoogleMonitoring

    is_local = settings.stage == LOCAL_STAGE
    try:
        azure = AzureMonitoring.parsed(told["azure"], is_local=is_local) if told["azure"].strip() else None
        google = GoogleMonitoring.parsed(told["google"], is_local=is_local) if told["google"].strip() else None
    except ValueError as error:
        raise BadSetting(f"FISO_AZURE_MONITORING or FISO_GOOGLE_MONITORING: {error}") from error
    bearer: Callable[[], str] = _nobodys
    if azure is not None:
        if azure.identity is not None:
            bearer = entra_bearer(azure.identity, sts, transport)
        yield azure_monitor(transport, bearer, azure.url)
    if google is not None:
        if google.identity is not None:
            from fiso.adapters.identity import google_identity

            subject = google_identity.of_aws(google.identity, credentials, sts.endpoint.region, utc_now)
            bearer = google_identity.GoogleIdTokens(google.identity, subject=subject, transport=transport).bearer
        yield google_monitor(
            transport, bearer, project=google.project, stage=settings.stage, clock=utc_now, url=google.url
        )


def entra_bearer(
    identity: "EntraIdentity", sts: SignedService, transport: HttpTransport, *, login: str = ""
) -> Callable[[], str]:
    """Tokens for Azure Monitor."""
    from fiso.adapters.identity.entra_identity import LOGIN, EntraTokens, of_aws

    tokens = EntraTokens(identity, word=of_aws(sts), transport=transport, login=login or LOGIN)
    return partial(tokens.bearer, AZURE_MONITOR)


def _nobodys() -> str:
    """Local servers ask nobody who he is."""
    return "local"


@cache
def stores() -> Stores:
    """Those of this execution environment."""
    telemetry.logger()
    return build(StreamConsumerSettings.from_environ(os.environ))
