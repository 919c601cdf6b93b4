"""A shard's consumer: reads, delivers and settles one shard in order, in a thread of its own.

All decisions are in `rules`; here is their order around I/O: dead letters are written before the checkpoint moves. A
place is saved only after everything up to it is resolved or kept in the dead-letter bucket, so a crash redelivers and
never skips."""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from localcloud.stream_pump import rules
from localcloud.stream_pump.event import invocation_record, invocation_record_key, lambda_event
from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.rules import Answer, Record, outcome_of


class SourceError(Exception):
    """The control plane or a stream did not answer; nothing was read."""


class DestinationError(Exception):
    """A dead letter could not be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records read in order. A closed shard has no more after these."""

    records: tuple[Record, ...]
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard as DescribeStream lists it."""

    shard_id: str
    parent_id: str | None = None


class ShardReader(Protocol):
    """Reads one shard forward. Raises `SourceError`, after which the next read continues where the last one ended."""

    def read(self, limit: int) -> Page: ...


class Streams(Protocol):
    """The source: mappings and the shards of their streams."""

    def mappings(self) -> tuple[Mapping[str, object], ...]: ...

    def disable(self, mapping_uuid: str) -> None: ...

    def shards(self, stream_arn: str) -> tuple[Shard, ...]: ...

    def reader(self, stream_arn: str, shard_id: str, *, after: str | None) -> ShardReader: ...


class Functions(Protocol):
    """The Invoke API. Never raises for a function that failed or a host that is away: the answer says so."""

    def invoke(self, mapping: EventSourceMapping, event: Mapping[str, object]) -> Answer: ...


class DeadLetters(Protocol):
    """The on-failure destination. Raises `DestinationError`."""

    def write(self, bucket: str, key: str, document: Mapping[str, object]) -> None: ...


def startable(shards: tuple[Shard, ...], finished: frozenset[str]) -> tuple[Shard, ...]:
    """Shards that may be read now: not finished, and their parent finished or gone from the stream."""
    listed = {shard.shard_id for shard in shards}
    return tuple(
        shard
        for shard in shards
        if shard.shard_id not in finished and (shard.parent_id not in listed or shard.parent_id in finished)
    )


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """All up to `sequence_number` is done (None: nothing yet). A finished shard is closed and read to its end."""

    sequence_number: str | None = None
    finished: bool = False


class Checkpoints:
    """The places of all shards. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places = _load(path)

    def place(self, mapping_uuid: str, shard_id: str) -> Place | None:
        with self._lock:
            return self._places.get(mapping_uuid, {}).get(shard_id)

    def finished(self, mapping_uuid: str) -> frozenset[str]:
        with self._lock:
            places = self._places.get(mapping_uuid, {})
            return frozenset(shard for shard, place in places.items() if place.finished)

    def save(self, mapping_uuid: str, shard_id: str, place: Place) -> None:
        with self._lock:
            shards = self._places.setdefault(mapping_uuid, {})
            if shards.get(shard_id) == place:
                return
            shards[shard_id] = place
            self._write()

    def _write(self) -> None:
        document = {
            uuid: {shard: asdict(place) for shard, place in shards.items()} for uuid, shards in self._places.items()
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        scratch.write_text(json.dumps(document, indent=1), encoding="utf-8")
        scratch.replace(self._path)


def _load(path: Path) -> dict[str, dict[str, Place]]:
    """A file that cannot be read counts as no checkpoint at all: streams are delivered from their horizon again."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {uuid: {shard: Place(**place) for shard, place in shards.items()} for uuid, shards in document.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("checkpoints in %s are unreadable (%s): delivering from the horizon", path, error)
        return {}


log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a shard is looked at, and whether the mapping's batching window is kept."""

    poll_s: float = 0.05
    keeps_window: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one consumer has done so far, for the health document."""

    delivered_records: int = 0
    failed_deliveries: int = 0
    dead_letters: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Everything a consumer speaks to."""

    functions: Functions
    dead_letters: DeadLetters
    checkpoints: Checkpoints
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class ShardConsumer:
    """Delivers one shard to one function until it is stopped, or until the shard is closed and empty."""

    def __init__(
        self, mapping: EventSourceMapping, shard_id: str, reader: ShardReader, outside: Outside, pace: Pace
    ) -> None:
        self.mapping = mapping
        self.shard_id = shard_id
        self.progress = Progress()
        place = outside.checkpoints.place(mapping.uuid, shard_id) or Place()
        self.queue = rules.Queue(checkpoint=place.sequence_number, read_through=place.sequence_number)
        self._reader = reader
        self._outside = outside
        self._pace = pace
        self._closed = False
        self._misses = 0
        self._last_answer: Answer | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{mapping.function_name}/{shard_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def step(self) -> bool:
        """Deliver the head batch, or read the next ones. False when the shard is finished."""
        if self.queue.pending:
            self._deliver()
        elif self._closed:
            self._save(Place(sequence_number=self.queue.checkpoint, finished=True))
            return False
        elif not self._read():
            self._stopping.wait(self._pace.poll_s)
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.step():
                    return
            except (SourceError, DestinationError) as error:
                self._trouble(str(error))
                self._pause()

    def _read(self) -> bool:
        gathered = self._gather()
        if not gathered:
            self.progress = replace(self.progress, problem=None)
            return False
        wanted = [record for record in gathered if self.mapping.wants(record.event)]
        self.queue = rules.accept(self.queue, wanted, through=gathered[-1].sequence_number)
        self._save(Place(sequence_number=self.queue.checkpoint))
        return True

    def _gather(self) -> list[rules.Record]:
        """One batch's worth of records, waiting out the batching window when it is kept."""
        size = self.mapping.batch_size
        records = self._page(size)
        ends_at = time.monotonic() + (self.mapping.batching_window_s if self._pace.keeps_window else 0)
        while records and len(records) < size and not self._closed and not self._stopping.is_set():
            more = self._page(size - len(records))
            records += more
            if not more:
                if time.monotonic() >= ends_at:
                    break
                self._stopping.wait(self._pace.poll_s)
        return records

    def _page(self, limit: int) -> list[rules.Record]:
        page = self._reader.read(limit)
        self._closed = page.closed
        return list(page.records)

    def _deliver(self) -> None:
        self._commit(rules.expire(self.queue, self.mapping.policy, self._outside.now()))
        if not self.queue.pending:
            return
        batch = self.queue.pending[0]
        answer = self._outside.functions.invoke(self.mapping, lambda_event(batch))
        outcome = outcome_of(answer, batch, reports_item_failures=self.mapping.reports_item_failures)
        self._last_answer = answer
        self._count(batch, outcome, answer)
        self._commit(rules.settle(self.queue, outcome, self.mapping.policy))
        if self.queue.pending and self.queue.pending[0].records is batch.records:
            self._pause()
        else:
            self._last_answer, self._misses = None, 0

    def _count(self, batch: rules.Batch, outcome: rules.Outcome, answer: Answer) -> None:
        failed = outcome.resolved < len(batch.records)
        self.progress = replace(
            self.progress,
            delivered_records=self.progress.delivered_records + outcome.resolved,
            failed_deliveries=self.progress.failed_deliveries + failed,
            problem=f"status {answer.status}, {answer.function_error or 'not all done'}" if failed else None,
        )
        if failed:
            done = f"{outcome.resolved} of {len(batch.records)} records done"
            log.info("%s: %s (%s)", self.mapping.function_name, done, self.progress.problem)

    def _commit(self, step: rules.Step) -> None:
        """Keep the dead letters first: an unwritten one leaves the checkpoint before its records."""
        for letter in step.dead_letters:
            self._keep(letter)
        self.queue = step.queue
        self._save(Place(sequence_number=self.queue.checkpoint))

    def _keep(self, letter: rules.DeadLetter) -> None:
        log.warning(
            "%s: giving up %d record(s), %s", self.mapping.function_name, len(letter.batch.records), letter.condition
        )
        now = self._outside.now()
        if self.mapping.on_failure_bucket is not None:
            key = invocation_record_key(self.mapping, self.shard_id, unique=str(uuid.uuid4()), now=now)
            document = invocation_record(letter, self.mapping, self.shard_id, answer=self._last_answer, now=now)
            self._write(self.mapping.on_failure_bucket, key, document)
        self.progress = replace(self.progress, dead_letters=self.progress.dead_letters + 1)

    def _write(self, bucket: str, key: str, document: dict[str, object]) -> None:
        """AWS drops a record whose destination fails; here the shard waits, so that nothing is lost unseen."""
        while not self._stopping.is_set():
            try:
                return self._outside.dead_letters.write(bucket, key, document)
            except DestinationError as error:
                self._trouble(str(error))
                self._pause()
        raise DestinationError(f"stopped before s3://{bucket}/{key} was written")

    def _save(self, place: Place) -> None:
        if place != Place():
            self._outside.checkpoints.save(self.mapping.uuid, self.shard_id, place)

    def _pause(self) -> None:
        self._stopping.wait(min(FIRST_PAUSE_S * 2**self._misses, LONGEST_PAUSE_S))
        self._misses = min(self._misses + 1, 10)

    def _trouble(self, problem: str) -> None:
        if problem != self.progress.problem:
            log.warning("%s/%s: %s", self.mapping.function_name, self.shard_id, problem)
        self.progress = replace(self.progress, problem=problem)
