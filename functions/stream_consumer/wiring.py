"""Composition root of the stream consumer."""

import os
from dataclasses import dataclass

from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.dynamodb import DynamoDBEndpointStates, DynamoDBInvocationLog, key_of_item
from fiso.adapters.aws.s3 import S3Archive
from fiso.adapters.clock import utc_now
from fiso.ports import Archive, EndpointStates, RecordedRecords
from fiso.settings import StreamConsumerSettings
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    log: RecordedRecords
    states: EndpointStates
    archive: Archive


key_of = key_of_item
"""Where the log holds what a stream record's image tells of."""


def build(settings: StreamConsumerSettings) -> Stores:
    """Wire the stores on AWS."""
    import boto3

    credentials = Credentials.from_environ(os.environ)
    endpoint = AwsEndpoint.from_environ("dynamodb", os.environ)
    dynamodb = DynamoDBClient(
        SignedService(endpoint=endpoint, credentials=credentials, transport=HttpTransport(), clock=utc_now)
    )
    return Stores(
        log=DynamoDBInvocationLog(dynamodb, settings.log_table, clock=utc_now),
        states=DynamoDBEndpointStates(dynamodb, settings.state_table, clock=utc_now),
        archive=S3Archive(boto3.client("s3"), settings.bucket, clock=utc_now),
    )
