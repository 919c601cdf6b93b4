"""The second reader of the stream: each closed record is archived, each intent that is still open is watched."""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.dynamodb import closed_item, open_item
from fiso.domain.endpoint import Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import InvocationId
from fiso.domain.state import EndpointState
from fiso.services.log.ingest import ingest
from fiso.settings import BadSetting, StreamConsumerSettings
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryArchive, InMemoryDeadLetters, InMemoryEndpointStates, InMemoryRecordLists, away
from functions.stream_consumer.archiver import archive, hand_on
from functions.stream_consumer.handler import consume
from functions.stream_consumer.wiring import Stores, build
from tests.builders import NOW, a_record, a_spilled_line, an_open_record, invocation_id
from tests.golden.recorded_clients import Objects
from tests.logged import log_of

TENANT, CLIENT = "8a1f9f5e-2c1b-4a57-9d2e-0c5f6a7b8c9d", "8a1f9f5e-2c1b-4a57-9d2e-0c5f6a7b8c9e"
STREAM = f"https://a-b.eastus-1.ingest.monitor.azure.com/dataCollectionRules/dcr-{'0' * 32}/streams/Custom-FISOAttempts"
PROVIDER = "projects/1/locations/global/workloadIdentityPools/fiso-prod-tell/providers/archiver"
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


class Monitor:
    """A cloud's monitoring that takes what it is told, or nothing."""

    provider = Provider.AWS

    def __init__(self, error: StoreUnavailable | None = None) -> None:
        self.error, self.told = error, list[Mapping[str, object]]()
        self.states = list[EndpointState]()

    def put(self, rows: Sequence[Mapping[str, object]], states: Iterable[EndpointState]) -> None:
        if self.error:
            raise self.error
        self.told += rows
        self.states += states


def test_a_cloud_is_told_of_the_attempts_on_its_copies_with_their_states() -> None:
    monitor = Monitor()
    where = replace(stores(closed_item(a_record(1))), monitors=(monitor,), stage="prod")
    ingest([a_record(1)], states=where.states, batch_id="1")
    assert archive(stream(closed_item(a_record(1)), intent(2)), where) == DONE
    assert [(row["invocation_id"], row["stage"]) for row in monitor.told] == [(invocation_id(1), "prod")]
    assert [state.attempts for state in monitor.states] == [1]


def test_a_cloud_that_takes_nothing_holds_up_nothing_and_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    where = replace(stores(closed_item(a_record(1))), monitors=(Monitor(StoreUnavailable("status 403")), Monitor()))
    assert archive(stream(closed_item(a_record(1))), where) == DONE
    assert archived(where) == [invocation_id(1)]
    assert len(where.monitors[1].told) == 1  # type: ignore[attr-defined]
    assert '"MonitoringNotTold":[1.0]' in capsys.readouterr().out


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("azure", "google", "kinds"),
    [
        ("", " ", []),
        (f"{TENANT} {CLIENT} {STREAM}", "", ["AzureMonitor"]),
        ("", f"my-project {PROVIDER}", ["GoogleMonitoring"]),
        (f"{TENANT} {CLIENT} {STREAM}", f"my-project {PROVIDER}", ["AzureMonitor", "GoogleMonitoring"]),
    ],
)
def test_the_clouds_that_the_stage_is_set_to_are_told(azure: str, google: str, kinds: list[str]) -> None:
    assert [type(each).__name__ for each in build(_settings(azure, google)).monitors] == kinds


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("azure", "google"),
    [
        (STREAM, ""),
        (f"{TENANT} {CLIENT} https://evil.example/dataCollectionRules/dcr-{'0' * 32}/streams/Custom-X", ""),
        (f"{TENANT} {CLIENT} {STREAM}?x=1", ""),
        (f"{TENANT} {CLIENT} http://127.0.0.1:80/dataCollectionRules/dcr-{'0' * 32}/streams/Custom-X", ""),
        (f"{TENANT} nobody {STREAM}", ""),
        ("", "my-project"),
        ("", "my-project http://127.0.0.1:8080"),
        ("", f"../other {PROVIDER}"),
    ],
)
def test_a_setting_that_would_send_a_token_elsewhere_is_none(azure: str, google: str) -> None:
    with pytest.raises(BadSetting, match="MONITORING"):
        build(_settings(azure, google))


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "us-east-1")


def _settings(azure: str, google: str) -> StreamConsumerSettings:
    names = ("FISO_LOG_TABLE", "FISO_STATE_TABLE", "FISO_BUCKET")
    told = {"FISO_STAGE": "prod", "FISO_AZURE_MONITORING": azure, "FISO_GOOGLE_MONITORING": google}
    return StreamConsumerSettings.from_environ({**dict.fromkeys(names, "x"), **told})


class Put(list[str]):
    """A log of lines."""

    def put(self, lines: Sequence[str]) -> None:
        self.extend(lines)


def told(*lines: object, kind: str = "DATA_MESSAGE") -> dict[str, str]:
    message = {"messageType": kind, "logGroup": "/fiso/api", "logEvents": [{"message": line} for line in lines]}
    return packed(json.dumps(message).encode())


def packed(text: bytes) -> dict[str, str]:
    return {"data": base64.b64encode(gzip.compress(text)).decode()}


def test_spilled_lines_are_handed_on_as_they_stand_and_no_others() -> None:
    spilled = Put()
    where = replace(stores(), spilled=spilled)
    line = a_spilled_line(a_record(1), NOW).text
    assert hand_on(told(line, "REPORT", 7, None), where) == {"handed_on": 1}
    assert hand_on(told(line, kind="CONTROL_MESSAGE"), where) == {"handed_on": 0}
    assert spilled == [line]


@pytest.mark.parametrize(
    "event",
    [
        None, {}, {"data": 7}, {"data": "%"}, {"data": "AAAA"}, packed(b"{"), packed(b"[]"),
        packed(b'{"messageType": "DATA_MESSAGE"}'), {"data": packed(b"{}")["data"][:-8]}, packed(b" " * 2**24 + b"{}"),
    ],
)  # fmt: skip
def test_what_is_no_subscriptions_event_hands_nothing_on(event: object) -> None:
    spilled = Put()
    assert hand_on(event, replace(stores(), spilled=spilled)) == {"handed_on": 0}
    assert spilled == []


def test_lines_that_the_group_does_not_take_come_again() -> None:
    class Away(Put):
        def put(self, lines: Sequence[str]) -> None:
            raise StoreUnavailable("throttled")

    with pytest.raises(StoreUnavailable):
        hand_on(told(a_spilled_line(a_record(1), NOW).text), replace(stores(), spilled=Away()))
