"""The delivery rules, worked by hand: a batch of records r1, r2, … goes in, what is owed next comes out."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from localcloud.stream_pump import rules
from localcloud.stream_pump.rules import (
    FAILED,
    NOT_INVOKED,
    Answer,
    Batch,
    Condition,
    DeliveryPolicy,
    Outcome,
    Queue,
    Record,
    outcome_of,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(number: int, *, age_s: float = 0, size_bytes: int = 10) -> Record:
    return Record(
        sequence_number=str(number),
        created_at=NOON - timedelta(seconds=age_s),
        event={"number": number},
        size_bytes=size_bytes,
    )


def records(*numbers: int) -> tuple[Record, ...]:
    return tuple(record(n) for n in numbers)


def queue_of(*groups: Sequence[int], deliveries: int = 0, checkpoint: str | None = None) -> Queue:
    batches = tuple(Batch(records=records(*group)) for group in groups)
    head = Batch(records=batches[0].records, deliveries=deliveries)
    return Queue(pending=(head, *batches[1:]), checkpoint=checkpoint, read_through=str(groups[-1][-1]))


def numbers(queue: Queue) -> list[list[int]]:
    return [[int(r.sequence_number) for r in batch.records] for batch in queue.pending]


BISECTING = DeliveryPolicy(bisect=True, max_retries=2)
WHOLE = DeliveryPolicy(bisect=False, max_retries=2)


@pytest.mark.parametrize(
    ("policy", "deliveries", "outcome", "pending", "checkpoint", "given_up"),
    [
        # all done: the checkpoint is the last record read
        (BISECTING, 0, Outcome(resolved=4), [], "4", []),
        # the third failed: it and all after it are owed, as a new batch with a fresh quota
        (BISECTING, 0, Outcome(resolved=2), [[3, 4]], "2", []),
        (WHOLE, 2, Outcome(resolved=2), [[3, 4]], "2", []),
        # nothing done: halves, and the quota untouched
        (BISECTING, 0, FAILED, [[1, 2], [3, 4]], "0", []),
        (BISECTING, 2, FAILED, [[1, 2], [3, 4]], "0", []),
        # nothing done without bisect: again, until the quota of 2 retries is used up by the third delivery
        (WHOLE, 0, FAILED, [[1, 2, 3, 4]], "0", []),
        (WHOLE, 1, FAILED, [[1, 2, 3, 4]], "0", []),
        (WHOLE, 2, FAILED, [], "4", [[1, 2, 3, 4]]),
        # no quota: for ever
        (DeliveryPolicy(), 999, FAILED, [[1, 2, 3, 4]], "0", []),
        # a quota of none: the first failure is the last
        (DeliveryPolicy(max_retries=0), 0, FAILED, [], "4", [[1, 2, 3, 4]]),
        # the function never ran: nothing changes
        (WHOLE, 2, NOT_INVOKED, [[1, 2, 3, 4]], "0", []),
        (BISECTING, 2, NOT_INVOKED, [[1, 2, 3, 4]], "0", []),
    ],
)
def test_a_delivered_batch_is_resolved_redelivered_split_or_given_up(
    policy: DeliveryPolicy,
    deliveries: int,
    outcome: Outcome,
    pending: list[list[int]],
    checkpoint: str,
    given_up: list[list[int]],
) -> None:
    step = rules.settle(queue_of([1, 2, 3, 4], deliveries=deliveries, checkpoint="0"), outcome, policy)
    assert numbers(step.queue) == pending
    assert step.queue.checkpoint == checkpoint
    assert [[int(r.sequence_number) for r in letter.batch.records] for letter in step.dead_letters] == given_up


def test_giving_up_one_batch_leaves_the_next_and_moves_the_checkpoint_between_them() -> None:
    step = rules.settle(queue_of([1], [2, 3], deliveries=2), FAILED, BISECTING)
    assert numbers(step.queue) == [[2, 3]]
    assert step.queue.checkpoint == "1"
    assert [(letter.condition, letter.batch.deliveries) for letter in step.dead_letters] == [
        (Condition.RETRY_ATTEMPTS_EXHAUSTED, 3)
    ]


def test_without_a_maximum_age_nothing_expires() -> None:
    queue = Queue(pending=(Batch(records=(record(1, age_s=86_399),)),), read_through="1")
    assert rules.expire(queue, DeliveryPolicy(), NOON) == rules.Step(queue=queue)


def test_a_batch_stays_within_the_payload_limit() -> None:
    half = rules.MAX_PAYLOAD_BYTES // 2
    big = (record(1, size_bytes=half), record(2, size_bytes=half), record(3, size_bytes=half), record(4))
    assert numbers(rules.accept(Queue(), big, through="4")) == [[1, 2], [3, 4]]


BATCH = Batch(records=records(11, 12, 13))


def named(*identifiers: object) -> bytes:
    return json.dumps({"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]}).encode()


@pytest.mark.parametrize(
    ("payload", "resolved"),
    [
        (b"", 3),
        (b"null", 3),
        (b"{}", 3),
        (b'{"batchItemFailures": []}', 3),
        (b'{"batchItemFailures": null}', 3),
        (named("12"), 1),
        (named("13", "12"), 1),
        (named("11"), 0),
        (named(""), 0),
        (named(None), 0),
        (named("99"), 0),
        (named("13", "99"), 0),
        (b'{"batchItemFailures": [{"id": "13"}]}', 0),
        (b'{"batchItemFailures": ["13"]}', 0),
        (b'{"batchItemFailures": "13"}', 0),
        (b'"done"', 0),
        (b"not json", 0),
    ],
)
def test_the_lowest_reported_failure_is_where_delivery_resumes(payload: bytes, resolved: int) -> None:
    answer = Answer(status=200, payload=payload)
    assert outcome_of(answer, BATCH, reports_item_failures=True) == Outcome(resolved=resolved)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(status=200, payload=named("12")), Outcome(resolved=3)),  # the report is not enabled: not looked at
        (Answer(status=200, payload=b"{}", function_error="Unhandled"), FAILED),
        (Answer(status=429), NOT_INVOKED),
        (Answer(status=404), NOT_INVOKED),
        (Answer(status=None), NOT_INVOKED),
    ],
)
def test_only_a_200_without_a_function_error_is_a_success(answer: Answer, expected: Outcome) -> None:
    assert outcome_of(answer, BATCH, reports_item_failures=False) == expected
