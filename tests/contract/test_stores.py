"""One battery over each port's implementations: in memory, and on DynamoDB and S3 as the emulator speaks them.

The DynamoDB adapters run twice, on boto3's client and on the one that signs by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.dynamodb import DynamoDBEndpointStates, DynamoDBInvocationLog
from fiso.adapters.aws.s3 import S3Archive, S3RetrainingRuns, S3Snapshots
from fiso.adapters.aws.s3_models import S3ModelStore
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import ModelRefused, StoreUnavailable, WriteConflict
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.domain.state import EndpointState, LoadLevel
from fiso.ports import (
    Archive,
    EndpointStates,
    InvocationLog,
    ModelFiles,
    ModelStore,
    RetrainingRuns,
    Snapshots,
)
from fiso.testing.clock import ManualClock
from fiso.testing.memory import (
    InMemoryArchive,
    InMemoryEndpointStates,
    InMemoryInvocationLog,
    InMemoryModelStore,
    InMemoryRetrainingRuns,
    InMemorySnapshots,
)
from fiso_client.core.transport import HttpTransport
from tests.builders import NOW, a_record, a_snapshot, an_entry, an_open_record, invocation_id
from tests.emulator import aws, signed

FUNCTION, AWS = FunctionName("word-count"), EndpointId("aws")


@dataclass(frozen=True)
class Stores:
    """One implementation of every port."""

    log: InvocationLog
    states: EndpointStates
    snapshots: Snapshots
    models: ModelStore
    archive: Archive
    runs: RetrainingRuns


@pytest.fixture(params=["memory", "boto3", "signed"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    clock = ManualClock()
    if request.param == "memory":
        yield Stores(
            log=InMemoryInvocationLog(),
            states=InMemoryEndpointStates(),
            snapshots=InMemorySnapshots(),
            models=InMemoryModelStore(),
            archive=InMemoryArchive(),
            runs=InMemoryRetrainingRuns(),
        )
        return
    url = request.getfixturevalue("emulator_url")
    name = uuid4().hex[:8]
    dynamodb, s3 = aws("dynamodb", url), aws("s3", url)
    create_tables(dynamodb, name)
    s3.create_bucket(Bucket=f"bucket-{name}")
    transport = HttpTransport()
    used = dynamodb if request.param == "boto3" else DynamoDBClient(signed("dynamodb", url, transport))
    read = s3 if request.param == "boto3" else ReadThrough(S3Client(signed("s3", url, transport)), s3)
    yield Stores(
        log=DynamoDBInvocationLog(used, f"log-{name}", clock=clock),
        states=DynamoDBEndpointStates(used, f"state-{name}", clock=clock),
        snapshots=S3Snapshots(read, f"bucket-{name}"),
        models=S3ModelStore(read, f"bucket-{name}"),
        archive=S3Archive(read, f"bucket-{name}", clock=clock),
        runs=S3RetrainingRuns(read, f"bucket-{name}"),
    )
    for client in (dynamodb, s3, transport):
        client.close()


class ReadThrough:
    """Reads by one client, everything else by the other: the orchestrator only reads."""

    def __init__(self, reader: S3Client, other: Any) -> None:
        self.get_object = reader.get_object
        self.put_object = other.put_object
        self.list_objects_v2 = other.list_objects_v2


def create_tables(dynamodb: Any, name: str) -> None:
    def index(name: str, hash_key: str, range_key: str, projection: str) -> dict[str, Any]:
        keys = [{"AttributeName": hash_key, "KeyType": "HASH"}, {"AttributeName": range_key, "KeyType": "RANGE"}]
        return {"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": projection}}

    texts = ("invocation_id", "timestamp", "open_shard", "deadline_at", "time_shard")
    dynamodb.create_table(
        TableName=f"log-{name}",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": text, "AttributeType": "S"} for text in texts],
        KeySchema=[
            {"AttributeName": "invocation_id", "KeyType": "HASH"},
            {"AttributeName": "timestamp", "KeyType": "RANGE"},
        ],
        GlobalSecondaryIndexes=[
            index("open-records", "open_shard", "deadline_at", "KEYS_ONLY"),
            index("by-time", "time_shard", "timestamp", "ALL"),
        ],
    )
    dynamodb.create_table(
        TableName=f"state-{name}",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": text, "AttributeType": "S"} for text in ("function_name", "item")],
        KeySchema=[
            {"AttributeName": "function_name", "KeyType": "HASH"},
            {"AttributeName": "item", "KeyType": "RANGE"},
        ],
    )


def test_a_record_is_open_then_closed(stores: Stores) -> None:
    stores.log.open(an_open_record(1))
    assert stores.log.find(invocation_id(1)) == an_open_record(1)
    closed = a_record(1, timestamp=NOW)
    stores.log.close(closed)
    assert stores.log.find(invocation_id(1)) == closed


def test_writes_that_come_again_change_nothing(stores: Stores) -> None:
    closed = a_record(1, timestamp=NOW)
    stores.log.open(an_open_record(1))
    assert stores.log.close(closed) is True
    stores.log.open(an_open_record(1))
    assert stores.log.close(closed) is False
    assert stores.log.find(invocation_id(1)) == closed


def test_a_closed_record_is_not_closed_otherwise(stores: Stores) -> None:
    stores.log.close(a_record(1, timestamp=NOW))
    with pytest.raises(WriteConflict):
        stores.log.close(a_record(1, timestamp=NOW, status=RecordStatus.UNKNOWN))


def test_a_record_without_an_intent_is_kept(stores: Stores) -> None:
    stores.log.close(a_record(1))
    assert isinstance(stores.log.find(invocation_id(1)), InvocationRecord)


def test_an_unknown_id_is_none(stores: Stores) -> None:
    assert stores.log.find(invocation_id(404)) is None


def test_the_latest_records_come_newest_first(stores: Stores) -> None:
    for number in range(1, 21):
        stores.log.close(a_record(number))
    assert [r.invocation_id for r in stores.log.latest(5)] == [invocation_id(n) for n in (20, 19, 18, 17, 16)]
    after = NOW + timedelta(milliseconds=18)
    assert [r.invocation_id for r in stores.log.latest(5, after=after)] == [invocation_id(n) for n in (20, 19)]


def test_only_open_records_past_their_deadline_are_overdue(stores: Stores) -> None:
    for number in (1, 2, 3):
        stores.log.open(an_open_record(number, deadline_at=NOW + timedelta(seconds=number)))
    stores.log.close(a_record(1, timestamp=NOW))
    overdue = stores.log.overdue(NOW + timedelta(seconds=2.5), 10)
    assert [record.invocation_id for record in overdue] == [invocation_id(2)]
    assert all(isinstance(record, OpenRecord) for record in overdue)


def a_state(version: int, **changes: Any) -> EndpointState:
    known = EndpointState(function=FUNCTION, endpoint=AWS, version=version, folded=version, latency_ms=12.5)
    return replace(known, last_called_at=NOW, **changes)


A_LEVEL = LoadLevel(
    answers=9, cold_share=0.125, warm=8, latency_ms=12.5, latency_square=160.0, recent_ms=12.0, last_at=NOW
)


def test_states_come_back_with_all_their_levels(stores: Stores) -> None:
    levels = {0: A_LEVEL, 5: replace(A_LEVEL, cost_usd=1e-6, raw_log=2.5, changed_at=NOW)}
    known = a_state(1, levels=levels, idle_calls=(1, 2), idle_colds=(0, 1), cold_latency_ms=900.0)
    stores.states.commit([known], [invocation_id(1)])
    assert stores.states.of_function(FUNCTION) == {AWS: known}


def test_states_come_back_as_they_were_committed(stores: Stores) -> None:
    stores.states.commit([a_state(1)], [invocation_id(1)])
    assert stores.states.of_function(FUNCTION) == {AWS: a_state(1)}
    assert stores.states.of_function(FunctionName("other")) == {}


def test_a_record_is_folded_at_most_once(stores: Stores) -> None:
    stores.states.commit([a_state(1)], [invocation_id(1)])
    with pytest.raises(WriteConflict):
        stores.states.commit([a_state(2)], [invocation_id(2), invocation_id(1)])
    assert stores.states.of_function(FUNCTION) == {AWS: a_state(1)}
    assert stores.states.folded_among([invocation_id(1), invocation_id(2)]) == {invocation_id(1)}


def test_a_state_is_written_only_over_the_version_it_was_made_from(stores: Stores) -> None:
    stores.states.commit([a_state(1)], [invocation_id(1)])
    with pytest.raises(WriteConflict):
        stores.states.commit([a_state(1)], [invocation_id(2)])
    with pytest.raises(WriteConflict):
        stores.states.commit([a_state(3)], [invocation_id(2)])


def test_markers_are_found_among_many(stores: Stores) -> None:
    stores.states.commit([a_state(1)], [invocation_id(n) for n in range(60)])
    found = stores.states.folded_among(invocation_id(n) for n in range(250))
    assert found == {invocation_id(n) for n in range(60)}


def test_the_newest_snapshot_is_current_and_an_older_one_never_replaces_it(stores: Stores) -> None:
    assert stores.snapshots.current() is None
    second = a_snapshot(an_entry(version=2), version=2)
    stores.snapshots.publish(second)
    stores.snapshots.publish(a_snapshot())
    assert stores.snapshots.current() == second
    assert stores.snapshots.current(unless_version=1) == second
    assert stores.snapshots.current(unless_version=2) is None


def test_the_champion_is_the_last_published(stores: Stores) -> None:
    assert stores.models.champion() is None
    pointer = ModelPointer(version="m-1", sha256="0" * 64, trained_at=NOW, rows=5, is_synthetic=False, origin="store")
    stores.models.publish(ModelFiles(pointer=pointer, artifact=b"\x80model", card={"rows": 5}), replaces=None)
    assert stores.models.champion() == pointer
    assert stores.models.artifact(pointer) == b"\x80model"
    with pytest.raises(ModelRefused):
        stores.models.artifact(replace(pointer, version="m-2"))


def test_the_archive_gives_each_record_once_from_a_day_on(stores: Stores) -> None:
    yesterday = a_record(1, timestamp=NOW - timedelta(days=1))
    today = [a_record(n) for n in (2, 3)]
    stores.archive.append([yesterday, *today], batch_id="a")
    stores.archive.append([yesterday, *today], batch_id="a")
    stores.archive.append(today, batch_id="b")
    since_yesterday = stores.archive.since(NOW.date() - timedelta(days=1))
    assert sorted(r.invocation_id for r in since_yesterday) == [invocation_id(n) for n in (1, 2, 3)]
    assert sorted(r.invocation_id for r in stores.archive.since(NOW.date())) == [invocation_id(n) for n in (2, 3)]


def test_the_latest_retraining_runs_come_newest_first(stores: Stores) -> None:
    for minute in range(3):
        stores.runs.append(
            RetrainingRun(
                started_at=NOW + timedelta(minutes=minute),
                trigger="schedule",
                rows=minute,
                promoted=False,
                reason="too few rows",
                champion_version="m-1",
            )
        )
    assert [run.rows for run in stores.runs.latest(2)] == [2, 1]


def test_a_store_that_is_not_there_is_unavailable() -> None:
    nowhere = DynamoDBClient(signed("dynamodb", "http://127.0.0.1:9", HttpTransport()))
    with pytest.raises(StoreUnavailable):
        DynamoDBInvocationLog(nowhere, "log", clock=ManualClock()).find(invocation_id(1))
