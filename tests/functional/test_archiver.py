"""The second reader of the stream: each closed record is archived, each intent that is still open is watched."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.dynamodb import closed_item, open_item
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import InvocationId
from fiso.services.log.ingest import ingest
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryArchive, InMemoryDeadLetters, InMemoryEndpointStates, InMemoryRecordLists, away
from functions.stream_consumer.archiver import archive
from functions.stream_consumer.handler import consume
from functions.stream_consumer.wiring import Stores
from tests.builders import NOW, a_record, an_open_record, invocation_id
from tests.golden.recorded_clients import Objects
from tests.logged import log_of

DONE = {"batchItemFailures": list[Any]()}
AGAIN = {"batchItemFailures": [{"itemIdentifier": "0"}]}
Image = Mapping[str, Any]


def stream(*images: Image) -> list[dict[str, Any]]:
    return [{"dynamodb": {"SequenceNumber": str(n), "NewImage": image}} for n, image in enumerate(images)]


def stores(*items: Image) -> Stores:
    return Stores(
        log=log_of(*items),
        states=InMemoryEndpointStates(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
    )


def records_of(where: Stores) -> list[InvocationRecord]:
    assert isinstance(where.archive, InMemoryArchive)
    return list(where.archive.since(NOW.date()))


def archived(where: Stores) -> list[InvocationId]:
    return [record.invocation_id for record in records_of(where)]


def lists_of(where: Stores) -> InMemoryRecordLists:
    assert isinstance(where.lists, InMemoryRecordLists)
    return where.lists


def intent(number: int) -> Image:
    return open_item(an_open_record(number, timestamp=a_record(number).timestamp))


def test_records_are_archived_and_what_is_still_open_is_watched() -> None:
    where = stores(closed_item(a_record(1)), intent(2), closed_item(a_record(3)))
    told = stream(intent(1), intent(2), closed_item(a_record(1)), closed_item(a_record(3)))
    for _ in range(2):
        assert archive(told, where) == DONE
    assert archived(where) == [invocation_id(1), invocation_id(3)]
    assert lists_of(where).open == {invocation_id(2)}
    assert where.states.of_function(a_record(1).request.function_name) == {}


def test_an_intent_whose_record_was_closed_meanwhile_is_archived_by_the_records_own_event() -> None:
    """One object each would else be written for what is under way when a batch ends."""
    where = stores(closed_item(a_record(1)))
    assert archive(stream(intent(1)), where) == DONE
    assert (archived(where), lists_of(where).open) == ([], set())
    assert archive(stream(closed_item(a_record(1))), where) == DONE
    assert archived(where) == [invocation_id(1)]


def test_the_unknown_are_archived_and_give_way_to_their_final_records() -> None:
    unknown = replace(a_record(1), status=RecordStatus.UNKNOWN, attempts=())
    where = stores(closed_item(unknown))
    archive(stream(closed_item(unknown)), where)
    final = replace(where, log=log_of(closed_item(a_record(1))))
    archive(stream(closed_item(a_record(1))), final)
    assert records_of(where) == [a_record(1)]


@pytest.mark.parametrize("which", ["archive", "lists"])
def test_a_store_that_is_away_sends_the_whole_batch_again(which: str) -> None:
    where = stores(closed_item(a_record(1)), intent(2))
    told = stream(closed_item(a_record(1)), intent(2))
    getattr(where, which).before = away()
    assert archive(told, where) == AGAIN
    getattr(where, which).before = lambda _: None
    assert archive(told, where) == DONE
    assert (archived(where), lists_of(where).open) == ([invocation_id(1)], {invocation_id(2)})


def test_neither_reader_waits_for_what_the_other_does() -> None:
    where = stores(closed_item(a_record(1)))
    archives, states = where.archive, where.states
    assert isinstance(archives, InMemoryArchive)
    assert isinstance(states, InMemoryEndpointStates)
    archives.before = away()
    assert consume(stream(closed_item(a_record(1))), where) == DONE
    archives.before = lambda _: None
    states.before = away()
    assert archive(stream(closed_item(a_record(1))), where) == DONE
    assert archived(where) == [invocation_id(1)]


def test_poison_holds_up_no_archive_and_is_set_aside_once_by_who_folds() -> None:
    poison = {**closed_item(a_record(3)), "status": {"S": "half-done"}}
    where = stores(closed_item(a_record(1)), poison)
    told = stream(closed_item(a_record(1)), poison)
    assert archive(told, where) == consume(told, where) == DONE
    assert archived(where) == [invocation_id(1)]
    assert isinstance(where.letters, InMemoryDeadLetters)
    assert len(where.letters.letters) == 1


def test_a_stage_that_is_updated_under_traffic_archives_each_record_once() -> None:
    """Code of before archives what it folds, batch by batch; the archiver begins with all that the stream still has."""
    bucket, clock = Objects(), ManualClock()
    kept = S3Archive(bucket, "b", clock=clock)
    records = [a_record(n, timestamp=NOW + timedelta(seconds=n)) for n in range(40)]
    for start in range(0, 24, 3):
        ingest(records[start : start + 3], states=InMemoryEndpointStates(), archive=kept, batch_id=str(start))
    where = replace(stores(*map(closed_item, records)), archive=kept)
    for start in (0, 15, 30):
        assert archive(stream(*map(closed_item, records[start : start + 15])), where) == DONE
    clock.advance(60)
    found = sorted(record.invocation_id for record in kept.since(NOW.date()))
    assert found == [record.invocation_id for record in records]
