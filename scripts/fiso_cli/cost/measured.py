"""FISO's work for one request, measured on the code as it is: the genuine handlers over stores that count.

Write units, sizes, objects and log lines are what this code makes of a function on three clouds. Processor times are
those of the machine of docs/decisions/0008: of another machine they would say nothing about Lambda.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from fiso import telemetry
from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, closed_item
from fiso.adapters.aws.dynamodb_idempotency import DynamoDBIdempotencyKeys
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.models import LayerModelStore
from fiso.billing.hop import EVENT_BYTES, Amount, Work
from fiso.domain.access import AuthMode
from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import Provider
from fiso.domain.idempotency import Entry, EntryId, KeptAnswer
from fiso.domain.policy import Idempotent
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.settings import AccessSettings, CatalogTrust, OrchestratorSettings
from fiso.testing.memory import (
    InMemoryDeadLetters,
    InMemoryFunctionCaller,
    InMemoryModelStore,
    InMemorySharedBreakers,
    InMemorySnapshots,
)
from fiso.testing.rig import LambdaContext, http_event, word_count
from fiso_cli.cost.metered import Counted, MeteredBucket, MeteredTables
from fiso_cli.cost.template import table_keys
from fiso_cli.local_stage import MODELS
from fiso_cli.log_redirect import lines_to
from fiso_client.core.answers import FunctionAnswer
from functions.orchestrator import handler as orchestrator
from functions.orchestrator import wiring as orchestrator_wiring
from functions.stream_consumer import archiver
from functions.stream_consumer import handler as consumer
from functions.stream_consumer.wiring import Stores

LOG, STATES, KEYS = "InvocationLog", "EndpointState", "Idempotency"
"""The template's names of the tables."""
CPU_MS, WRITE_WAIT_MS, COLD_MS, CONSUMER_CPU_MS = 0.54, 5.0, 215.0, 0.062
"""Measured on the 2-core machine of docs/decisions/0008, but the second: of a write AWS promises single-digit
milliseconds (aws.amazon.com/dynamodb)."""
WARMING, SINGLE, BATCH = 60, 20, 50
COUNT = SINGLE + 2 * BATCH
"""Requests that fill the states first; then batches of one record and one of many, from which follows what each record
and each batch costs."""
START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
SETTINGS = OrchestratorSettings(
    stage="local",
    log_table=LOG,
    state_table=STATES,
    bucket="bucket",
    model_dir=Path(),
    allow_loopback=False,
    access=AccessSettings(mode=AuthMode.NONE),
    catalog=CatalogTrust(accepts_older_forms=True),
)
ANSWER = FunctionAnswer(status=200, body=b"ok", headers={"content-type": "text/plain"})


class CountedLog(DynamoDBInvocationLog):
    """The genuine log; it remembers what it was given."""

    def __init__(self, client: MeteredTables) -> None:
        super().__init__(client, LOG, clock=lambda: START)
        self.opened: list[OpenRecord] = []
        self.closed: list[InvocationRecord] = []

    def open(self, record: OpenRecord) -> None:
        """Write and remember it."""
        self.opened.append(record)
        super().open(record)

    def close(self, record: InvocationRecord) -> bool:
        """Write and remember it."""
        self.closed.append(record)
        return super().close(record)


@dataclass(slots=True)
class CountedLines:
    """A log of lines, of which the bytes are counted as CloudWatch does."""

    bytes: int = 0

    def put(self, lines: Sequence[str]) -> None:
        self.bytes += sum(len(line.encode()) + EVENT_BYTES for line in lines)


@dataclass(slots=True)
class _Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)  # a batch is of a second or two, as the stream brings it
        return self.now


class Meter:
    """A stage in this process: requests go in, what they cost comes out."""

    def __init__(self, model_dir: Path = MODELS) -> None:
        self.tables = MeteredTables(table_keys())
        self.log = CountedLog(self.tables)
        self.lines, self.predictions = StringIO(), CountedLines()
        self._clock, self._bucket = _Clock(), MeteredBucket(self.tables.counted)
        self._states = DynamoDBEndpointStates(self.tables, STATES, clock=self._clock)
        self._stores = Stores(
            log=self.log,
            states=self._states,
            lists=DynamoDBLists(self.tables, STATES, clock=self._clock),
            archive=S3Archive(self._bucket, "bucket", clock=self._clock),
            letters=InMemoryDeadLetters(),
            predictions=self.predictions,
        )
        self._folded = self._archived = 0
        self._app = orchestrator_wiring.build(SETTINGS, metrics=telemetry.metrics(), ports=self._ports(model_dir))

    def request(self) -> None:
        """One request through the orchestrator's handler."""
        with redirect_stdout(self.lines), lines_to(self.lines):
            orchestrator.answer_event(self._app, http_event(), LambdaContext())
            telemetry.flush()

    def fold(self, count: int) -> None:
        """The next so many records through the consumer's handler, as the stream would bring them."""
        self._read(consumer.consume, self._folded, count)
        self._folded += count

    def archive(self, count: int) -> None:
        """The same through the archiver's, of records that may be folded or not."""
        self._read(archiver.archive, self._archived, count)
        self._archived += count

    def _read(self, reader: Callable[[Sequence[object], Stores], Mapping[str, Any]], first: int, count: int) -> None:
        records = self.log.closed[first : first + count]
        changes = [{"dynamodb": {"NewImage": closed_item(record), "SequenceNumber": "1"}} for record in records]
        failed = reader(changes, self._stores)["batchItemFailures"]
        if failed:
            raise RuntimeError(f"a reader of the stream did not take {failed}")

    def sampled(self, count: int) -> list[InvocationRecord]:
        """The records of so many requests more."""
        for _ in range(count):
            self.request()
        return self.log.closed[-count:]

    def counted(self) -> Counted:
        """Since this was last asked."""
        found = self.tables.counted
        self.tables.counted = self._bucket.counted = Counted()
        return found

    def key(self) -> Counted:
        """What one idempotency key costs: claimed, and answered."""
        self.counted()
        keys = DynamoDBIdempotencyKeys(self.tables, KEYS, s3=self._bucket, bucket="bucket", clock=lambda: START)
        record = self.log.opened[-1]
        entry = Entry(
            id=EntryId(f"123456789012#{record.invocation_id}"),
            fingerprint="f" * 64,
            invocation_id=record.invocation_id,
            deadline_at=START + timedelta(seconds=28),
            expires_at=START + timedelta(days=1),
        )
        keys.claim(entry)
        kept = KeptAnswer(status=200, headers=ANSWER.headers, body=ANSWER.body, is_text=True)
        keys.complete(replace(entry, answer=kept))
        return self.counted()

    def _ports(self, model_dir: Path) -> orchestrator_wiring.Ports:
        function = word_count(exploration=0.05, idempotent=Idempotent.NO)
        return orchestrator_wiring.Ports(
            snapshots=InMemorySnapshots(Snapshot(version=1, published_at=START, functions={function.name: function})),
            states=self._states,
            layer=LayerModelStore(model_dir),
            models=InMemoryModelStore(),
            log=self.log,
            caller=InMemoryFunctionCaller(lambda *_: ANSWER),
            shared_breakers=InMemorySharedBreakers(),
            metrics=telemetry.metrics(),
            clock=self._clock,
            stopwatch=lambda: self._clock().timestamp(),
            draw=random.Random(1).random,  # nosec B311 # the same figures each time
        )


@cache
def work() -> Work:
    """What a request to a function on three clouds makes FISO do; the same figures each time."""
    meter = Meter()
    for _ in range(WARMING):
        meter.request()
        meter.fold(1)
        meter.archive(1)
    meter.counted()
    start = len(meter.lines.getvalue())
    record = _alone(meter.sampled(COUNT))
    lines, both = meter.lines.getvalue()[start:], meter.counted()
    folded = _of_batches(meter, meter.fold)
    archived = _of_batches(meter, meter.archive)
    key = meter.key()
    return Work(
        cpu_ms=CPU_MS,
        write_wait_ms=WRITE_WAIT_MS,
        cold_ms=COLD_MS,
        record_units=record.table_units / COUNT,
        intent_units=(both.table_units - record.table_units) / COUNT,
        key_units=key.table_units,
        key_read_units=key.read_units,
        fold_units=folded("table_units"),
        fold_read_units=folded("read_units"),
        archive_read_units=archived("read_units"),
        archive_puts=archived("puts"),
        archive_bytes=archived("put_bytes"),
        prediction_bytes=archived("line_bytes"),
        consumer_cpu_ms=CONSUMER_CPU_MS,
        table_bytes=meter.tables.mean_bytes(LOG),
        log_bytes=sum(len(line.encode()) + EVENT_BYTES for line in lines.splitlines()) / COUNT,
        metrics=_metrics(lines),
    )


def _of_batches(meter: Meter, read: Callable[[int], None]) -> Callable[[str], Amount]:
    """From batches of one and of many: what each brings, and what comes with each record."""
    single, many = _counted(meter, read, SINGLE, 1), _counted(meter, read, 2, BATCH)

    def amount(of: str) -> Amount:
        one, few = (getattr(counted, of) / records for counted, records in ((single, SINGLE), (many, 2 * BATCH)))
        batch = (one - few) / (1 - 1 / BATCH)
        return Amount(record=one - batch, batch=batch)

    return amount


def of_records(records: Sequence[InvocationRecord]) -> Work:
    """The same for records as a stage's own log has them: their sizes, and the units that these take."""
    tables = MeteredTables(table_keys())
    written, count = _alone(records, tables), len(records)
    return replace(work(), record_units=written.table_units / count, table_bytes=tables.mean_bytes(LOG))


def _alone(records: Sequence[InvocationRecord], tables: MeteredTables | None = None) -> Counted:
    """The same records where no intent stands."""
    tables = tables or MeteredTables(table_keys())
    log = DynamoDBInvocationLog(tables, LOG, clock=lambda: START)
    for record in records:
        log.close(record)
    return tables.counted


def _counted(meter: Meter, read: Callable[[int], None], batches: int, records: int) -> Counted:
    meter.counted()
    meter.predictions.bytes = 0
    for _ in range(batches):
        read(records)
    return replace(meter.counted(), line_bytes=meter.predictions.bytes)


def _metrics(lines: str) -> int:
    """How many CloudWatch metrics these lines name: one for each name and set of dimensions; those of one provider
    there are for each."""
    found = set()
    for line in lines.splitlines():
        document = json.loads(line)
        for group in document.get("_aws", {}).get("CloudWatchMetrics", ()):
            found |= {(*sorted(names), metric["Name"]) for names in group["Dimensions"] for metric in group["Metrics"]}
    return sum(len(Provider) if "provider" in metric else 1 for metric in found)
