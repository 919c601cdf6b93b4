"""Where a rig keeps catalog, states and log: a store process of its own, or the emulator of AWS with genuine adapters.

Own: 200 requests a second on 2 cores beside the providers and the load (FISO's own time p50 1.4 ms), and it outlives
the workers. Emulated: the genuine DynamoDB and S3 code end to end, up to 25 a second (p50 5.5 ms); at 50 the emulator
is what is measured (18 ms, p99 0.5 s). Tables as the template declares them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, record_from_item
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.s3 import S3Snapshots
from fiso.codecs import signature
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import StoreError
from fiso.domain.record import InvocationRecord
from fiso.services.log.ingest import ingest
from fiso_cli.training import keys
from tests.lab.chaos.emulator import EmulatorProcess, start
from tests.lab.chaos.rig.children import Child
from tests.lab.chaos.rig.store import FOLD_EVERY_S, NoArchive, StoreLink, outlines_of

LOG_TABLE, STATE_TABLE, BUCKET, LOG_GROUP = "log-rig", "state-rig", "bucket-rig", "/fiso/rig/api"
LOOKS_BACK = timedelta(seconds=10)
"""How far before the newest folded record the emulated stream looks again: records close in another order."""

Outlines = Mapping[str, Sequence[tuple[str, str | None, float]]]


class Stores(Protocol):
    """What a rig needs of its stores."""

    def current(self) -> Snapshot | None:
        """The catalog as it was last published."""
        ...

    def publish(self, snapshot: Snapshot) -> None:
        """Publish a catalog."""
        ...

    def outlines(self) -> Outlines:
        """Per closed record its attempts: endpoint, failure if any, latency in ms."""
        ...

    def worker_config(self) -> Mapping[str, str]:
        """What a worker is told of them: `store`, the socket of an own one, or the addresses of AWS's."""
        ...

    def close(self) -> None:
        """End them."""
        ...


class OwnStores:
    """The rig's own store process."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "store.sock")
        self.process = Child("tests.lab.chaos.rig.store", {"socket": self._socket}, name="store", folder=folder)
        self.process.await_ready()
        self.link = StoreLink(self._socket, timeout_s=60)

    def current(self) -> Snapshot | None:
        """The catalog as it was last published."""
        found: Snapshot | None = self.link.call("snapshots", "current")
        return found

    def publish(self, snapshot: Snapshot) -> None:
        """Publish a catalog."""
        self.link.call("snapshots", "publish", snapshot)

    def outlines(self) -> Outlines:
        """Per closed record its attempts."""
        found: Outlines = self.link.call("log", "outlines")
        return found

    def worker_config(self) -> Mapping[str, str]:
        """The store's socket."""
        return {"store": self._socket}

    def close(self) -> None:
        """End the process."""
        self.process.kill()


class EmulatedStores:
    """The emulator's. Where it `folds`, a thread of this process folds closed records, as the stream consumer would.
    `dynamodb_url` is where workers reach the tables, when something stands before them."""

    def __init__(self, cloud: EmulatorProcess, *, dynamodb_url: str = "", folds: bool = True) -> None:
        self._cloud, self._dynamodb_url = cloud, dynamodb_url or cloud.url
        dynamodb = cloud.client("dynamodb")
        self.log = DynamoDBInvocationLog(dynamodb, LOG_TABLE, clock=_utc_now)
        self._snapshots = S3Snapshots(cloud.client("s3"), BUCKET, keys.sealing(keys.passing()))
        self._states = DynamoDBEndpointStates(dynamodb, STATE_TABLE, clock=_utc_now)
        self._ended = Event()
        self._folding = Thread(target=self._fold, daemon=True)
        if folds:
            self._folding.start()

    def current(self) -> Snapshot | None:
        """The catalog as it was last published."""
        return self._snapshots.current()

    def publish(self, snapshot: Snapshot) -> None:
        """Publish a catalog."""
        self._snapshots.publish(snapshot)

    def outlines(self) -> Outlines:
        """Per closed record its attempts."""
        return outlines_of(_closed(self._cloud.client("dynamodb")))

    def worker_config(self) -> Mapping[str, str]:
        """AWS's address, and DynamoDB's, and the key that the catalog is signed with."""
        public = signature.text_of(keys.passing().public.modulus)
        return {"url": self._cloud.url, "dynamodb_url": self._dynamodb_url, "catalog_keys": public}

    def close(self) -> None:
        """End folding and the emulator."""
        self._ended.set()
        if self._folding.is_alive():
            self._folding.join()
        self._cloud.kill()

    def _fold(self) -> None:
        newest = _utc_now()
        while not self._ended.wait(FOLD_EVERY_S):
            with suppress(StoreError):  # it may be what an experiment breaks; the next second tries again
                closed = _closed(self._cloud.client("dynamodb"), after=newest - LOOKS_BACK)
                ingest(closed, states=self._states, archive=NoArchive(), batch_id="rig")
                newest = max((record.timestamp for record in closed), default=newest)


def started(folder: Path) -> EmulatorProcess:
    """An emulator with FISO's tables, the log's stream, the bucket and the log group."""
    cloud = start(folder)
    dynamodb = cloud.client("dynamodb")
    create_tables(dynamodb)
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    dynamodb.update_table(TableName=LOG_TABLE, StreamSpecification=stream)
    cloud.client("s3").create_bucket(Bucket=BUCKET)
    cloud.client("logs").create_log_group(logGroupName=LOG_GROUP)
    return cloud


@contextmanager
def running_emulator(folder: Path) -> Iterator[EmulatorProcess]:
    """One that is `started`, gone with the context."""
    cloud = started(folder)
    try:
        yield cloud
    finally:
        cloud.kill()


def create_tables(dynamodb: Any, log: str = LOG_TABLE, state: str = STATE_TABLE) -> None:
    """The two tables of the request path, by a boto3 client."""
    for table, names in ((log, ("invocation_id", "timestamp")), (state, ("function_name", "item"))):
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=_keys(*names),
        )


def _closed(dynamodb: Any, *, after: datetime | None = None) -> list[InvocationRecord]:
    """All closed records of the log's table."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=LOG_TABLE, ConsistentRead=True)
    records = (record_from_item(item) for page in pages for item in page["Items"])
    closed = [record for record in records if isinstance(record, InvocationRecord)]
    return sorted((r for r in closed if after is None or r.timestamp > after), key=lambda r: r.timestamp, reverse=True)


def _keys(hash_key: str, range_key: str) -> list[dict[str, str]]:
    return [{"AttributeName": hash_key, "KeyType": "HASH"}, {"AttributeName": range_key, "KeyType": "RANGE"}]


def _utc_now() -> datetime:
    return datetime.now(UTC)
