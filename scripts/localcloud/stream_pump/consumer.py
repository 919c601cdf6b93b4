"""A shard's consumer: reads, delivers and settles one shard in order, in a thread of its own.

All decisions are in `rules`; here is their order around I/O: dead letters are written before the checkpoint moves.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from localcloud.stream_pump import rules
from localcloud.stream_pump.answer import Answer, outcome_of
from localcloud.stream_pump.checkpoints import Checkpoints, Place
from localcloud.stream_pump.event import invocation_record, invocation_record_key, lambda_event
from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.ports import DeadLetters, DestinationError, Functions, ShardReader, SourceError

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
