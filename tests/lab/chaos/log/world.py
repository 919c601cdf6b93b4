"""A world to break the log in: the rig over the emulator, DynamoDB behind a faulty store, and a keeper.

Workers write their lines to files, as Lambda's platform would take them; `ship` carries them to CloudWatch. The keeper
is the deployed one but for its catalog and its watermark, which are in memory.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fiso.adapters.aws.cloudwatch_logs import CloudWatchSpilledRecords
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, record_from_item
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.s3 import S3Watermark
from fiso.domain.policy import Idempotent
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.log.reconcile import Reconciliation
from fiso.services.log.spill import MARK
from fiso.services.maintenance.keep import Keeper
from fiso.testing.memory import InMemoryCatalogStore, InMemorySnapshots
from fiso_cli.access_key import NONE_YET
from localcloud.stream_pump.clients import EmulatorStreams
from tests.builders import KEYRING
from tests.lab.chaos.emulator import REGION, EmulatorProcess
from tests.lab.chaos.log.faulty_store import FaultyStore, faulty_store
from tests.lab.chaos.rig.rig import Rig, Setup
from tests.lab.chaos.rig.stores import BUCKET, LOG_GROUP, LOG_TABLE, STATE_TABLE, EmulatedStores, started

WRITERS = 8
LINES_AT_ONCE = 500


@dataclass(kw_only=True)
class LogWorld:
    """Made by `running`."""

    rig: Rig
    cloud: EmulatorProcess
    store: FaultyStore
    executor: ThreadPoolExecutor
    _shipped: Counter[Path] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._logs: Any = self.cloud.client("logs")
        self._logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName="workers")

    def keeper(self, *, ahead: timedelta = timedelta(0)) -> Keeper:
        """The keeper, its clock ahead of the time by so much."""

        def clock() -> datetime:
            return datetime.now(UTC) + ahead

        tables = self.cloud.dynamodb(url=self.store.url)
        lists = DynamoDBLists(tables, STATE_TABLE, clock=clock)
        log = DynamoDBInvocationLog(tables, LOG_TABLE, clock=clock, lists=lists)
        reconciliation = Reconciliation(
            spilled=CloudWatchSpilledRecords(self._logs, LOG_GROUP, mark=MARK),
            keys=lambda: KEYRING,
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

    def watch(self) -> None:
        """What is still open, as the archiver does."""
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=LOG_TABLE)
        found = (record_from_item(item) for page in pages for item in page["Items"])
        lists = DynamoDBLists(self.cloud.dynamodb(), STATE_TABLE, clock=lambda: datetime.now(UTC))
        lists.watch([record for record in found if isinstance(record, OpenRecord)])

    def ship(self) -> int:
        """Carry the lines that workers wrote since the last time to CloudWatch; how many carried a record."""
        lines = [line for worker in self.rig.workers for line in self._new_lines(worker.log)]
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
        streams, found = EmulatorStreams(self.cloud.url, REGION, NONE_YET), Counter[str]()
        for shard in streams.shards(arn):
            reader = streams.reader(arn, shard.shard_id, after=None)
            while records := reader.read(limit=1000).records:
                images = [record.event["dynamodb"].get("NewImage") for record in records]  # type: ignore[attr-defined]
                closed = [image for image in images if image and image["status"]["S"] != "open"]
                found.update(image["invocation_id"]["S"] for image in closed)
        return found

    def _new_lines(self, file: Path) -> list[str]:
        """Whole lines only: a line that is still being written is carried the next time."""
        with file.open("rb") as log:
            log.seek(self._shipped[file])
            written = log.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._shipped[file] += len(whole)
        return [line for line in whole.decode(errors="replace").splitlines() if line]


@contextmanager
def running(*, seed: int, environments: int = 8) -> Iterator[LogWorld]:
    """A running world. Everything ends with the context."""
    folder = Path(tempfile.mkdtemp(prefix="fiso-log-"))  # short: a socket's path has at most 107 bytes
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        cloud = started(folder)
        ending.callback(cloud.kill)
        store = ending.enter_context(faulty_store(cloud.port))
        stores = EmulatedStores(cloud, dynamodb_url=store.url, folds=False)
        # What must not be repeated has an intent (docs/decisions/0030).
        policy = {"idempotent": Idempotent.NO}
        rig = Rig(Setup(seed=seed, environments=environments, has_lines=True, policy=policy), folder, stores)
        ending.callback(rig.close)
        rig.start()
        executor = ending.enter_context(ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="records"))
        yield LogWorld(rig=rig, cloud=cloud, store=store, executor=executor)
