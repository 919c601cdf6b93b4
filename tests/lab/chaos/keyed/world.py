"""Orchestrators of an experiment: the genuine edge and the genuine DynamoDB adapter; an execution environment each."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.dynamodb_idempotency import DynamoDBIdempotencyKeys
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Idempotent, Policy
from fiso.settings import OrchestratorSettings
from fiso.testing.memory import (
    InMemoryEndpointStates,
    InMemoryInvocationLog,
    InMemoryMetrics,
    InMemoryModelStore,
    InMemorySharedBreakers,
    InMemorySnapshots,
)
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from functions.orchestrator.wiring import App, utc_now

NAME = "chaos-keys"
"""Table and bucket."""
ONCE, AGAIN = "once", "again"
"""A function that may not be run again once it may have run, and one that may."""
TIMEOUT_MS = 2_000
REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where store and function are, as text that another process can be given."""

    store_url: str
    function_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request."""

    key: str | None
    payload: str
    function: str = ONCE


class _Context:
    def get_remaining_time_in_millis(self) -> int:
        return 29_000


@contextmanager
def silence() -> Iterator[None]:
    """Keep the orchestrators' own log off standard output; the experiment has a history of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def create_store(url: str) -> None:
    """The table as `storage.yml` has it, and the bucket."""
    import boto3

    login = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}  # nosec B105
    dynamodb, s3 = (boto3.client(service, endpoint_url=url, **login) for service in ("dynamodb", "s3"))
    dynamodb.create_table(
        TableName=NAME,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "idempotency_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "idempotency_id", "KeyType": "HASH"}],
    )
    s3.create_bucket(Bucket=NAME)
    for client in (dynamodb, s3):
        client.close()


def orchestrator(place: Place, transport: HttpTransport) -> App:
    """One execution environment: connections, memory and log of its own; store and function are shared."""
    http = HttpCaller(transport, clock=utc_now, allow_loopback=True)
    metrics = InMemoryMetrics()
    ports = wiring.Ports(
        snapshots=InMemorySnapshots(_snapshot(place.function_url)),
        states=InMemoryEndpointStates(),
        layer=InMemoryModelStore(),
        models=InMemoryModelStore(),
        log=InMemoryInvocationLog(),
        caller=ByProvider({Provider.AZURE: http}),
        shared_breakers=InMemorySharedBreakers(),
        metrics=metrics,
        idempotency_keys=lambda: _keys(place.store_url, transport),
    )
    stage = {"FISO_STAGE": "local", "FISO_LOG_TABLE": NAME, "FISO_STATE_TABLE": NAME, "FISO_BUCKET": NAME}
    settings = OrchestratorSettings.from_environ(stage)
    return wiring.build(settings, metrics=metrics, ports=ports)


def ask(edge: App, sent: Sent) -> dict[str, Any]:
    """The response to one request, through the handler's edge."""
    keyed = {"idempotency-key": sent.key} if sent.key else {}
    path = f"/v1/invoke/{sent.function}"
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "text/plain", **keyed},
        "requestContext": {"http": {"method": "POST", "path": path}, "stage": "$default"},
        "body": sent.payload,
        "isBase64Encoded": False,
    }
    return answer_event(edge, event, _Context())


def _snapshot(function_url: str) -> Snapshot:
    endpoint = Endpoint(
        id=EndpointId("azure"), provider=Provider.AZURE, region="eastus", memory_mb=512, address=function_url
    )
    declared = {ONCE: Idempotent.NO, AGAIN: Idempotent.YES}
    entries = {
        FunctionName(name): CatalogEntry(
            name=FunctionName(name),
            function_type="text",
            endpoints=(endpoint,),
            policy=Policy(version=1, idempotent=idempotent, timeout_ms=TIMEOUT_MS, exploration=0.0),
        )
        for name, idempotent in declared.items()
    }
    return Snapshot(version=1, published_at=datetime.now(UTC), functions=entries)


def _keys(url: str, transport: HttpTransport) -> DynamoDBIdempotencyKeys:
    def service(name: str) -> SignedService:
        return SignedService(
            endpoint=AwsEndpoint(service=name, region=REGION, url=url),
            credentials=Credentials(access_key="test", secret_key="test"),  # nosec B106: the emulator's own
            transport=transport,
            clock=utc_now,
        )

    dynamodb, s3 = DynamoDBClient(service("dynamodb")), S3Client(service("s3"))
    return DynamoDBIdempotencyKeys(dynamodb, NAME, s3=s3, bucket=NAME, clock=utc_now)
