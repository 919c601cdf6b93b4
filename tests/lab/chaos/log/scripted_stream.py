"""A scripted stream: shards of our own under the local pump's delivery rules, and the genuine consumer behind.

What is scripted is what AWS may do: a record that comes twice, in another order across shards, a shard that splits, a
batch whose answer is lost, a consumer that is killed between two of its writes. Every delivery is noted.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.s3 import S3DeadLetters
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId
from fiso.domain.state import EndpointState
from fiso.ports import EndpointStates
from functions.stream_consumer import archiver, handler
from functions.stream_consumer.wiring import Stores
from localcloud.stream_pump.consumer import Checkpoints, Outside, Pace, Page, Shard, ShardReader
from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.pump import Pump
from localcloud.stream_pump.rules import Answer, Record
from tests.lab.chaos.emulator import REGION, EmulatorProcess
from tests.lab.chaos.rig.stores import BUCKET, STATE_TABLE
from tests.logged import log_of

STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/log-rig/stream/2026-01-01T00:00:00.000"
MAPPING_UUID = "00000000-0000-4000-8000-00000000c0de"
MAPPING: Mapping[str, object] = {
    # as serverless.yml has it
    "UUID": MAPPING_UUID,
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:fiso-rig-stream-consumer",
    "EventSourceArn": STREAM,
    "State": "Disabled",
    "StartingPosition": "TRIM_HORIZON",
    "BatchSize": 1000,
    "MaximumBatchingWindowInSeconds": 2,
    "BisectBatchOnFunctionError": True,
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": 21600,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT", "MODIFY"]}'}]},
    "DestinationConfig": {"OnFailure": {"Destination": f"arn:aws:s3:::{BUCKET}"}},
}


class ConsumerKilled(BaseException):
    """Stands for SIGKILL: nothing in the consumer can catch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedShard:
    """A shard: what comes out of it, in order, each from its creation time on. It is closed at its end."""

    id: str
    records: tuple[Record, ...]
    parent: str | None = None


def record_of(number: int, image: Mapping[str, Any], created_at: datetime) -> Record:
    """A change of the log's table as a stream record."""
    sequence = f"{number:021d}"
    change = {
        "ApproximateCreationDateTime": created_at.timestamp(),
        "Keys": {name: image[name] for name in ("invocation_id", "timestamp") if name in image},
        "NewImage": dict(image),
        "SequenceNumber": sequence,
        "SizeBytes": len(json.dumps(image)),
        "StreamViewType": "NEW_IMAGE",
    }
    event = {
        "eventID": sequence,
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": change,
        "eventSourceARN": STREAM,
    }
    return Record(sequence_number=sequence, created_at=created_at, event=event, size_bytes=len(json.dumps(event)))


class ScriptedStreams:
    """The pump's source."""

    def __init__(self, shards: Sequence[ScriptedShard]) -> None:
        self._shards = {shard.id: shard for shard in shards}

    def mappings(self) -> tuple[Mapping[str, object], ...]:
        """The one mapping."""
        return (MAPPING,)

    def disable(self, mapping_uuid: str) -> None:
        """It is."""

    def shards(self, stream_arn: str) -> tuple[Shard, ...]:
        """All shards, children included."""
        return tuple(Shard(shard_id=shard.id, parent_id=shard.parent) for shard in self._shards.values())

    def reader(self, stream_arn: str, shard_id: str, *, after: str | None) -> ShardReader:
        """From after a sequence number, or from the beginning."""
        records = self._shards[shard_id].records
        return _Reader([record for record in records if after is None or record.sequence_number > after])


class _Reader:
    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)

    def read(self, limit: int) -> Page:
        now = datetime.now(UTC)
        count = next((i for i, r in enumerate(self._records[:limit]) if r.created_at > now), limit)
        page, self._records = self._records[:count], self._records[count:]
        return Page(records=tuple(page), closed=not self._records)


@dataclass(slots=True)
class Notes:
    """What an observer outside the rules saw. Times are the observer's own."""

    deliveries: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    lag_s: dict[str, float] = field(default_factory=dict)
    commits: list[tuple[Sequence[EndpointState], Sequence[InvocationId]]] = field(default_factory=list)
    kills: int = 0
    lost_answers: int = 0
    lock: Lock = field(default_factory=Lock)

    def resolved(self, record: Mapping[str, Any]) -> None:
        """A record is folded or given up."""
        change = record["dynamodb"]
        with self.lock:
            self.lag_s.setdefault(change["SequenceNumber"], time.time() - change["ApproximateCreationDateTime"])


class NotedStates:
    """Endpoint states whose commits are noted, and whose writer may be killed before or after one."""

    def __init__(self, states: EndpointStates, notes: Notes, kill: Callable[[], bool]) -> None:
        self._states, self._notes, self._kill = states, notes, kill
        self.of_function, self.folded_among = states.of_function, states.folded_among
        self.items_of = states.items_of

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        """Between the archive and this, and after this: the two places where a kill could lose or double a record."""
        if self._kill():
            raise ConsumerKilled
        self._states.commit(function, states, records)
        with self._notes.lock:
            self._notes.commits.append((states, [record.invocation_id for record in records]))
        if self._kill():
            raise ConsumerKilled


class Consumer:
    """The genuine consumer behind the pump's Invoke seam; `kill` and `lose` draw what goes wrong this time."""

    def __init__(self, stores: Stores, notes: Notes, *, kill: Callable[[], bool], lose: Callable[[], bool]) -> None:
        noted: Any = NotedStates(stores.states, notes, kill)
        self._stores = Stores(
            log=stores.log, states=noted, archive=stores.archive, lists=stores.lists, letters=stores.letters
        )
        self._notes, self._lose = notes, lose

    def invoke(self, mapping: EventSourceMapping, event: Mapping[str, object]) -> Answer:
        """One delivery."""
        records = json.loads(json.dumps(event))["Records"]
        self._note(records)
        try:
            said = handler.consume(records, self._stores)
            if not said["batchItemFailures"]:  # both readers by one delivery, the second where the first lives
                said = archiver.archive(records, self._stores)
        except ConsumerKilled:
            self._notes.kills += 1
            return Answer(status=200, payload=b'{"errorType": "Runtime.ExitError"}', function_error="Unhandled")
        if self._lose():
            self._notes.lost_answers += 1
            return Answer(status=200, payload=b'{"errorType": "Sandbox.Timedout"}', function_error="Unhandled")
        failed = {failure["itemIdentifier"] for failure in said["batchItemFailures"]}
        for record in records:
            if record["dynamodb"]["SequenceNumber"] in failed:
                break
            self._notes.resolved(record)
        return Answer(status=200, payload=json.dumps(said).encode())

    def _note(self, records: Sequence[Mapping[str, Any]]) -> None:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        with self._notes.lock:
            self._notes.deliveries.update(numbers)
            if len(numbers) == 1:
                self._notes.alone.update(numbers)


class NotedDeadLetters:
    """Dead letters in the emulator's bucket."""

    def __init__(self, cloud: EmulatorProcess, notes: Notes) -> None:
        self._s3, self._notes = cloud.client("s3"), notes

    def write(self, bucket: str, key: str, document: Mapping[str, object]) -> None:
        """Write, then note."""
        self._s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())
        for record in json.loads(str(document["payload"]))["Records"]:
            self._notes.resolved(record)


def genuine_stores(cloud: EmulatorProcess, images: Sequence[Mapping[str, Any]]) -> Stores:
    """What the deployed consumer writes to, at the emulator, and a log that holds what is told of."""
    states: EndpointStates = DynamoDBEndpointStates(cloud.dynamodb(), STATE_TABLE, clock=_utc_now)
    log = log_of(*images, clock=_utc_now)
    s3 = cloud.client("s3")
    letters = S3DeadLetters(s3, BUCKET, clock=_utc_now)
    archive = S3Archive(s3, BUCKET, clock=_utc_now)
    lists = DynamoDBLists(cloud.dynamodb(), STATE_TABLE, clock=_utc_now)
    return Stores(log=log, states=states, archive=archive, lists=lists, letters=letters)


def drain(
    shards: Sequence[ScriptedShard],
    consumer: Consumer,
    dead_letters: NotedDeadLetters,
    checkpoints: Path,
    *,
    within: timedelta,
) -> bool:
    """Pump until every shard is read to its end; False when time ran out first."""
    outside = Outside(functions=consumer, dead_letters=dead_letters, checkpoints=Checkpoints(checkpoints))
    pump = Pump(ScriptedStreams(shards), outside, Pace(poll_s=0.02))
    ends_at, wanted = time.monotonic() + within.total_seconds(), {shard.id for shard in shards}
    try:
        while time.monotonic() < ends_at:
            pump.refresh()
            if outside.checkpoints.finished(MAPPING_UUID) == wanted:
                return True
            time.sleep(0.05)
        return False
    finally:
        pump.stop()
        _await_end(pump)


def _await_end(pump: Pump) -> None:
    with suppress(RuntimeError):  # one that never started
        for consumer in pump.consumers.values():
            consumer._thread.join(timeout=10)


def by_endpoint(notes: Notes) -> dict[tuple[FunctionName, EndpointId], list[InvocationId]]:
    """Per state the records that were committed to it, in the order of its versions."""
    found: dict[tuple[FunctionName, EndpointId], list[tuple[int, Sequence[InvocationId]]]] = {}
    for states, folded in notes.commits:
        for state in states:
            found.setdefault((state.function, state.endpoint), []).append((state.version, folded))
    return {key: [id for _, ids in sorted(commits, key=lambda c: c[0]) for id in ids] for key, commits in found.items()}


def _utc_now() -> datetime:
    return datetime.now(UTC)
