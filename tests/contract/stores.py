"""The implementations of each store's port: in memory, and on DynamoDB and S3 as the emulator speaks them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.dynamodb_breakers import DynamoDBSharedBreakers
from fiso.adapters.aws.dynamodb_idempotency import DynamoDBIdempotencyKeys
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.dynamodb_rollups import DynamoDBRollups
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.models import DynamoDBPromotionWitness, S3ModelStore
from fiso.adapters.aws.s3 import S3RetrainingRuns, S3Snapshots, S3Watermark
from fiso.adapters.aws.snapshots import DynamoDBSnapshotCopy
from fiso.adapters.aws.tenant_use import DynamoDBTenantUse
from fiso.ports import (
    Archive,
    EndpointStates,
    IdempotencyKeys,
    InvocationLog,
    ModelStore,
    PromotionWitness,
    RecordedRecords,
    RecordLists,
    RetrainingRuns,
    Rollups,
    SharedBreakers,
    Snapshots,
    TenantUse,
    Watermark,
)
from fiso.testing import memory
from fiso.testing.clock import ManualClock
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso.testing.memory_rollups import InMemoryRollups
from fiso_cli.training import keys
from fiso_client.core.transport import HttpTransport
from functions.console.sources import Records
from tests.emulator import aws, signed
from tests.lab.chaos.rig.stores import create_tables
from tests.models import a_signer


class Log(InvocationLog, RecordedRecords, Records, Protocol):
    """As requests write it, as the stream consumer reads it, and as the console does."""


@dataclass(frozen=True, kw_only=True)
class Stores:
    """One implementation of every port, and the clock that it goes by."""

    clock: ManualClock
    log: Log
    lists: RecordLists
    states: EndpointStates
    snapshots: Snapshots
    copy: Snapshots
    promotions: PromotionWitness
    models: ModelStore
    archive: Archive
    runs: RetrainingRuns
    watermark: Watermark
    breakers: SharedBreakers
    keys: IdempotencyKeys
    use: TenantUse
    rollups: Rollups


@dataclass(frozen=True, kw_only=True)
class Emulated:
    """Empty tables and an empty bucket of one test's own, and the SDK's clients."""

    url: str
    dynamodb: Any
    s3: Any
    name: str = field(default_factory=lambda: uuid4().hex[:8])

    @property
    def log(self) -> str:
        return f"log-{self.name}"

    @property
    def state(self) -> str:
        return f"state-{self.name}"


@contextmanager
def emulated(url: str) -> Iterator[Emulated]:
    """The request path's tables, the idempotency table and the bucket; the latter two have the test's name."""
    with closing(aws("dynamodb", url)) as dynamodb, closing(aws("s3", url)) as s3:
        made = Emulated(url=url, dynamodb=dynamodb, s3=s3)
        create_tables(dynamodb, made.log, made.state)
        dynamodb.create_table(
            TableName=made.name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "idempotency_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "idempotency_id", "KeyType": "HASH"}],
        )
        s3.create_bucket(Bucket=made.name)
        yield made


def in_memory() -> Stores:
    clock = ManualClock()
    return Stores(
        clock=clock,
        log=memory.InMemoryInvocationLog(),
        lists=memory.InMemoryRecordLists(),
        states=memory.InMemoryEndpointStates(),
        snapshots=memory.InMemorySnapshots(),
        copy=memory.InMemorySnapshots(),
        models=memory.InMemoryModelStore(),
        promotions=memory.InMemoryPromotionWitness(),
        archive=memory.InMemoryArchive(),
        runs=memory.InMemoryRetrainingRuns(),
        watermark=memory.InMemoryWatermark(),
        breakers=memory.InMemorySharedBreakers(),
        keys=InMemoryIdempotencyKeys(clock=clock),
        use=memory.InMemoryTenantUse(),
        rollups=InMemoryRollups(),
    )


def by_boto3(at: Emulated) -> Stores:
    return _on_aws(at, ManualClock(), at.dynamodb, at.s3, at.s3)


@contextmanager
def by_signed_calls(at: Emulated) -> Iterator[Stores]:
    """The orchestrator's own clients. Of S3 they read only, but for answers under keys."""
    clock = ManualClock()
    with closing(HttpTransport()) as transport:
        dynamodb = DynamoDBClient(signed("dynamodb", at.url, transport, clock))
        s3 = S3Client(signed("s3", at.url, transport, clock))
        yield _on_aws(at, clock, dynamodb, _ReadThrough(s3, at.s3), s3)


class _ReadThrough:
    def __init__(self, reader: S3Client, other: Any) -> None:
        self.get_object = reader.get_object
        self.put_object = other.put_object
        self.list_objects_v2 = other.list_objects_v2


class _Copy:
    """Reads by one client, writes by the other, as orchestrator and keeper do."""

    def __init__(self, reader: DynamoDBSnapshotCopy, writer: DynamoDBSnapshotCopy) -> None:
        self.current, self.attested, self.publish = reader.current, reader.attested, writer.publish


def _on_aws(at: Emulated, clock: ManualClock, dynamodb: Any, read: Any, s3: Any) -> Stores:
    seals, lists = keys.sealing(a_signer()), DynamoDBLists(dynamodb, at.state, clock=clock)
    return Stores(
        clock=clock,
        log=DynamoDBInvocationLog(dynamodb, at.log, clock=clock, lists=lists),
        lists=lists,
        states=DynamoDBEndpointStates(dynamodb, at.state, clock=clock),
        snapshots=S3Snapshots(read, at.name, seals),
        copy=_Copy(DynamoDBSnapshotCopy(dynamodb, at.state, seals), DynamoDBSnapshotCopy(at.dynamodb, at.state, seals)),
        models=S3ModelStore(read, at.name),
        promotions=DynamoDBPromotionWitness(dynamodb, at.state),
        archive=S3Archive(read, at.name, clock=clock),
        runs=S3RetrainingRuns(read, at.name),
        watermark=S3Watermark(read, at.name),
        breakers=DynamoDBSharedBreakers(dynamodb, at.state, clock=clock),
        keys=DynamoDBIdempotencyKeys(dynamodb, at.name, s3=s3, bucket=at.name, clock=clock),
        use=DynamoDBTenantUse(dynamodb, at.name, clock=clock),
        rollups=DynamoDBRollups(dynamodb, at.state),
    )
