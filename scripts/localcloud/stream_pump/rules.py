"""Delivery rules: what an answer to a batch of stream records means, and what happens to the batch then, as AWS says.

Pure: no I/O, no clock. A shard's `Queue` goes in with an outcome or an instant, and a `Step` comes out.

- Records of a shard are delivered in order; the head batch blocks those behind it until it is resolved.
- The checkpoint is the highest sequence number below which everything is resolved or dead-lettered.
- A partial success moves the checkpoint to the lowest failed record; it and all after it form a new batch.
- A batch that made no progress is halved under `bisect`, and splitting does not consume the retry quota.
- Retries are counted for the same batch being sent again. Beyond the quota the batch is dead-lettered whole.
- A delivery that did not reach the function (throttled, host away) consumes no retry; only age ends it.
- Records older than the maximum age are dead-lettered before the next delivery.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024


class Condition(StrEnum):
    """Why a batch was given up, in the words of AWS's invocation records."""

    RETRY_ATTEMPTS_EXHAUSTED = "RetryAttemptsExhausted"
    MAXIMUM_RECORD_AGE_EXCEEDED = "MaximumRecordAgeExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One change of one item. `event` is the record as the function receives it."""

    sequence_number: str
    created_at: datetime
    event: Mapping[str, object]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive records that are delivered together. `deliveries` counts the failed ones of exactly this batch."""

    records: tuple[Record, ...]
    deliveries: int = 0

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("a batch holds at least one record")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """The settings of an event source mapping that decide about failures. None means without limit."""

    bisect: bool = False
    max_retries: int | None = None
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a delivery achieved: how many leading records are done. Not invoked means that the function never ran."""

    resolved: int = 0
    invoked: bool = True


NOT_INVOKED = Outcome(invoked=False)
FAILED = Outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A batch that is delivered no more."""

    batch: Batch
    condition: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A shard's place: batches still owed, everything up to `checkpoint` done, everything up to `read_through` seen."""

    pending: tuple[Batch, ...] = ()
    checkpoint: str | None = None
    read_through: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The queue after an event, and what must be kept elsewhere before the queue's checkpoint may be saved."""

    queue: Queue
    dead_letters: tuple[DeadLetter, ...] = ()


def accept(queue: Queue, wanted: Iterable[Record], through: str) -> Queue:
    """Append the records that passed the filter; those that did not count as done once all before them are."""
    pending = queue.pending + tuple(Batch(records=group) for group in _within_payload(wanted))
    return replace(queue, pending=pending, read_through=through, checkpoint=queue.checkpoint if pending else through)


def expire(queue: Queue, policy: DeliveryPolicy, now: datetime) -> Step:
    """Give up the leading records of the head batch that are past the maximum age."""
    if not queue.pending or policy.max_age is None:
        return Step(queue=queue)
    head = queue.pending[0]
    fresh = next((i for i, r in enumerate(head.records) if now - r.created_at <= policy.max_age), len(head.records))
    if fresh == 0:
        return Step(queue=queue)
    letter = DeadLetter(
        batch=replace(head, records=head.records[:fresh]), condition=Condition.MAXIMUM_RECORD_AGE_EXCEEDED
    )
    return Step(queue=_move(queue, fresh), dead_letters=(letter,))


def settle(queue: Queue, outcome: Outcome, policy: DeliveryPolicy) -> Step:
    """The head batch was delivered: resolve, redeliver, split or give up."""
    head = queue.pending[0]
    if not outcome.invoked:
        return Step(queue=queue)
    if outcome.resolved > 0:
        return Step(queue=_move(queue, min(outcome.resolved, len(head.records))))
    if policy.bisect and len(head.records) > 1:
        return Step(queue=replace(queue, pending=(*_halves(head), *queue.pending[1:])))
    tried = replace(head, deliveries=head.deliveries + 1)
    if policy.max_retries is not None and tried.deliveries > policy.max_retries:
        letter = DeadLetter(batch=tried, condition=Condition.RETRY_ATTEMPTS_EXHAUSTED)
        return Step(queue=_move(queue, len(head.records)), dead_letters=(letter,))
    return Step(queue=replace(queue, pending=(tried, *queue.pending[1:])))


def _move(queue: Queue, count: int) -> Queue:
    """The head batch without its first `count` records, which are done; the checkpoint follows."""
    head, *others = queue.pending
    rest = (Batch(records=head.records[count:]),) if count < len(head.records) else ()
    pending = (*rest, *others)
    checkpoint = head.records[count - 1].sequence_number if pending else queue.read_through
    return replace(queue, pending=pending, checkpoint=checkpoint)


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    middle = len(batch.records) // 2
    return Batch(records=batch.records[:middle]), Batch(records=batch.records[middle:])


def _within_payload(records: Iterable[Record]) -> Sequence[tuple[Record, ...]]:
    """Groups of consecutive records that fit Lambda's payload limit; a record too large on its own travels alone."""
    groups: list[list[Record]] = []
    size_bytes = 0
    for record in records:
        size_bytes += record.size_bytes
        if not groups or size_bytes > MAX_PAYLOAD_BYTES:
            groups.append([])
            size_bytes = record.size_bytes
        groups[-1].append(record)
    return [tuple(group) for group in groups]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the Invoke API returned. `status` is None when it could not be reached."""

    status: int | None
    payload: bytes = b""
    function_error: str | None = None
    request_id: str | None = None
    executed_version: str | None = None


def outcome_of(answer: Answer, batch: Batch, *, reports_item_failures: bool) -> Outcome:
    """Only a 200 says that the function ran; throttles, refusals and a host that is away do not."""
    if answer.status != HTTPStatus.OK:
        return NOT_INVOKED
    if answer.function_error is not None:
        return FAILED
    if not reports_item_failures:
        return Outcome(resolved=len(batch.records))
    return Outcome(resolved=_lowest_failure(answer.payload, batch))


def _lowest_failure(payload: bytes, batch: Batch) -> int:
    """The index of the lowest failed record: the batch's length when none failed, 0 when the answer is not valid."""
    try:
        body = json.loads(payload) if payload.strip() else None
    except ValueError:
        return 0
    if body is None or body == {}:
        return len(batch.records)
    if not isinstance(body, dict):
        return 0
    failures = body.get("batchItemFailures")
    if failures is None or failures == []:
        return len(batch.records)
    if not isinstance(failures, list):
        return 0
    index = {record.sequence_number: i for i, record in enumerate(batch.records)}
    identifiers = [f.get("itemIdentifier") if isinstance(f, dict) else None for f in failures]
    return min(index.get(i, 0) if isinstance(i, str) else 0 for i in identifiers)
