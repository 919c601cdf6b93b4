"""Composition root of both readers of the stream."""

import os
from dataclasses import dataclass
from time import monotonic

from fiso import telemetry
from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.client import DynamoDBClient, JsonClient, S3Client
from fiso.adapters.aws.cloudwatch_logs import LOGS, CloudWatchLines
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, key_of_item
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.s3 import S3DeadLetters
from fiso.adapters.clock import utc_now
from fiso.adapters.http.otlp import OtlpSpans
from fiso.ports import ArchiveSink, DeadLetters, EndpointStates, LineLog, RecordedRecords, RecordLists, SpanSink
from fiso.settings import StreamConsumerSettings
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    log: RecordedRecords
    lists: RecordLists
    states: EndpointStates
    archive: ArchiveSink
    letters: DeadLetters
    predictions: LineLog | None = None
    spans: SpanSink | None = None


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

    group, logs = settings.predictions_log_group, JsonClient(service("logs"), LOGS)
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
        predictions=CloudWatchLines(logs, group, clock=utc_now) if group else None,
        spans=OtlpSpans(transport, settings.otlp_url) if settings.otlp_url else None,
        letters=S3DeadLetters(s3, settings.bucket, clock=utc_now),
    )
