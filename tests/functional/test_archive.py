"""The archive under compaction and reading: each record once at every moment, whatever fails, stops or runs twice."""

import gzip
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError
from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.adapters.aws import archive_compaction
from fiso.adapters.aws.archive import S3Archive, named, pack, unpacked
from fiso.adapters.aws.archive_compaction import PLAN, Compacted, Compaction
from fiso.adapters.aws.client import AwsError
from fiso.domain.archive import Extent
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, RecordStatus
from tests.builders import NOW, a_record, changed
from tests.memory_s3 import MemoryS3

MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
LATER = MIDNIGHT + timedelta(days=1, hours=2)
Ids = Counter[str]


def quiet(operation: str, asked: Mapping[str, Any]) -> None:
    """Nothing goes wrong."""


class Killed(BaseException):
    """As a signal ends the process: nothing catches it."""


def archive(s3: MemoryS3, now: datetime = LATER) -> S3Archive:
    return S3Archive(s3, "b", clock=lambda: now)


def compact(s3: MemoryS3, now: datetime = LATER, *, for_: timedelta = timedelta(hours=1)) -> Compacted:
    return Compaction(s3, "b", clock=lambda: now).compact(ends_at=now + for_)


def record(number: int, *, hours: float = 3, function: str = "f", **changes: Any) -> InvocationRecord:
    at = MIDNIGHT + timedelta(hours=hours, milliseconds=number)
    return changed(a_record(number, timestamp=at), function_name=FunctionName(function), **changes)


def filled(*records: InvocationRecord, s3: MemoryS3 | None = None, each: int = 3) -> MemoryS3:
    s3 = s3 or MemoryS3(page=7)
    for first in range(0, len(records), each):
        batch = records[first : first + each]
        archive(s3).append(batch, batch_id=" ".join(one.invocation_id for one in batch))
    return s3


def of_older_code(s3: MemoryS3) -> MemoryS3:
    """The same objects, where older code put them: below their day."""
    for key in [key for key in s3.objects if "/hour=" in key]:
        day, _, name = key.partition("/hour=")
        s3.objects[f"{day}/{name[3:]}"] = s3.objects.pop(key)
    return s3


def ids(s3: MemoryS3, now: datetime = LATER, **how: Any) -> Ids:
    return Counter(one.invocation_id for one in archive(s3, now).since(MIDNIGHT.date(), **how))


def lines(s3: MemoryS3) -> Ids:
    return Counter(line.decode() for key, body in s3.objects.items() if named(key) for line in unpacked(body))


def smalls(s3: MemoryS3) -> list[str]:
    return [key for key in s3.objects if (found := named(key)) is not None and found.records is None]


@pytest.mark.parametrize("older", [False, True], ids=["by the hour", "by the day"])
def test_closed_hours_become_few_objects_with_the_same_records(older: bool) -> None:
    s3 = filled(
        *(record(n, hours=hours) for hours in (1, 2, 25.9) for n in range(int(hours) * 100, int(hours) * 100 + 40))
    )
    if older:
        of_older_code(s3)
    before, kept = ids(s3), lines(s3)
    done = compact(s3)
    assert (done.problem, done.is_done, done.records) == (None, True, 80)
    assert ids(s3) == before
    assert len(before) == 120
    assert lines(s3) == kept, "no line is changed, lost or doubled"
    days = {(found.span.day, found.span.hour) for key in smalls(s3) if (found := named(key))}
    assert {day for day, _ in days} == {LATER.date()}, "the hour that is not over yet is left"
    assert compact(s3).objects == 0, "again there is nothing to do"


def test_what_comes_late_is_taken_in_and_replaces_what_told_less() -> None:
    unknown = record(1, status=RecordStatus.UNKNOWN)
    s3 = filled(unknown, *(record(n) for n in range(2, 30)))
    compact(s3)
    filled(record(1), record(2), record(40), s3=s3)
    assert ids(s3) == Counter({a_record(n).invocation_id: 1 for n in (*range(1, 30), 40)})
    compact(s3)
    assert smalls(s3) == []
    assert [named(key).records for key in s3.objects if named(key)] == [30]  # type: ignore[union-attr]
    found = {one.invocation_id: one.status for one in archive(s3).since(MIDNIGHT.date())}
    assert found[unknown.invocation_id] is RecordStatus.FINAL


OPERATIONS = ("put", "get", "list", "delete")


@pytest.mark.parametrize("stops_at", range(24))
def test_a_compaction_killed_at_any_step_loses_and_doubles_nothing(stops_at: int) -> None:
    s3 = filled(*(record(n, hours=n % 3) for n in range(30)))
    before, kept, steps = ids(s3), lines(s3), iter(range(stops_at))

    def kill(operation: str, asked: Mapping[str, Any]) -> None:
        if operation != "get" and next(steps, None) is None:
            raise Killed

    s3.before = kill
    with suppress(Killed):
        compact(s3)
    s3.before = quiet
    assert ids(s3) == before, "readers between two runs"
    filled(record(100, hours=1), s3=s3)
    compact(s3, LATER + timedelta(hours=1))
    assert ids(s3) == before + Counter([a_record(100).invocation_id])
    assert len(smalls(s3)) == 0
    assert sum(lines(s3).values()) == sum(kept.values()) + 1, "not even the store holds a line twice"


@pytest.mark.parametrize("answered", [False, True], ids=["not done", "done, but not said"])
@pytest.mark.parametrize("failing", OPERATIONS)
def test_a_store_that_fails_now_and_then_only_delays(failing: str, answered: bool) -> None:
    """503 SlowDown, or a connection that breaks before or after the store acted."""
    s3, rng = filled(*(record(n, hours=n % 5) for n in range(60))), random.Random(1)
    before = ids(s3)

    def fail(operation: str, asked: Mapping[str, Any]) -> None:
        if operation != failing or rng.random() < 0.7:
            return
        if answered and operation == "delete":
            for one in asked["Delete"]["Objects"][:2]:
                s3.objects.pop(one["Key"], None)
        if answered and operation == "put" and asked["Key"] != PLAN:
            s3.objects[asked["Key"]] = asked["Body"]
        raise AwsError("SlowDown", "reduce your request rate", {"ResponseMetadata": {"HTTPStatusCode": 503}})

    now = LATER
    for _ in range(60):
        s3.before = fail
        done = compact(s3, now)
        s3.before = quiet
        assert ids(s3) == before
        now += timedelta(hours=1)
        if done.is_done and not done.left:
            break
    assert smalls(s3) == []


def test_two_compactions_at_once_keep_off_each_other_and_lose_nothing_if_they_do_not() -> None:
    s3 = filled(*(record(n, hours=n % 2) for n in range(40)))
    before, others = ids(s3), list[Compacted]()

    def another(after: timedelta) -> Callable[[str, Mapping[str, Any]], None]:
        def run(operation: str, asked: Mapping[str, Any]) -> None:
            if operation == "put" and asked["Key"] != PLAN and not others:
                others.append(Compacted())
                others.append(compact(s3, LATER + after))

        return run

    s3.before = another(timedelta(minutes=1))
    assert (compact(s3).problem, others[-1].problem) == (None, "another compaction is at work")
    assert ids(s3) == before
    filled(*(record(n, hours=n % 2) for n in range(100, 140)), s3=s3)
    before = ids(s3)
    others.clear()
    s3.before = another(timedelta(hours=1))  # so late that the first one counts as dead
    compact(s3, LATER + timedelta(hours=2))
    assert others[-1].problem is None
    assert ids(s3) == before
    compact(s3, LATER + timedelta(hours=9))
    assert ids(s3) == before


@pytest.mark.parametrize("most", [None, 10_000])
def test_what_is_compacted_while_it_is_read_is_read_once(most: int | None) -> None:
    s3 = filled(*(record(n, hours=n % 3) for n in range(300)))
    before, reads = ids(s3), iter(range(10))

    def compacting(operation: str, asked: Mapping[str, Any]) -> None:
        if operation == "get" and next(reads, None) is None:
            s3.before = quiet
            compact(s3)

    s3.before = compacting
    assert ids(s3, most=most) == before
    assert smalls(s3) == []


DAMAGE = {
    "half an object": lambda body: body[: len(body) // 2],
    "no gzip": lambda body: b"<html>",
    "empty": lambda body: b"",
    "a bomb": lambda body: gzip.compress(bytes(3 * 2**20)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_an_object_that_does_not_unpack_is_left_out_named_and_kept(damage: Callable[[bytes], bytes]) -> None:
    s3 = filled(*(record(n) for n in range(30)))
    key = smalls(s3)[4]
    s3.objects[key] = damage(s3.objects[key])
    extent = Extent()
    assert 27 <= len(ids(s3, extent=extent)) <= 30
    done = compact(s3)
    assert (done.left, done.is_done) == (int(s3.objects.get(key) is not None), True)
    assert 27 <= len(ids(s3)) <= 30
    assert key in s3.objects or s3.objects.get(key) is None


def test_a_damaged_line_is_left_out_and_moved_as_it_is() -> None:
    s3 = filled(*(record(n) for n in range(6)), each=6)
    (key,) = smalls(s3)
    s3.objects[key] = pack([*unpacked(s3.objects[key]), b'{"half', b"[1]"])
    extent = Extent()
    assert len(ids(s3, extent=extent)) == 6
    assert extent.left_out == 1
    compact(s3)
    assert len(ids(s3)) == 6
    assert {'{"half', "[1]"} <= set(lines(s3))


def test_a_listing_that_fails_costs_its_day_and_one_that_always_does_is_told() -> None:
    s3 = filled(*(record(n, hours=hours) for hours in (3, 27) for n in range(int(hours) * 100, int(hours) * 100 + 9)))

    def fails(operation: str, asked: Mapping[str, Any]) -> None:
        if operation == "list" and (asked["Prefix"].endswith(f"{MIDNIGHT.date()}/") or len(days) == 2):
            raise AwsError("SlowDown", "reduce your request rate", {})

    days, extent = [1], Extent()
    s3.before = fails
    assert len(ids(s3, LATER + timedelta(hours=2), extent=extent)) == 9
    assert extent.left_out == 1
    days.append(2)
    with pytest.raises(StoreUnavailable):
        ids(s3)


def test_an_answer_that_ends_early_is_asked_for_again() -> None:
    s3, ended = filled(*(record(n) for n in range(9))), set[str]()

    def ends(operation: str, asked: Mapping[str, Any]) -> None:
        if operation == "get" and asked["Key"] not in ended:
            ended.add(asked["Key"])
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)

    s3.before, extent = ends, Extent()
    assert len(ids(s3, extent=extent)) == 9
    assert (len(ended), extent.left_out) == (3, 0)


def test_objects_that_all_fail_are_no_empty_archive() -> None:
    s3 = filled(*(record(n) for n in range(9)))

    def fails(operation: str, asked: Mapping[str, Any]) -> None:
        if operation == "get":
            raise AwsError("SlowDown", "reduce your request rate", {})

    s3.before = fails
    with pytest.raises(StoreUnavailable):
        ids(s3)


def test_a_bounded_reading_gives_hours_the_same_share_and_leaves_rare_functions_theirs() -> None:
    busy = [record(n, hours=n % 20, function="hot") for n in range(4_000)]
    rare = [record(n, hours=n % 20, function="rare") for n in range(10_000, 10_020)]
    s3 = filled(*busy, *rare, each=50, s3=MemoryS3())
    compact(s3)
    extent = Extent()
    found = list(archive(s3).since(MIDNIGHT.date(), most=400, extent=extent))
    assert 380 <= len(found) <= 400
    assert sum(one.request.function_name == "rare" for one in found) == 20
    per_hour = Counter(one.timestamp.hour for one in found)
    assert len(per_hour) == 20
    assert max(per_hour.values()) - min(per_hour.values()) <= 1
    assert extent.standing == 4_020
    assert found[0].timestamp > found[-1].timestamp, "newest hours first"


def test_hours_that_have_few_leave_their_share_to_others() -> None:
    s3 = filled(
        *(record(n, hours=n % 10) for n in range(20)), *(record(n, hours=12) for n in range(100, 1_100)), each=50
    )
    compact(s3)
    found = list(archive(s3).since(MIDNIGHT.date(), most=500))
    assert len(found) == 500
    assert sum(one.timestamp.hour < 10 for one in found) == 20


@pytest.mark.parametrize("older", [False, True])
def test_a_month_of_small_objects_is_sampled_without_listing_or_reading_all(older: bool) -> None:
    s3 = filled(*(record(n, hours=n % 24) for n in range(2_400)), each=1, s3=MemoryS3(page=100))
    if older:
        of_older_code(s3)
    s3.calls.clear()
    extent = Extent()
    assert len(ids(s3, most=240, extent=extent)) == 240
    assert s3.calls["get"] <= 240 + 24 * 32
    assert s3.calls["list"] <= 60
    assert 1_200 <= extent.standing <= 4_800


def test_a_reading_that_runs_out_of_time_gives_the_newest_hours() -> None:
    s3 = filled(*(record(n, hours=n % 20) for n in range(200)))
    ticks = iter(range(10_000))
    timed = S3Archive(s3, "b", clock=lambda: LATER + timedelta(seconds=next(ticks)))
    extent = Extent()
    found = list(timed.since(MIDNIGHT.date(), ends_at=LATER + timedelta(seconds=40), extent=extent))
    assert extent.hours_read < extent.hours
    assert 0 < len(found) < 200
    assert min(one.timestamp.hour for one in found) >= 10


def test_whoever_stops_reading_stops_the_requests() -> None:
    s3 = filled(*(record(n) for n in range(3_000)), each=1, s3=MemoryS3())
    reading = archive(s3).since(MIDNIGHT.date())
    next(iter(reading))
    reading.close()
    assert s3.calls["get"] < 200


def test_slices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_compaction, "MOST_OBJECTS", 10)
    s3 = filled(*(record(n) for n in range(90)))
    before = ids(s3)
    done = compact(s3)
    assert (done.made, done.objects) == (3, 30)
    assert ids(s3) == before


@pytest.mark.parametrize("hours_off", [-30, -1, 1, 30])
def test_a_clock_that_is_wrong_loses_nothing(hours_off: int) -> None:
    s3 = filled(*(record(n, hours=n % 26) for n in range(104)))
    before = ids(s3)
    for now in (LATER + timedelta(hours=hours_off), LATER):
        compact(s3, now)
        assert ids(s3) == before
    filled(*(record(n, hours=n % 26) for n in range(200, 260)), s3=s3)
    compact(s3, LATER + timedelta(hours=3))
    assert len(ids(s3)) == 164


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2), st.booleans()), max_size=40), st.data())
def test_any_deliveries_and_compactions_read_as_the_last_word_on_each(
    told: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    """Records come in any batches, again, final or unknown; runs come between, and are killed at any request."""
    s3, expected, now = MemoryS3(page=3), dict[str, RecordStatus](), LATER
    for number, hours, is_final in told:
        status = RecordStatus.FINAL if is_final else RecordStatus.UNKNOWN
        one = record(number, hours=number % 3, status=status)
        filled(one, s3=s3)
        best = {status, expected.get(one.invocation_id, status)}
        expected[one.invocation_id] = RecordStatus.FINAL if RecordStatus.FINAL in best else RecordStatus.UNKNOWN
        if hours == 0:
            steps = iter(range(data.draw(st.integers(0, 12))))

            def kill(operation: str, asked: Mapping[str, Any], steps: Any = steps) -> None:
                if next(steps, None) is None:
                    raise Killed

            s3.before, now = kill, now + timedelta(hours=1)
            with suppress(Killed):
                compact(s3, now)
            s3.before = quiet
        found = [(each.invocation_id, each.status) for each in archive(s3, now).since(MIDNIGHT.date())]
        assert sorted(found) == sorted(expected.items())
