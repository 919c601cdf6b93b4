"""Whatever the stream does, each record is folded once, and a state is the fold of its records as they were committed.

Consumers are interleaved at each of their store's operations: another one's whole delivery comes in between, by this
code or by code of before, and one may be killed or frozen there. Deliveries follow the rules that AWS gives.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.adapters.aws.dynamodb import closed_item
from fiso.adapters.aws.dynamodb_states import FOLDED_KEEP_S, MOST_CARRIED, DynamoDBEndpointStates
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.state import EndpointState
from fiso.ports import EndpointStates
from fiso.routing.fold import fold
from fiso.services.log.ingest import ingest
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryArchive, InMemoryDeadLetters, InMemoryRecordLists
from functions.stream_consumer.handler import consume
from functions.stream_consumer.wiring import Stores
from localcloud.stream_pump import rules
from localcloud.stream_pump.rules import FAILED, DeliveryPolicy, Outcome, Queue, Record
from tests.builders import NOW, a_record, an_attempt
from tests.logged import log_of
from tests.tables import StateTable

FUNCTIONS = (FunctionName("f"), FunctionName("g"))
COMMITS = ("transact_write_items", "put_item")
POLICY = DeliveryPolicy(bisect=True, max_retries=None, max_age=timedelta(hours=6))


class Killed(BaseException):
    """Stands for SIGKILL."""


def a_log(rng: random.Random, count: int) -> list[InvocationRecord]:
    """Records of two functions, begun within 12 s."""
    return [
        a_record(
            n,
            function_name=rng.choice(FUNCTIONS),
            timestamp=NOW + timedelta(seconds=rng.uniform(0, 12)),
            attempts=(an_attempt(latency_ms=rng.uniform(5, 500), started_at=NOW + timedelta(seconds=n)),),
        )
        for n in range(count)
    ]


@dataclass
class World:
    """The table, and what was committed to it in which order."""

    rng: random.Random
    table: StateTable = field(default_factory=StateTable)
    committed: list[InvocationRecord] = field(default_factory=list)
    depth: int = 0

    def states(self, *, marks_as_before: bool = False) -> EndpointStates:
        made = DynamoDBEndpointStates(self.table, "t", clock=ManualClock(), marks_as_before=marks_as_before)
        return Noting(made, self.committed)

    def interrupted_by(self, others: Sequence[Callable[[], None]], chance: float) -> None:
        """Before an operation, now and then one of these happens, whole; some ends are sudden."""

        def before(operation: str) -> None:
            if self.depth < 2 and self.rng.random() < chance:
                self.depth += 1
                try:
                    self.rng.choice(others)()
                finally:
                    self.depth -= 1

        self.table.before = before

    def undisturbed(self) -> None:
        self.table.before = lambda _: None

    def check(self, log: Sequence[InvocationRecord]) -> None:
        """Each record was folded once, and the states are the fold of that order."""
        assert sorted(r.invocation_id for r in self.committed) == sorted(r.invocation_id for r in log)
        for function in FUNCTIONS:
            expected: dict[EndpointId, EndpointState] = {}
            for record in self.committed:
                expected = fold(expected, record) if record.request.function_name == function else expected
            stored = self.states().of_function(function)
            assert {id: replace(state, version=0) for id, state in stored.items()} == expected


class Noting:
    """States whose successful commits are noted."""

    def __init__(self, states: DynamoDBEndpointStates, committed: list[InvocationRecord]) -> None:
        self._states, self._committed = states, committed
        self.of_function, self.folded_among = states.of_function, states.folded_among
        self.items_of = states.items_of

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        self._states.commit(function, states, records)
        self._committed.extend(records)


def fold_all(records: Sequence[InvocationRecord], states: EndpointStates) -> None:
    ingest(records, states=states, archive=InMemoryArchive(), batch_id="b", pause=lambda _: None)


def fold_as_before(world: World, records: Sequence[InvocationRecord]) -> None:
    """As the code did that left a marker for each record: markers read first, then states, then all written at once."""
    table, states = world.table, world.states()
    for function in FUNCTIONS:
        mine = list({r.invocation_id: r for r in records if r.request.function_name == function}.values())
        for _ in range(8):
            asked = [marker_key(record) for record in mine]
            found = table.batch_get_item(RequestItems={"t": {"Keys": asked, "ConsistentRead": True}})["Responses"]["t"]
            done = {item["function_name"]["S"] for item in found}
            fresh = [r for r in mine if marker_key(r)["function_name"]["S"] not in done]
            if not fresh:
                break
            after = before = states.of_function(function)
            for record in fresh:
                after = fold(after, record)
            changed = [replace(s, version=s.version + 1) for id, s in after.items() if s is not before.get(id)]
            try:
                commit_as_before(table, changed, fresh)
            except WriteConflict:
                continue
            world.committed.extend(fresh)
            break


def marker_key(record: InvocationRecord) -> dict[str, Any]:
    return {"function_name": {"S": f"folded#{record.invocation_id}"}, "item": {"S": "marker"}}


def commit_as_before(table: StateTable, states: Sequence[EndpointState], records: Sequence[InvocationRecord]) -> None:
    def refused(**asked: Any) -> None:
        markers = [
            {
                "TableName": "t",
                "Item": {**marker_key(record), "expires_at": {"N": str(FOLDED_KEEP_S)}},
                "ConditionExpression": "attribute_not_exists(function_name)",
            }
            for record in records
        ]
        kept = [write for write in asked["TransactItems"] if "state" in write["Put"]["Item"]]
        table.transact_write_items(TransactItems=[*kept, *({"Put": marker} for marker in markers)])

    class Client:
        transact_write_items = staticmethod(refused)

    class Read(Client):
        query = staticmethod(table.query)

    made = DynamoDBEndpointStates(Read(), "t", clock=ManualClock(), marks_as_before=True)
    made.commit(FUNCTIONS[0], states, records)


def batches(rng: random.Random, log: Sequence[InvocationRecord], size: int) -> list[Sequence[InvocationRecord]]:
    """Each record at least once, some again in another batch."""
    again = [*log, *rng.choices(log, k=len(log) // 3)]
    rng.shuffle(again)
    return [again[start : start + size] for start in range(0, len(again), size)]


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(1, 9), st.floats(0.05, 0.6))
def test_consumers_that_meet_freeze_and_die_fold_each_record_once(rng: random.Random, size: int, chance: float) -> None:
    world, log = World(rng), a_log(rng, 16)
    waiting = batches(rng, log, size)
    deliveries: list[Callable[[], None]] = [partial(fold_all, batch, world.states()) for batch in waiting]

    def killed() -> None:
        raise Killed

    world.interrupted_by([*deliveries, killed], chance)
    for delivery in deliveries:
        try:
            delivery()
        except (Killed, WriteConflict):
            waiting.append(log)
    world.undisturbed()
    for batch in waiting:  # what came to nothing comes again, and so does all the rest
        fold_all(batch, world.states())
    world.check(log)


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(1, 6), st.floats(0.05, 0.5))
def test_code_of_before_and_after_fold_the_same_stream_while_a_stage_is_updated_and_taken_back(
    rng: random.Random, size: int, chance: float
) -> None:
    world, log = World(rng), a_log(rng, 12)
    waiting = batches(rng, log, size)

    def by_either(batch: Sequence[InvocationRecord]) -> None:
        if rng.random() < 0.5:
            fold_as_before(world, batch)
        else:
            fold_all(batch, world.states(marks_as_before=True))

    world.interrupted_by([partial(by_either, batch) for batch in waiting], chance)
    for batch in waiting:
        by_either(batch)
    world.undisturbed()
    by_either(log)
    world.check(log)


@dataclass
class Shard:
    """One shard under the delivery rules."""

    queue: Queue
    children: tuple["Shard", ...] = ()


def event_of(number: int, record: InvocationRecord) -> Record:
    change: Mapping[str, Any] = {"SequenceNumber": str(number), "NewImage": closed_item(record)}
    event = {"eventName": "MODIFY", "dynamodb": change}
    return Record(sequence_number=str(number), created_at=NOW, event=event)


def a_shard(rng: random.Random, records: Sequence[InvocationRecord], children: tuple[Shard, ...] = ()) -> Shard:
    size = rng.randint(1, 12)
    queue = Queue()
    for start in range(0, len(records), size):
        part = [event_of(start + n, record) for n, record in enumerate(records[start : start + size])]
        queue = rules.accept(queue, part, through=part[-1].sequence_number)
    return Shard(queue, children)


@settings(deadline=None, max_examples=8)
@given(st.randoms(use_true_random=False), st.floats(0, 0.25))
def test_split_shards_lost_answers_and_stores_that_fail_leave_no_dead_letter_and_no_other_state(
    rng: random.Random, trouble: float
) -> None:
    world, log = World(rng), a_log(rng, 24)
    stores = Stores(
        log=log_of(*map(closed_item, log)),
        states=world.states(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
    )
    parent, left, right = (log[at::3] for at in range(3))
    repeated = [*right, *parent[::2]]
    shards = [a_shard(rng, parent, (a_shard(rng, left), a_shard(rng, repeated))), a_shard(rng, left[::2])]

    def before(operation: str) -> None:
        if rng.random() < trouble:
            raise rng.choice([StoreUnavailable("throttled"), Killed()])

    world.table.before = before
    while shards:
        shard = rng.choice(shards)
        if not shard.queue.pending:
            shards = [each for each in shards if each is not shard] + list(shard.children)
            continue
        step = rules.settle(shard.queue, deliver(shard.queue, stores, lost=rng.random() < trouble), POLICY)
        assert not step.dead_letters
        shard.queue = step.queue
    world.undisturbed()
    world.check(log)
    assert isinstance(stores.letters, InMemoryDeadLetters)
    assert stores.letters.letters == []


def deliver(queue: Queue, stores: Stores, *, lost: bool) -> Outcome:
    head = queue.pending[0]
    try:
        said = consume([record.event for record in head.records], stores)
    except Killed:
        return FAILED
    return FAILED if lost or said["batchItemFailures"] else Outcome(resolved=len(head.records))


def test_what_nobody_knows_the_end_of_is_folded_when_its_final_record_comes() -> None:
    world = World(random.Random(1))
    unknown = replace(a_record(1, function_name="f"), status=RecordStatus.UNKNOWN, attempts=())
    archive = InMemoryArchive()
    ingest([unknown], states=world.states(), archive=archive, batch_id="a")
    assert world.table.items == {}
    fold_all([replace(unknown, status=RecordStatus.FINAL)] * 2, world.states())
    assert [record.status for record in world.committed] == [RecordStatus.FINAL]
    assert len(list(archive.since(NOW.date()))) == 1


@pytest.mark.parametrize("gap_s", [0, 4, 60])
def test_one_transaction_folds_hundreds_of_records_of_a_function(gap_s: int) -> None:
    world = World(random.Random(1))
    log = [a_record(n, function_name="f", timestamp=NOW + timedelta(seconds=gap_s * n)) for n in range(300)]
    commits = list[int]()
    world.table.before = lambda operation: commits.append(1) if operation in COMMITS else None
    fold_all(log, world.states())
    assert len(world.committed) == 300
    assert len(commits) == {0: 1, 4: 3, 60: 4}[gap_s]


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_marks_that_states_carry_and_marks_beside_them_are_one_memory(rng: random.Random, size: int) -> None:
    """Whichever state carried a mark, whoever filed it: a record that comes again, to older forms too, is known."""
    world, log = World(rng), a_log(rng, 40)
    for batch in batches(rng, log, size):
        fold_all(batch, world.states(marks_as_before=rng.random() < 0.1))
    for batch in batches(rng, log, rng.choice((1, 9, 40))):
        fold_all(batch, world.states(marks_as_before=rng.random() < 0.5))
    world.check(log)


def test_a_few_records_of_one_endpoint_are_one_write_and_marks_are_filed_in_time() -> None:
    world, log = World(random.Random(1)), [a_record(n, function_name="f") for n in range(4 * MOST_CARRIED)]
    done: list[str] = []
    world.table.before = lambda operation: done.append(operation) if operation in COMMITS else None
    for record in log:
        fold_all([record], world.states())
    assert len(done) == len(log)
    assert done.count("transact_write_items") == 3, "one for each so many that a state carries"
    world.undisturbed()
    fold_all(log, world.states())
    world.check(log)
