"""Orchestrators of an experiment: the genuine edge and the genuine DynamoDB adapter; an execution environment each."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.dynamodb_idempotency import DynamoDBIdempotencyKeys
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Idempotent
from fiso.testing.endpoints import OK
from fiso.testing.rig import Rig, http_event, word_count
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from functions.orchestrator.wiring import utc_now

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


def orchestrator(place: Place, transport: HttpTransport) -> Rig:
    """One execution environment: connections, memory and log of its own; store and function are shared."""
    http = HttpCaller(transport, clock=utc_now, allow_loopback=True)
    return Rig(
        *_functions(place.function_url),
        respond=lambda *_: OK,  # genuine time; the caller is replaced below
        ports=lambda ports: replace(
            ports,
            caller=ByProvider({Provider.AZURE: http}),
            idempotency_keys=lambda: _keys(place.store_url, transport),
            clock=utc_now,
            ticks=monotonic,
        ),
    )


def ask(rig: Rig, sent: Sent) -> dict[str, Any]:
    """The response to one request, through the handler."""
    keyed = {"idempotency_key": sent.key, "x_key": sent.key} if sent.key else {}
    return rig.send(http_event("POST", f"/v1/invoke/{sent.function}", sent.payload, content_type="text/plain", **keyed))


def _functions(function_url: str) -> list[CatalogEntry]:
    endpoint = Endpoint(
        id=EndpointId("azure"), provider=Provider.AZURE, region="eastus", memory_mb=512, address=function_url
    )
    declared = {ONCE: Idempotent.NO, AGAIN: Idempotent.YES}
    entries = {name: word_count(idempotent=idempotent, timeout_ms=TIMEOUT_MS) for name, idempotent in declared.items()}
    return [replace(entry, name=FunctionName(name), endpoints=(endpoint,)) for name, entry in entries.items()]


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
