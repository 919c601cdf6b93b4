"""Where a rig keeps catalog, states and log: a store process of its own, or the emulator of AWS with genuine adapters.

Own: 200 requests a second on 2 cores beside the providers and the load (FISO's own time p50 1.4 ms), and it outlives
the workers. Emulated: the genuine DynamoDB and S3 code end to end, up to 25 a second (p50 5.5 ms); at 50 the emulator
is what is measured (18 ms, p99 0.5 s). Tables as the template declares them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from fiso.adapters.aws.dynamodb import DynamoDBEndpointStates, DynamoDBInvocationLog
from fiso.adapters.aws.s3 import S3Snapshots
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import StoreError
from fiso.services.log.ingest import ingest
from tests.lab.chaos.emulator import start
from tests.lab.chaos.rig.children import Child
from tests.lab.chaos.rig.store import FOLD_EVERY_S, NoArchive, StoreLink, outlines_of

LOG_TABLE, STATE_TABLE, BUCKET, REGION = "log-rig", "state-rig", "bucket-rig", "us-east-1"
LOOKS_BACK = timedelta(seconds=10)
"""How far before the newest folded record the emulated stream looks again: records close in another order."""
MOST_RECORDS = 1_000_000

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
        """What a worker is told of them: `store`, the socket of an own one, or `url`, AWS's address."""
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
    """The emulator on a free port; a thread of this process folds closed records, as the stream consumer would."""

    def __init__(self, folder: Path) -> None:
        self._process = start(folder)
        self.url = self._process.url
        dynamodb, s3 = _client("dynamodb", self.url), _client("s3", self.url)
        create_tables(dynamodb)
        s3.create_bucket(Bucket=BUCKET)
        self.log = DynamoDBInvocationLog(dynamodb, LOG_TABLE, clock=_utc_now)
        self._snapshots = S3Snapshots(s3, BUCKET)
        self._states = DynamoDBEndpointStates(dynamodb, STATE_TABLE, clock=_utc_now)
        self._ended = Event()
        self._folding = Thread(target=self._fold, daemon=True)
        self._folding.start()

    def current(self) -> Snapshot | None:
        """The catalog as it was last published."""
        return self._snapshots.current()

    def publish(self, snapshot: Snapshot) -> None:
        """Publish a catalog."""
        self._snapshots.publish(snapshot)

    def outlines(self) -> Outlines:
        """Per closed record its attempts."""
        return outlines_of(self.log.latest(MOST_RECORDS))

    def worker_config(self) -> Mapping[str, str]:
        """AWS's address."""
        return {"url": self.url}

    def close(self) -> None:
        """End folding and the emulator."""
        self._ended.set()
        self._folding.join()
        self._process.kill()

    def _fold(self) -> None:
        newest = _utc_now()
        while not self._ended.wait(FOLD_EVERY_S):
            with suppress(StoreError):  # it may be what an experiment breaks; the next second tries again
                closed = self.log.latest(MOST_RECORDS, after=newest - LOOKS_BACK)
                ingest(closed, states=self._states, archive=NoArchive(), batch_id="rig")
                newest = max((record.timestamp for record in closed), default=newest)


def create_tables(dynamodb: Any, log: str = LOG_TABLE, state: str = STATE_TABLE) -> None:
    """The two tables of the request path, by a boto3 client."""
    texts = ("invocation_id", "timestamp", "open_shard", "deadline_at", "time_shard")
    dynamodb.create_table(
        TableName=log,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": text, "AttributeType": "S"} for text in texts],
        KeySchema=_keys("invocation_id", "timestamp"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": "open-records",
                "KeySchema": _keys("open_shard", "deadline_at"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
            {
                "IndexName": "by-time",
                "KeySchema": _keys("time_shard", "timestamp"),
                "Projection": {"ProjectionType": "ALL"},
            },
        ],
    )
    dynamodb.create_table(
        TableName=state,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": text, "AttributeType": "S"} for text in ("function_name", "item")],
        KeySchema=_keys("function_name", "item"),
    )


def _keys(hash_key: str, range_key: str) -> list[dict[str, str]]:
    return [{"AttributeName": hash_key, "KeyType": "HASH"}, {"AttributeName": range_key, "KeyType": "RANGE"}]


def _client(service: str, url: str) -> Any:
    import boto3  # a third of a second that only emulated stores pay for

    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="rig",
        aws_secret_access_key="rig",  # nosec B106 # the emulator asks nobody for a secret
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
