"""A world to break the log in: genuine orchestrators over the emulator, DynamoDB behind a faulty store, and a keeper.

Workers write their lines to files, as Lambda's platform would take them; `ship` carries them to CloudWatch. The keeper
is the deployed one but for its catalog and its watermark, which are in memory.
"""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from fiso.adapters.aws.cloudwatch_logs import CloudWatchSpilledRecords
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.dynamodb_items import record_from_item
from fiso.adapters.aws.s3 import S3Snapshots, S3Watermark
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.log.reconcile import Reconciliation
from fiso.services.log.spill import MARK
from fiso.services.maintenance.keep import Keeper
from fiso.testing.memory import InMemorySnapshots
from fiso.testing.memory_catalog import InMemoryCatalogStore
from localcloud.stream_pump.clients import EmulatorStreams
from tests.lab.chaos.log.emulator import LOG_GROUP, Emulator, running_emulator
from tests.lab.chaos.log.faulty_store import FaultyStore, faulty_store
from tests.lab.chaos.rig import load, wire
from tests.lab.chaos.rig.children import Child
from tests.lab.chaos.rig.load import Ask, Phase, Pool
from tests.lab.chaos.rig.rig import PLACES, a_snapshot, environ_of
from tests.lab.chaos.rig.rows import Row
from tests.lab.chaos.rig.stores import BUCKET, LOG_TABLE, REGION

WRITERS = 8
LINES_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a world is made of."""

    workers: int = 2
    environments: int = 8
    p50_ms: float = 110.0
    seed: int = 1


class LogWorld:
    """Made by `running`."""

    def __init__(self, scene: Scene, folder: Path, cloud: Emulator, store: FaultyStore) -> None:
        self.scene, self.folder, self.cloud, self.store = scene, folder, cloud, store
        self.providers = {
            place.value: Child(
                "tests.lab.chaos.rig.provider",
                {"name": place.value, "seed": scene.seed, "p50_ms": scene.p50_ms, "sigma": 0.25},
                name=place.value,
                folder=folder,
            )
            for place in PLACES
        }
        self.workers: list[Child] = []
        self.executor = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="records")
        self._runner, self._rng = asyncio.Runner(), Random(scene.seed)  # nosec B311 # draws arrivals
        self._begun = time.monotonic()
        self._pool: Pool | None = None
        self._shipped: Counter[Path] = Counter()
        self._logs = self.cloud.client("logs")

    def start(self) -> None:
        """Publish the catalog, start the workers, connect environments."""
        self._logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName="workers")
        for child in self.providers.values():
            child.await_ready()
        ports = {name: child.ready["port"] for name, child in self.providers.items()}
        S3Snapshots(self.cloud.client("s3"), BUCKET).publish(a_snapshot(ports))
        stores = {"AWS_ENDPOINT_URL_DYNAMODB": self.store.url}
        for number in range(self.scene.workers):
            config = {
                "socket": str(self.folder / f"worker{number}.sock"),
                "environ": environ_of(ports, self.cloud.url) | stores,
            }
            self.workers.append(Child("tests.lab.chaos.log.worker", config, name=f"worker{number}", folder=self.folder))
        for worker in self.workers:
            worker.await_ready()
        self._pool = self._runner.run(self._connected())

    def run(self, phases: Sequence[Phase], *, rate: float, ask: Callable[[int], Ask]) -> list[Row]:
        """A load of several phases."""
        if self._pool is None:
            raise RuntimeError("the world is not started")
        return self._runner.run(load.run(self._pool, phases, rate=rate, ask=ask, rng=self._rng, begun=self._begun))

    def keeper(self, *, ahead: timedelta = timedelta(0)) -> Keeper:
        """The keeper, its clock ahead of the time by so much."""

        def clock() -> datetime:
            return datetime.now(UTC) + ahead

        log = DynamoDBInvocationLog(self.cloud.dynamodb(url=self.store.url), LOG_TABLE, clock=clock)
        reconciliation = Reconciliation(
            spilled=CloudWatchSpilledRecords(self._logs, LOG_GROUP, mark=MARK),
            watermark=S3Watermark(self.cloud.client("s3"), BUCKET),
            log=log,
            clock=clock,
            executor=self.executor,
        )
        return Keeper(
            log=log,
            reconciliation=reconciliation,
            catalog=InMemoryCatalogStore(clock=clock),
            snapshots=InMemorySnapshots(),
            clock=clock,
            sleep=time.sleep,
            executor=self.executor,
        )

    def ship(self) -> int:
        """Carry the lines that workers wrote since the last time to CloudWatch; how many carried a record."""
        lines = [line for worker in self.workers for line in self._new_lines(worker.log)]
        first_ms = time.time_ns() // 1_000_000 - len(lines)  # one a millisecond, in their order
        for start in range(0, len(lines), LINES_AT_ONCE):
            chunk = enumerate(lines[start : start + LINES_AT_ONCE], first_ms + start)
            events = [{"timestamp": at_ms, "message": line} for at_ms, line in chunk]
            self._logs.put_log_events(logGroupName=LOG_GROUP, logStreamName="workers", logEvents=events)
        return sum(MARK in line for line in lines)

    def records(self) -> list[InvocationRecord | OpenRecord]:
        """Every record of the table."""
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=LOG_TABLE)
        return [record_from_item(item) for page in pages for item in page["Items"]]

    def closings(self) -> Counter[str]:
        """How often each invocation was closed, from the table's stream."""
        arn = self.cloud.client("dynamodb").describe_table(TableName=LOG_TABLE)["Table"]["LatestStreamArn"]
        streams, found = EmulatorStreams(self.cloud.url, REGION), Counter[str]()
        for shard in streams.shards(arn):
            reader = streams.reader(arn, shard.shard_id, after=None)
            while records := reader.read(limit=1000).records:
                images = [record.event["dynamodb"].get("NewImage") for record in records]  # type: ignore[attr-defined]
                closed = [image for image in images if image and image["status"]["S"] != "open"]
                found.update(image["invocation_id"]["S"] for image in closed)
        return found

    def executed(self) -> frozenset[str]:
        """The invocations that providers executed."""
        ports = [child.ready["control_port"] for child in self.providers.values()]
        return frozenset(id for port in ports for id in wire.command(port, "executions")["by_invocation"])

    def close(self) -> None:
        """End everything."""
        if self._pool is not None:
            self._pool.close()
        self._runner.close()
        self.executor.shutdown()
        for child in (*self.workers, *self.providers.values()):
            child.kill()

    async def _connected(self) -> Pool:
        sockets = [self.folder / f"worker{number}.sock" for number in range(self.scene.workers)]
        pool = Pool(sockets, most=256)
        await pool.warm(self.scene.environments)
        return pool

    def _new_lines(self, file: Path) -> list[str]:
        """Whole lines only: a line that is still being written is carried the next time."""
        with file.open("rb") as log:
            log.seek(self._shipped[file])
            written = log.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._shipped[file] += len(whole)
        return [line for line in whole.decode(errors="replace").splitlines() if line]


@contextmanager
def running(scene: Scene) -> Iterator[LogWorld]:
    """A running world. Everything ends with the context."""
    folder = Path(tempfile.mkdtemp(prefix="fiso-log-"))  # short: a socket's path has at most 107 bytes
    with ExitStack() as ending:
        ending.callback(_remove, folder)
        cloud = ending.enter_context(running_emulator(folder))
        world = LogWorld(scene, folder, cloud, ending.enter_context(faulty_store(cloud.port)))
        ending.callback(world.close)
        world.start()
        yield world


def _remove(folder: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(folder)
