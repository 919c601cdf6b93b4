import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.aws.dynamodb import closed_item, open_item
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import WriteConflict
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.state import EndpointState
from fiso.ports import EndpointStates
from fiso.routing.fold import fold
from fiso.services.log.ingest import (
    LONGEST_PAUSE_S,
    LONGEST_PAUSED_S,
    MOST_ITEMS,
    SHORTEST_PAUSE_S,
    SOONER_S,
    ingest,
)
from fiso.testing.memory import (
    InMemoryArchive,
    InMemoryDeadLetters,
    InMemoryEndpointStates,
    InMemoryRecordLists,
    away,
)
from functions.stream_consumer.handler import consume
from functions.stream_consumer.wiring import Stores
from tests.builders import NOW, a_record, an_attempt, an_open_record
from tests.logged import log_of

FUNCTION = FunctionName("word-count")


def folded(states: EndpointStates) -> int:
    assert isinstance(states, InMemoryEndpointStates)
    return sum(state.folded for state in states.states.values())


def stream(*images: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [
        {"dynamodb": {"SequenceNumber": str(number), **({"NewImage": image} if image else {})}}
        for number, image in enumerate(images)
    ]


def stores(*items: Mapping[str, Any]) -> Stores:
    """Of a log that holds these items."""
    return Stores(
        log=log_of(*items),
        states=InMemoryEndpointStates(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
    )


def test_a_state_is_exactly_the_fold_of_the_log() -> None:
    records = [a_record(n, attempts=(an_attempt(latency_ms=float(n + 1)),)) for n in range(3 * MOST_ITEMS)]
    states, archive = InMemoryEndpointStates(), InMemoryArchive()
    ingest(records, states=states, archive=archive, batch_id="b")
    expected: dict[EndpointId, EndpointState] = {}
    for record in records:
        expected = fold(expected, record)
    actual = states.of_function(FUNCTION)
    assert {e: replace(s, version=0) for e, s in actual.items()} == expected
    assert folded(states) == len(records)


def test_a_record_twice_in_one_batch_counts_once() -> None:
    states = InMemoryEndpointStates()
    done = ingest([a_record(1), a_record(1)], states=states, archive=InMemoryArchive(), batch_id="b")
    assert (done.folded, folded(states)) == (1, 1)


def test_folds_again_on_what_another_consumer_left() -> None:
    states = InMemoryEndpointStates()

    def contended(operation: str) -> None:
        if operation == "commit" and states.operations["commit"] == 1:
            ingest([a_record(99)], states=states, archive=InMemoryArchive(), batch_id="other")

    states.before = contended
    ingest([a_record(1)], states=states, archive=InMemoryArchive(), batch_id="b")
    assert folded(states) == 2


def test_gives_up_as_a_conflict_when_others_never_stop_writing() -> None:
    def busy(operation: str) -> None:
        if operation == "commit":
            raise WriteConflict("busy")

    states, pauses = InMemoryEndpointStates(), list[float]()
    states.before = busy
    with pytest.raises(WriteConflict):
        ingest([a_record(1)], states=states, archive=InMemoryArchive(), batch_id="b", pause=pauses.append)
    assert LONGEST_PAUSED_S < sum(pauses) <= LONGEST_PAUSED_S + LONGEST_PAUSE_S


def test_all_folds_of_a_batch_step_aside_for_one_time_in_common() -> None:
    """Many functions in one batch, each of them contended, fit into the consumer's minute."""
    states, pauses = InMemoryEndpointStates(), list[float]()

    def busy(operation: str) -> None:
        if operation == "commit" and states.operations["commit"] % 9:
            raise WriteConflict("busy")

    states.before = busy
    records = [a_record(n, function_name=f"f{n}") for n in range(90)]
    with pytest.raises(WriteConflict):
        ingest(records, states=states, archive=InMemoryArchive(), batch_id="b", pause=pauses.append, draw=lambda: 1.0)
    assert sum(pauses) <= LONGEST_PAUSED_S + LONGEST_PAUSE_S


def test_consumers_that_meet_step_aside_for_times_of_their_own() -> None:
    """Consumers of other shards that began at once would otherwise meet again, and one of ten lose five times."""
    paused: list[list[float]] = []
    for seed in (1, 2):
        pauses: list[float] = []
        draw, states = random.Random(seed).random, InMemoryEndpointStates()

        def met(operation: str, states: InMemoryEndpointStates = states) -> None:
            if operation == "commit" and states.operations["commit"] < 9:
                raise WriteConflict("another shard's consumer was first")

        states.before = met
        done = ingest(
            [a_record(1)], states=states, archive=InMemoryArchive(), batch_id="b", pause=pauses.append, draw=draw
        )
        assert done.folded == 1
        paused.append(pauses)
    assert paused[0] != paused[1]
    for tried, pause in enumerate(paused[0]):
        assert 0 <= pause <= max(SHORTEST_PAUSE_S, LONGEST_PAUSE_S - tried * SOONER_S)


def test_no_transaction_has_more_than_a_hundred_items_however_many_endpoints_are_touched() -> None:
    class Counted(InMemoryEndpointStates):
        def __init__(self) -> None:
            super().__init__()
            self.items: list[int] = []

        def commit(
            self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
        ) -> None:
            marks = {mark for record in records for mark in self.items_of(record)}
            self.items.append(len(states) + len(marks))
            super().commit(function, states, records)

    states = Counted()
    records = [
        a_record(n, endpoint=f"e{n % 70}", attempts=(an_attempt(f"e{n % 70}"),), timestamp=NOW + timedelta(minutes=n))
        for n in range(90)
    ]
    assert ingest(records, states=states, archive=InMemoryArchive(), batch_id="b").folded == folded(states) == 90
    assert max(states.items) <= MOST_ITEMS
    assert len(states.items) == 2


def test_a_batch_is_folded_in_the_order_in_which_its_requests_came() -> None:
    states = InMemoryEndpointStates()
    records = [a_record(n, timestamp=NOW + timedelta(seconds=n), attempts=(called_at(n),)) for n in (3, 1, 2, 0)]
    ingest(records, states=states, archive=InMemoryArchive(), batch_id="b")
    assert states.of_function(FUNCTION)[EndpointId("aws")].arrival_interval_ms == pytest.approx(1_000)


def called_at(second: int) -> AttemptSummary:
    return an_attempt(started_at=NOW + timedelta(seconds=second))


def test_poison_is_set_aside_whole_and_the_batch_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    poison = {**closed_item(a_record(3)), "status": {"S": "half-done"}}
    items = [closed_item(a_record(1)), poison, closed_item(a_record(2))]
    where = stores(*items)
    events = stream(*items)
    assert consume(events, where) == consume(events, where) == {"batchItemFailures": []}
    assert folded(where.states) == 2
    assert isinstance(where.letters, InMemoryDeadLetters)
    ((event, why),) = where.letters.letters
    assert event == events[1]
    assert "half-done" in why
    assert '"PoisonRecords":[1.0]' in capsys.readouterr().out


def test_poison_that_cannot_be_set_aside_comes_again_and_nothing_is_folded() -> None:
    where = stores({**closed_item(a_record(3)), "status": {"S": "half-done"}}, closed_item(a_record(1)))
    assert isinstance(where.letters, InMemoryDeadLetters)
    where.letters.before = away()
    events = stream({**closed_item(a_record(3))}, closed_item(a_record(1)))
    assert consume(events, where) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert folded(where.states) == 0


def test_what_parses_and_cannot_be_folded_is_halved_out_of_its_batch_and_set_aside_alone() -> None:
    class Broken(InMemoryEndpointStates):
        def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
            if function == "broken":
                raise ZeroDivisionError("a fault of our own")
            return super().of_function(function)

    items = [closed_item(a_record(1)), closed_item(a_record(2, function_name="broken"))]
    where = replace(stores(*items), states=Broken())
    with pytest.raises(ZeroDivisionError):
        consume(stream(*items), where)
    assert consume(stream(items[1]), where) == {"batchItemFailures": []}
    assert isinstance(where.letters, InMemoryDeadLetters)
    assert [why for _, why in where.letters.letters] == ["ZeroDivisionError: a fault of our own"]


def test_open_records_and_removals_carry_nothing_to_fold() -> None:
    items = [open_item(an_open_record()), closed_item(a_record(1))]
    where = stores(*items)
    assert consume([], where) == {"batchItemFailures": []}
    answer = consume(stream(items[0], None, items[1]), where)
    assert answer == {"batchItemFailures": []}
    assert folded(where.states) == 1


def test_a_store_that_is_away_sends_the_whole_batch_again() -> None:
    item, states = closed_item(a_record(1)), InMemoryEndpointStates()
    states.before = away()
    answer = consume(
        stream(item),
        Stores(
            log=log_of(item),
            states=states,
            archive=InMemoryArchive(),
            lists=InMemoryRecordLists(),
            letters=InMemoryDeadLetters(),
        ),
    )
    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
