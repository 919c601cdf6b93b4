"""One battery over each port's implementations: in memory, and on DynamoDB and S3 by boto3 and by our own calls."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.aws.snapshots import KEY, CopiedSnapshots, DynamoDBSnapshotCopy
from fiso.adapters.aws.tenant_use import KEEP, DynamoDBTenantUse
from fiso.codecs.catalog import snapshot_to_json
from fiso.codecs.record import instant
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import ModelRefused, StoreUnavailable, WriteConflict
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.domain.request import TenantId
from fiso.domain.rollup import NO_LATENCIES, Counts, Rollup
from fiso.domain.signed import SignedText
from fiso.domain.state import EndpointState, LoadLevel
from fiso.ports import ModelFiles, RecordKey
from fiso.routing.quota import Seen, Use
from fiso.services.maintenance.keep import unknown
from fiso.testing.clock import ManualClock
from fiso_cli.training import keys
from fiso_client.core.failures import Fault
from tests.builders import NOW, a_record, a_snapshot, an_attempt, an_entry, an_open_record, invocation_id
from tests.contract.stores import Emulated, Stores
from tests.models import a_signer

FUNCTION, AWS = FunctionName("word-count"), EndpointId("aws")


def test_a_record_is_open_then_closed(stores: Stores) -> None:
    stores.log.open(an_open_record(1))
    assert stores.log.find(invocation_id(1)) == an_open_record(1)
    closed = a_record(1, timestamp=NOW)
    stores.log.close(closed)
    assert stores.log.find(invocation_id(1)) == closed


def test_a_final_record_corrects_an_unknown_one_and_never_the_other_way(stores: Stores) -> None:
    stores.log.open(an_open_record(1))
    assert stores.log.close(unknown(an_open_record(1))) is True
    assert stores.log.close(unknown(an_open_record(1))) is False
    closed = a_record(1, timestamp=NOW)
    assert stores.log.close(closed) is True
    assert stores.log.close(closed) is False
    with pytest.raises(WriteConflict):
        stores.log.close(unknown(an_open_record(1)))
    stores.log.open(an_open_record(1))
    assert stores.log.find(invocation_id(1)) == closed


def test_a_record_without_an_intent_is_kept(stores: Stores) -> None:
    stores.log.close(a_record(1))
    assert isinstance(stores.log.find(invocation_id(1)), InvocationRecord)


def test_an_unknown_id_is_none(stores: Stores) -> None:
    assert stores.log.find(invocation_id(404)) is None


def test_records_are_given_as_they_are_now_under_their_whole_key_alone(stores: Stores) -> None:
    for number in range(1, 121):
        stores.log.close(a_record(number))
    stores.log.open(an_open_record(121))
    asked = [RecordKey(invocation_id(n), instant(a_record(n).timestamp)) for n in range(1, 121)]
    opened, other_time = RecordKey(invocation_id(121), instant(NOW)), RecordKey(invocation_id(1), instant(NOW))
    found = stores.log.recorded([*asked, *asked, opened, other_time, RecordKey("nobody", instant(NOW))])
    assert found == {**{key: a_record(n) for n, key in enumerate(asked, 1)}, opened: an_open_record(121)}


def close(stores: Stores, *records: InvocationRecord) -> None:
    """As requests do, and as the stream's reader then tells of them, together."""
    for record in records:
        stores.log.close(record)
    stores.lists.note(records)


def ids(found: Iterable[InvocationRecord | OpenRecord]) -> list[int]:
    numbers = {invocation_id(n): n for n in range(200)}
    return [numbers[record.invocation_id] for record in found]


def test_the_latest_records_come_newest_first(stores: Stores) -> None:
    for batch in ((7, 3, 20), (1, 2), range(4, 7), range(8, 20)):
        close(stores, *(a_record(number) for number in batch))
    assert ids(stores.log.latest(5)) == [20, 19, 18, 17, 16]
    assert ids(stores.log.latest(99)) == list(range(20, 0, -1))
    assert ids(stores.log.latest(5, after=NOW + timedelta(milliseconds=18))) == [20, 19]


@pytest.mark.parametrize("days", [1, 3])
def test_a_batch_of_several_days_is_listed_in_each(stores: Stores, days: int) -> None:
    old = [a_record(n, timestamp=NOW - timedelta(days=days, seconds=n)) for n in range(3)]
    close(stores, a_record(9), *old)
    assert ids(stores.log.latest(3)) == [9, 0, 1]
    assert ids(stores.log.latest(9, after=NOW - timedelta(days=days, seconds=1))) == [9, 0]


def test_what_is_told_again_in_other_batches_is_listed_once(stores: Stores) -> None:
    close(stores, a_record(1), a_record(2))
    close(stores, a_record(2), a_record(1), a_record(3))
    stores.lists.note([a_record(404)])  # of which the log holds nothing
    assert ids(stores.log.latest(9)) == [3, 2, 1]


def test_the_latest_of_one_tenant_are_found_behind_any_number_of_anothers(stores: Stores) -> None:
    close(stores, *(a_record(number, tenant=BOB if number > 2 else ALICE) for number in range(30)))
    assert ids(stores.log.latest(2, tenant=ALICE)) == [2, 1]
    assert len(stores.log.latest(10, tenant=BOB)) == 10
    assert stores.log.latest(10, tenant=TenantId("nobody")) == []
    assert ids(stores.log.latest(9, after=a_record(1).timestamp, tenant=ALICE)) == [2]


class Counting:
    """DynamoDB's client; `read` is how many items its queries have looked at."""

    def __init__(self, client: Any) -> None:
        self._client, self.read = client, 0

    def query(self, **asked: Any) -> Any:
        page = self._client.query(**asked)
        self.read += page["ScannedCount"]
        return page

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.mark.parametrize("other", ["bob", "alice#", "alic", "al#ice", "2026-11-23#0"])
def test_a_tenants_list_costs_the_same_however_much_others_call(at: Emulated, other: str) -> None:
    client = Counting(at.dynamodb)
    lists = DynamoDBLists(client, at.state, clock=ManualClock())
    log = DynamoDBInvocationLog(client, at.log, clock=ManualClock(), lists=lists)
    for number in range(43):
        record = a_record(number, tenant=TenantId(other) if number > 2 else ALICE)
        log.close(record)
        lists.note([record])
        log.open(an_open_record(100 + number))
        lists.watch([an_open_record(100 + number)])
    assert {record.request.tenant for record in log.latest(50, tenant=ALICE)} == {ALICE}
    assert len(log.latest(50, tenant=TenantId(other))) == 40
    client.read = 0
    assert len(log.latest(50, tenant=ALICE)) == 3
    assert client.read == 3
    assert len(log.latest(50)) == 43
    assert len(log.overdue(NOW + timedelta(hours=1), 99)) == 43


def test_a_record_that_a_client_dated_into_the_future_is_not_the_latest(at: Emulated) -> None:
    lists = DynamoDBLists(at.dynamodb, at.state, clock=ManualClock())
    log = DynamoDBInvocationLog(at.dynamodb, at.log, clock=ManualClock(), lists=lists)
    records = [a_record(1), a_record(2, timestamp=NOW + timedelta(seconds=59))]
    for record in records:
        log.close(record)
    lists.note(records)
    assert ids(log.latest(1)) == [1]


def test_only_open_records_past_their_deadline_are_overdue(stores: Stores) -> None:
    for number in (1, 2, 3):
        intent = an_open_record(number, deadline_at=NOW + timedelta(seconds=number))
        stores.log.open(intent)
        stores.lists.watch([intent])
    stores.log.close(a_record(1, timestamp=NOW))
    for _ in range(2):
        assert ids(stores.log.overdue(NOW + timedelta(seconds=2.5), 10)) == [2]
    assert ids(stores.log.overdue(NOW + timedelta(seconds=9), 10)) == [2, 3]
    stores.log.close(unknown(an_open_record(2)))
    assert ids(stores.log.overdue(NOW + timedelta(seconds=9), 10)) == [3]


def test_as_many_overdue_records_are_given_as_asked_for(stores: Stores) -> None:
    for number in range(30):
        stores.log.open(an_open_record(number))
    stores.lists.watch([an_open_record(number) for number in range(30)])
    late = NOW + timedelta(hours=1)
    assert len(stores.log.overdue(late, 20)) == 20
    assert sorted(ids(stores.log.overdue(late, 99))) == list(range(30))


def a_state(version: int, **changes: Any) -> EndpointState:
    known = EndpointState(function=FUNCTION, endpoint=AWS, version=version, folded=version, latency_ms=12.5)
    return replace(known, last_called_at=NOW, **changes)


A_LEVEL = LoadLevel(
    answers=9, cold_share=0.125, warm=8, latency_ms=12.5, latency_square=160.0, recent_ms=12.0, last_at=NOW
)


def records(*numbers: int) -> list[InvocationRecord]:
    return [a_record(number) for number in numbers]


def test_states_come_back_with_all_their_levels(stores: Stores) -> None:
    levels = {0: A_LEVEL, 5: replace(A_LEVEL, cost_usd=1e-6, raw_log=2.5, changed_at=NOW)}
    known = a_state(1, levels=levels, idle_calls=(1, 2), idle_colds=(0, 1), cold_latency_ms=900.0)
    stores.states.commit(FUNCTION, [known], records(1))
    assert stores.states.of_function(FUNCTION) == {AWS: known}
    assert stores.states.of_function(FunctionName("other")) == {}


def test_a_record_is_told_to_be_folded_by_its_function_time_and_id(stores: Stores) -> None:
    stores.states.commit(FUNCTION, [a_state(1)], records(1, 2))
    assert stores.states.folded_among(FUNCTION, records(1, 2, 3)) == {invocation_id(1), invocation_id(2)}
    assert stores.states.folded_among(FUNCTION, records(3)) == set()


def test_what_is_refused_marks_nothing(stores: Stores) -> None:
    stores.states.commit(FUNCTION, [a_state(1)], records(1))
    with pytest.raises(WriteConflict):
        stores.states.commit(FUNCTION, [a_state(1)], records(2))
    with pytest.raises(WriteConflict):
        stores.states.commit(FUNCTION, [a_state(3)], records(2))
    assert stores.states.of_function(FUNCTION) == {AWS: a_state(1)}
    assert stores.states.folded_among(FUNCTION, records(1, 2)) == {invocation_id(1)}


def test_folded_records_are_found_among_many_of_many_periods(stores: Stores) -> None:
    some = [a_record(n, timestamp=NOW + timedelta(seconds=n % 40)) for n in range(250)]
    stores.states.commit(FUNCTION, [a_state(1)], some[:60])
    stores.states.commit(FUNCTION, [a_state(2)], some[60:100])
    assert stores.states.folded_among(FUNCTION, some) == {invocation_id(n) for n in range(100)}


@pytest.mark.parametrize("kept", ["snapshots", "copy"])
def test_the_newest_snapshot_is_current_and_an_older_one_never_replaces_it(stores: Stores, kept: str) -> None:
    snapshots = getattr(stores, kept)
    assert snapshots.current() is None
    second = a_snapshot(an_entry(version=2), version=2)
    snapshots.publish(second)
    snapshots.publish(a_snapshot())
    assert snapshots.current() == second
    assert snapshots.current(unless_version=1) == second
    assert snapshots.current(unless_version=2) is None


def test_a_copy_that_was_missed_is_published_again(stores: Stores) -> None:
    both = CopiedSnapshots(stores.snapshots, stores.copy)
    stores.snapshots.publish(a_snapshot())
    assert stores.copy.current() is None
    assert both.current() == stores.copy.current() == a_snapshot()


def test_a_version_that_is_published_is_never_another_one(stores: Stores) -> None:
    stores.snapshots.publish(a_snapshot())
    with pytest.raises(WriteConflict):
        stores.snapshots.publish(a_snapshot(an_entry(name="another")))
    assert stores.snapshots.current() == a_snapshot()


def test_what_is_written_under_a_number_that_nobody_named_yet_stays(at: Emulated) -> None:
    """Whoever gave up before moving the pointer may be about to move it."""
    snapshots = S3Snapshots(at.s3, at.name, keys.sealing(a_signer()))
    snapshots.publish(a_snapshot())
    theirs = a_snapshot(an_entry(name="theirs"), version=2)
    at.s3.put_object(Bucket=at.name, Key="policies/2.json", Body=snapshot_to_json(theirs))
    with pytest.raises(WriteConflict):
        snapshots.publish(a_snapshot(an_entry(name="ours"), version=2))
    snapshots.publish(theirs)
    assert snapshots.current() == theirs


@pytest.mark.parametrize("number", ["0", "1", "9007199254740993", "99999999999999999999999999999999999999", None])
def test_a_copy_that_nobody_trusted_has_signed_keeps_no_version_out(at: Emulated, number: str | None) -> None:
    copy = DynamoDBSnapshotCopy(at.dynamodb, at.state, keys.sealing(a_signer()))
    put = {**KEY, "body": {"B": b"anything"}, "seal": {"S": "{}"}} | ({"version": {"N": number}} if number else {})
    at.dynamodb.put_item(TableName=at.state, Item=put)
    copy.publish(a_snapshot())
    assert (copy.current(), copy.attested()) == (a_snapshot(), 1)


def test_of_copies_that_are_made_at_once_the_newest_stays(at: Emulated) -> None:
    copy = DynamoDBSnapshotCopy(at.dynamodb, at.state, keys.sealing(a_signer()))
    with ThreadPoolExecutor(max_workers=4) as executor:
        list(executor.map(copy.publish, [a_snapshot(version=version) for version in (2, 4, 1, 3)]))
    copy.publish(a_snapshot(version=4))  # as the keeper does within a minute, where one of them was given up
    assert copy.attested() == 4


def test_a_promotion_is_kept_over_the_one_that_was_seen(stores: Stores) -> None:
    first, second = (SignedText(text=text, key_id="k", signature="AA==") for text in ("1", "2"))
    assert stores.promotions.read() is None
    stores.promotions.keep(first, replaces=None)
    assert stores.promotions.read() == first
    for seen in (None, second):
        with pytest.raises(WriteConflict):
            stores.promotions.keep(second, replaces=seen)
    stores.promotions.keep(second, replaces=first)
    assert stores.promotions.read() == second


def a_model(number: int, *, previous: ModelPointer | None = None) -> ModelFiles:
    pointer = ModelPointer(
        version=f"m-{number}",
        sha256=str(number) * 64,
        trained_at=NOW,
        rows=5,
        is_synthetic=False,
        origin="store",
        manifest=SignedText(text="{}", key_id="k", signature="AA=="),
        previous=previous,
    )
    return ModelFiles(pointer=pointer, artifact=b"\x80model %d" % number, card={"rows": 5})


def test_the_champion_is_the_last_published_and_remembers_the_one_before_it(stores: Stores) -> None:
    assert stores.models.champion() is None
    first = a_model(1)
    second = a_model(2, previous=first.pointer)
    stores.models.publish(first, replaces=None)
    assert stores.models.champion() == first.pointer
    stores.models.publish(second, replaces=first.pointer)
    assert stores.models.champion() == second.pointer
    assert stores.models.artifact(first.pointer) == first.artifact
    with pytest.raises(ModelRefused):
        stores.models.artifact(a_model(3).pointer)


def test_of_two_that_were_compared_with_one_champion_the_second_is_refused(stores: Stores) -> None:
    first, second, third = (a_model(number) for number in (1, 2, 3))
    with pytest.raises(WriteConflict):
        stores.models.publish(second, replaces=first.pointer)
    stores.models.publish(first, replaces=None)
    with pytest.raises(WriteConflict):
        stores.models.publish(third, replaces=None)
    stores.models.publish(second, replaces=first.pointer)
    with pytest.raises(WriteConflict):
        stores.models.publish(third, replaces=first.pointer)
    assert stores.models.champion() == second.pointer


def test_the_archive_gives_each_record_once_from_a_day_on(stores: Stores) -> None:
    yesterday = a_record(1, timestamp=NOW - timedelta(days=1))
    today = [a_record(n) for n in (2, 3)]
    stores.archive.append([yesterday, *today], batch_id="a")
    stores.archive.append([yesterday, *today], batch_id="a")
    stores.archive.append(today, batch_id="b")
    since_yesterday = stores.archive.since(NOW.date() - timedelta(days=1))
    assert sorted(r.invocation_id for r in since_yesterday) == [invocation_id(n) for n in (1, 2, 3)]
    assert sorted(r.invocation_id for r in stores.archive.since(NOW.date())) == [invocation_id(n) for n in (2, 3)]


def test_the_archive_prefers_a_final_record_to_the_unknown_one_it_corrects(stores: Stores) -> None:
    stores.archive.append([a_record(1)], batch_id="b")
    stores.archive.append([unknown(an_open_record(number)) for number in (1, 2)], batch_id="a")
    found = {record.invocation_id: record.status for record in stores.archive.since(NOW.date())}
    assert found == {invocation_id(1): RecordStatus.FINAL, invocation_id(2): RecordStatus.UNKNOWN}


def test_the_watermark_is_where_it_was_moved_to(stores: Stores) -> None:
    assert stores.watermark.read() is None
    stores.watermark.move(NOW)
    stores.watermark.move(NOW + timedelta(seconds=1.5))
    assert stores.watermark.read() == NOW + timedelta(seconds=1.5)


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


ALICE, BOB = TenantId("alice#/ü"), TenantId("bob")
SEEN = Seen(balance=-3.25, at=NOW, total=7.0)


def test_what_tenants_spent_adds_up_and_what_was_seen_stays_until_it_is_seen_anew(stores: Stores) -> None:
    assert stores.use.add(ALICE, 3, None) == Use(total=3)
    assert stores.use.add(ALICE, 4, SEEN) == Use(total=7, seen=SEEN)
    assert stores.use.add(ALICE, 1, None) == Use(total=8, seen=SEEN)
    later = Seen(balance=1e-07, at=NOW + KEEP, total=8)
    assert stores.use.add(ALICE, 0, later) == Use(total=8, seen=later)
    assert stores.use.add(BOB, 1, None) == Use(total=1)


def test_a_tenants_item_leaves_an_hour_after_its_last_use(at: Emulated) -> None:
    DynamoDBTenantUse(at.dynamodb, at.name, clock=ManualClock()).add(ALICE, 1, None)
    item = at.dynamodb.get_item(TableName=at.name, Key={"idempotency_id": {"S": f"use:{quote(ALICE, safe='')}"}})[
        "Item"
    ]
    assert int(item["expires_at"]["N"]) == int((NOW + KEEP).timestamp())


def test_a_table_that_is_gone_is_a_store_that_is_away(at: Emulated) -> None:
    with pytest.raises(StoreUnavailable):
        DynamoDBTenantUse(at.dynamodb, "no-such-table", clock=ManualClock()).add(ALICE, 1, None)


def a_rollup(minute: int, folded: int, *, ends_hour: bool = False) -> Rollup:
    counts = Counts(requests=folded, errors=1, cost_nano=7, latencies=(0, folded, *NO_LATENCIES[2:]))
    at = NOW.replace(minute=0, second=0, microsecond=0) + timedelta(minutes=minute)
    known = {AWS: replace(counts, verdicts={"provider": 1}), EndpointId("-"): Counts()}
    return Rollup(at=at, folded=folded, counts=known, ends_hour=ends_hour)


def kept(found: Iterable[Rollup]) -> list[int]:
    return [rollup.folded for rollup in found]


def test_minutes_and_hours_are_kept_and_the_fuller_of_two_stays(stores: Stores) -> None:
    stores.rollups.keep(FUNCTION, [a_rollup(58, 10), a_rollup(59, 20, ends_hour=True), a_rollup(61, 30)])
    stores.rollups.keep(FUNCTION, [a_rollup(59, 12, ends_hour=True), a_rollup(61, 35), a_rollup(61, 35)])
    start = a_rollup(0, 0).at
    found = stores.rollups.between(FUNCTION, start, start + timedelta(hours=2), by_hour=False)
    assert kept(found) == [10, 20, 35]
    assert replace(found[1], ends_hour=False) == a_rollup(59, 20)
    assert kept(stores.rollups.between(FUNCTION, start, start + timedelta(hours=2), by_hour=True)) == [20]
    later = stores.rollups.between(FUNCTION, start + timedelta(minutes=60), start + timedelta(hours=2), by_hour=False)
    assert kept(later) == [20, 35], "after the one that it is told from"
    before = stores.rollups.newest_before(FUNCTION, start + timedelta(minutes=59))
    assert before is not None
    assert before.folded == 10
    assert stores.rollups.newest_before(FUNCTION, start) is None
    assert stores.rollups.between(FunctionName("word"), start, start + timedelta(hours=2), by_hour=False) == []


def test_what_went_wrong_is_found_among_what_went_well(stores: Stores) -> None:
    bad = [an_attempt(status=503, verdict=Fault.PROVIDER)]
    close(stores, *(a_record(n) for n in range(40)))
    close(stores, a_record(50, attempts=(*bad, an_attempt())), a_record(51, error_occurred=True, response_status=502))
    close(stores, a_record(52, error_occurred=True, tenant=BOB), a_record(53))
    assert ids(stores.log.troubled(9)) == [52, 51, 50]
    assert ids(stores.log.troubled(1, tenant=TenantId("local"))) == [51]
    assert ids(stores.log.troubled(9, admits=lambda trouble: "provider" in trouble.verdicts)) == [50]
    assert ids(stores.log.troubled(9, admits=lambda trouble: trouble.status == 502)) == [51]
    assert ids(stores.log.troubled(9, after=a_record(51).timestamp)) == [52]
