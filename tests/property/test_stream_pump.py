"""Laws of stream delivery: whatever the function answers, nothing is skipped, reordered or retried without end.

The simulation is the pump without I/O: records are read in groups, the head batch is delivered, an outcome comes back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.stream_pump import rules
from localcloud.stream_pump.rules import Batch, Condition, DeliveryPolicy, Outcome, Queue, Record

START = datetime(2026, 1, 1, tzinfo=UTC)

# no deadline: the machine may be busy with other work
law = settings(deadline=None)

Function = Callable[[Batch], Outcome]
Seen = list[tuple[int, ...]]


@dataclass
class Shard:
    """One shard's life so far, as an observer outside the rules would note it down."""

    total: int
    unwanted: frozenset[int] = frozenset()
    queue: Queue = field(default_factory=Queue)
    delivered: Seen = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    given_up: Seen = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)

    def read(self, size: int) -> None:
        first = int(self.queue.read_through or 0) + 1
        page = [record(n) for n in range(first, min(first + size, self.total + 1))]
        if page:
            wanted = [r for r in page if int(r.sequence_number) not in self.unwanted]
            self.queue = rules.accept(self.queue, wanted, through=page[-1].sequence_number)

    @property
    def is_drained(self) -> bool:
        return not self.queue.pending and int(self.queue.read_through or 0) == self.total

    @property
    def ended(self) -> list[int]:
        """What was resolved or given up."""
        return [*self.resolved, *(n for letter in self.given_up for n in letter)]

    def take(self, step: rules.Step) -> None:
        self.queue = step.queue
        for letter in step.dead_letters:
            self.given_up.append(_numbers(letter.batch))
            self.conditions.append(letter.condition)

    def deliver(self, function: Function, policy: DeliveryPolicy) -> None:
        batch = self.queue.pending[0]
        outcome = function(batch)
        self.delivered.append(_numbers(batch))
        self.resolved += _numbers(batch)[: outcome.resolved]
        self.take(rules.settle(self.queue, outcome, policy))


def record(number: int) -> Record:
    return Record(sequence_number=str(number), created_at=START + timedelta(seconds=number), event={})


def _numbers(batch: Batch) -> tuple[int, ...]:
    return tuple(int(r.sequence_number) for r in batch.records)


def run(shard: Shard, size: int, function: Function, policy: DeliveryPolicy) -> Shard:
    while not shard.is_drained:
        if shard.queue.pending:
            shard.deliver(function, policy)
        else:
            shard.read(size)
    return shard


totals = st.integers(min_value=1, max_value=40)
sizes = st.integers(min_value=1, max_value=16)
bounded = st.builds(DeliveryPolicy, bisect=st.booleans(), max_retries=st.integers(min_value=0, max_value=4))
subsets = st.frozensets(st.integers(min_value=1, max_value=40))


def arbitrary(data: st.DataObject) -> Function:
    return lambda batch: Outcome(resolved=data.draw(st.integers(min_value=0, max_value=len(batch.records))))


def stops_at(poison: frozenset[int]) -> Function:
    """A handler that reports its first failed record."""
    return lambda batch: Outcome(
        resolved=next((i for i, n in enumerate(_numbers(batch)) if n in poison), len(batch.records))
    )


def raises_on(poison: frozenset[int]) -> Function:
    """A handler that fails as a whole."""
    return lambda batch: Outcome(resolved=0 if poison & set(_numbers(batch)) else len(batch.records))


@law
@given(totals, sizes, bounded, subsets, st.data())
def test_every_wanted_record_ends_once_and_the_checkpoint_never_moves_back_nor_past_an_unresolved_one(
    total: int, size: int, policy: DeliveryPolicy, unwanted: frozenset[int], data: st.DataObject
) -> None:
    shard, function, before = Shard(total=total, unwanted=unwanted), arbitrary(data), 0
    while not shard.is_drained:
        reads_ahead: bool = data.draw(st.booleans())
        if reads_ahead or not shard.queue.pending:
            shard.read(size)
        else:
            shard.deliver(function, policy)
        checkpoint = int(shard.queue.checkpoint or 0)
        assert checkpoint >= before
        assert set(range(1, checkpoint + 1)) <= {*shard.ended, *unwanted}
        before = checkpoint
    assert sorted(shard.ended) == [n for n in range(1, total + 1) if n not in unwanted]
    assert shard.queue.checkpoint == str(total)


@law
@given(totals, sizes, bounded, st.data())
def test_every_delivery_starts_at_the_oldest_unresolved_record_and_their_number_is_bounded(
    total: int, size: int, policy: DeliveryPolicy, data: st.DataObject
) -> None:
    shard, function = Shard(total=total), arbitrary(data)
    while not shard.is_drained:
        if not shard.queue.pending:
            shard.read(size)
        oldest = max([0, *shard.ended]) + 1
        shard.deliver(function, policy)
        assert shard.delivered[-1] == tuple(range(oldest, oldest + len(shard.delivered[-1])))
    assert policy.max_retries is not None
    tries = policy.max_retries + 1
    # a batch that is not split is sent at most `tries` times; splitting a group of n adds at most n - 1 sendings
    assert len(shard.delivered) <= total * tries + total
    assert max(shard.delivered.count(sent) for sent in shard.delivered) <= tries


@law
@given(totals, sizes, subsets, st.integers(min_value=0, max_value=4), st.sampled_from([stops_at, raises_on]))
def test_bisecting_isolates_every_poison_record_alone(
    total: int,
    size: int,
    poison: frozenset[int],
    max_retries: int,
    behaviour: Callable[[frozenset[int]], Function],
) -> None:
    policy = DeliveryPolicy(bisect=True, max_retries=max_retries)
    shard = run(Shard(total=total), size, behaviour(poison), policy)
    present = sorted(n for n in poison if n <= total)
    assert shard.given_up == [(n,) for n in present]
    assert sorted(shard.resolved) == [n for n in range(1, total + 1) if n not in poison]
    assert all(shard.delivered.count((n,)) == max_retries + 1 for n in present)


@law
@given(totals, sizes, bounded, st.integers(min_value=0, max_value=60), st.data())
def test_a_restart_from_any_checkpoint_redelivers_and_never_skips(
    total: int, size: int, policy: DeliveryPolicy, crash_after: int, data: st.DataObject
) -> None:
    first, function = Shard(total=total), arbitrary(data)
    for _ in range(crash_after):
        if first.is_drained:
            break
        if first.queue.pending:
            first.deliver(function, policy)
        else:
            first.read(size)
    saved = first.queue.checkpoint
    again = run(Shard(total=total, queue=Queue(checkpoint=saved, read_through=saved)), size, function, policy)
    assert {*first.ended, *again.ended} == set(range(1, total + 1))


@law
@given(totals, sizes, st.integers(min_value=0, max_value=100), st.integers(min_value=0, max_value=60))
def test_exactly_the_records_past_the_maximum_age_expire(total: int, size: int, now_s: int, age_s: int) -> None:
    policy = DeliveryPolicy(max_age=timedelta(seconds=age_s))
    shard, now = Shard(total=total), START + timedelta(seconds=now_s)
    while not shard.is_drained:
        shard.read(size)
        shard.take(rules.expire(shard.queue, policy, now))
        if shard.queue.pending:
            shard.deliver(lambda batch: Outcome(resolved=len(batch.records)), policy)
    expired = [n for letter in shard.given_up for n in letter]
    assert expired == [n for n in range(1, total + 1) if now_s - n > age_s]
    assert set(shard.conditions) <= {Condition.MAXIMUM_RECORD_AGE_EXCEEDED}
    assert sorted(shard.ended) == list(range(1, total + 1))
