"""Who may invoke the stream's readers directly moves nothing: what is folded and archived is what the log holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.aws.dynamodb import KEEP_S, DynamoDBInvocationLog, closed_item, open_item
from fiso.adapters.aws.dynamodb_states import FOLDED_KEEP_S, DynamoDBEndpointStates
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryArchive, InMemoryDeadLetters, InMemoryEndpointStates, InMemoryRecordLists
from functions.stream_consumer.archiver import archive
from functions.stream_consumer.handler import consume
from functions.stream_consumer.wiring import Stores
from tests.builders import NOW, a_record, an_attempt, an_open_record
from tests.golden.recorded_clients import RecordingClient
from tests.logged import Table, log_of

FUNCTION = a_record().request.function_name
KNOWN = a_record(1, attempts=(an_attempt(latency_ms=100.0),))
LIE = a_record(1, attempts=(an_attempt(latency_ms=9_000.0, cost_usd=1.0),), tenant="another", error_occurred=True)
Item = Mapping[str, Any]


def event(image: object, number: int = 0) -> dict[str, Any]:
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": image}}


def stores(*items: Item, clock: ManualClock | None = None) -> Stores:
    log = log_of(*items, clock=clock or ManualClock())
    return Stores(
        log=log,
        states=InMemoryEndpointStates(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
    )


def read_by_both(events: Sequence[object], where: Stores) -> dict[str, Any]:
    folded, archived = consume(events, where), archive(events, where)
    assert folded == archived
    return folded


def archived(where: Stores) -> list[InvocationRecord]:
    assert isinstance(where.archive, InMemoryArchive)
    return list(where.archive.since(NOW.date()))


def unknown_id() -> Item:
    return closed_item(a_record(7))


def other_time() -> Item:
    return {**closed_item(KNOWN), "timestamp": {"S": "2026-11-23T09:30:00.009Z"}}


def other_spelling_of_the_id() -> Item:
    return {**closed_item(KNOWN), "invocation_id": {"S": KNOWN.invocation_id.upper() + " "}}


def of_another_function() -> Item:
    return closed_item(a_record(8, function_name="other"))


def as_a_number() -> Item:
    return {**closed_item(KNOWN), "invocation_id": {"N": "1"}}


FORGED: list[Callable[[], object]] = [
    unknown_id,
    other_time,
    other_spelling_of_the_id,
    of_another_function,
    as_a_number,
    dict,
    lambda: [1],
    lambda: "image",
    lambda: {"invocation_id": "x", "timestamp": None},
    lambda: {**closed_item(KNOWN), "timestamp": {"S": "\ud800"}},
    lambda: {**closed_item(KNOWN), "timestamp": {"S": "x" * 5_000}},
]


@pytest.mark.parametrize("forged", FORGED)
def test_an_event_of_no_record_moves_nothing_is_counted_and_keeps_no_other_from_being_folded(
    forged: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    where = stores(closed_item(KNOWN))
    assert read_by_both([event(forged()), event(closed_item(KNOWN), 1)], where) == {"batchItemFailures": []}
    assert archived(where) == [KNOWN]
    assert sum(state.folded for state in where.states.of_function(FUNCTION).values()) == 1
    assert capsys.readouterr().out.count('"UnrecordedStreamEvents":[1.0]') == 2


@pytest.mark.parametrize("stream_record", [None, 7, "x", [], {}, {"dynamodb": None}, {"dynamodb": [1]}])
def test_what_no_stream_sends_is_left_out(stream_record: object) -> None:
    where = stores(closed_item(KNOWN))
    assert read_by_both([stream_record, event(closed_item(KNOWN))], where) == {"batchItemFailures": []}
    assert archived(where) == [KNOWN]


def test_a_true_key_under_false_content_folds_what_the_log_holds() -> None:
    where = stores(closed_item(KNOWN))
    read_by_both([event(closed_item(LIE))], where)
    assert archived(where) == [KNOWN]
    assert where.states.of_function(FUNCTION)[KNOWN.attempts[0].endpoint].error_rate == 0


def test_a_record_that_is_still_open_is_not_closed_by_an_event() -> None:
    where = stores(open_item(an_open_record(1, timestamp=KNOWN.timestamp)))
    read_by_both([event(closed_item(KNOWN))], where)
    assert archived(where) == []
    assert where.states.of_function(FUNCTION) == {}


@pytest.mark.parametrize("before", [None, open_item(an_open_record(1, timestamp=KNOWN.timestamp)), "unknown"])
def test_what_a_reader_finds_old_or_not_yet_is_read_again_as_it_is_now(before: Any) -> None:
    """Without it an event that comes before its record's copies are all written would be its last."""
    stale = closed_item(replace(KNOWN, status=RecordStatus.UNKNOWN, attempts=())) if before == "unknown" else before
    table = Table(closed_item(KNOWN))
    table.stale = dict.fromkeys(table.items, stale)
    where = replace(stores(), log=DynamoDBInvocationLog(table, "log", clock=ManualClock()))
    read_by_both([event(closed_item(KNOWN))], where)
    assert archived(where) == [KNOWN]
    assert sum(state.folded for state in where.states.of_function(FUNCTION).values()) == 1


def test_events_that_are_sent_again_overwrite_no_others_archive() -> None:
    """An object of the archive is named by what is in it, not by the sequence numbers that an event claims."""
    items = [closed_item(a_record(n)) for n in (1, 2, 3)]
    where = stores(*items)
    read_by_both([event(item, number) for number, item in enumerate(items)], where)
    read_by_both([event(items[0], 0), event(open_item(an_open_record(9)), 2)], where)
    assert {record.invocation_id for record in archived(where)} == {a_record(n).invocation_id for n in (1, 2, 3)}


def test_a_record_can_be_asked_for_as_long_as_its_mark_stands() -> None:
    """So none can be folded twice, however late its event is sent again."""
    clock = ManualClock()
    where = stores(closed_item(KNOWN), clock=clock)
    clock.advance(KEEP_S - 1)
    read_by_both([event(closed_item(KNOWN))], where)
    assert archived(where) == [KNOWN]
    clock.advance(2)
    late = stores(closed_item(KNOWN), clock=clock)
    read_by_both([event(closed_item(KNOWN))], late)
    assert archived(late) == []

    client = RecordingClient()
    DynamoDBEndpointStates(client, "state", clock=lambda: NOW).commit(FUNCTION, [], [KNOWN])
    (write,) = client.only_request["transact_write_items"]["TransactItems"]
    kept_until = int(write["Put"]["Item"]["expires_at"]["N"])
    assert kept_until == NOW.timestamp() + FOLDED_KEEP_S
    assert NOW + timedelta(seconds=KEEP_S) < NOW + timedelta(seconds=FOLDED_KEEP_S)


def test_hundreds_of_events_are_looked_up_a_hundred_at_a_time_each_once() -> None:
    items = [closed_item(a_record(n)) for n in range(250)]
    table = Table(*items)
    log = DynamoDBInvocationLog(table, "log", clock=ManualClock())
    where = Stores(
        log=log,
        states=InMemoryEndpointStates(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
    )
    read_by_both([event(item, n) for n, item in enumerate([*items, *items])], where)
    assert len(archived(where)) == 250
    assert [len(keys) for keys in table.asked] == 2 * [100, 100, 50]
