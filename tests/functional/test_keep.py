"""The keeper: spilled lines written, abandoned records closed, the catalog published, whatever is away."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from fiso.codecs import spilled_line
from fiso.domain.errors import InvalidCatalog, StoreNotSetUp, StoreUnavailable
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.ports import SpilledLine
from fiso.services.log.reconcile import FIRST_LOOK_BACK, OVERLAP, Reconciled, Reconciliation
from fiso.services.log.spill import MARK
from fiso.services.maintenance.keep import AT_ONCE, GRACE, GRACE_BY_SIGNS, GRACE_WHILE_UNREAD, Keeper, unknown
from fiso.testing.clock import ManualClock
from fiso.testing.memory import (
    InMemoryCatalogStore,
    InMemoryInvocationLog,
    InMemorySnapshots,
    InMemorySpilledRecords,
    InMemoryWatermark,
    answering,
    away,
)
from tests.builders import KEYRING, NOW, a_record, a_spilled_line, an_entry, an_open_record, invocation_id
from tests.held_executor import HeldExecutor

LATER, LONG_AGO = NOW + timedelta(hours=1), NOW - timedelta(hours=1)


class Lines(InMemorySpilledRecords):
    """Keeps what was asked, and takes its time."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock, self.takes_s, self.per_s = clock, 0.0, 0.0
        self.asked: list[tuple[datetime, datetime]] = []

    def pages(self, start: datetime, end: datetime) -> Iterable[Sequence[SpilledLine]]:
        self.asked.append((start, end))
        self.clock.advance(self.takes_s + self.per_s * (end - start).total_seconds())
        return super().pages(start, end)


class Signs:
    """Minutes in which something was spilled, told some time after."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.late, self.asked = clock, timedelta(0), 0
        self.spilled_at: list[datetime] = []
        self.before: Callable[[], None] = lambda: None

    def minutes(self, start: datetime, end: datetime) -> frozenset[datetime]:
        self.asked += 1
        self.before()
        told = [at.replace(second=0, microsecond=0) for at in self.spilled_at if at + self.late <= self.clock()]
        return frozenset(minute for minute in told if start - timedelta(minutes=1) < minute < end)


@dataclass
class World:
    """A keeper on ports in memory."""

    log: InMemoryInvocationLog = field(default_factory=InMemoryInvocationLog)
    clock: ManualClock = field(default_factory=ManualClock)
    watermark: InMemoryWatermark = field(default_factory=InMemoryWatermark)
    snapshots: InMemorySnapshots = field(default_factory=InMemorySnapshots)
    signs: Signs | None = None

    def __post_init__(self) -> None:
        self.spilled = Lines(self.clock)
        self.catalog = InMemoryCatalogStore(clock=self.clock)

    @property
    def reconciliation(self) -> Reconciliation:
        return Reconciliation(
            spilled=self.spilled,
            keys=lambda: KEYRING,
            signs=self.signs,
            watermark=self.watermark,
            log=self.log,
            clock=self.clock,
            executor=HeldExecutor(),
        )

    @property
    def keeper(self) -> Keeper:
        return Keeper(
            log=self.log,
            reconciliation=self.reconciliation,
            catalog=self.catalog,
            snapshots=self.snapshots,
            clock=self.clock,
            sleep=self.clock.advance,
            executor=HeldExecutor(),
        )

    def reconcile(self, until: datetime = LATER) -> Reconciled:
        """By an environment of its own."""
        return self.reconciliation.reconcile(until=until)

    def spill(self, *records: InvocationRecord | OpenRecord, ago: timedelta = timedelta(minutes=3)) -> None:
        self.spilled.lines.extend(a_spilled_line(record, self.clock() - ago) for record in records)

    def abandon(self, *numbers: int) -> None:
        for number in numbers:
            self.log.open(an_open_record(number, deadline_at=LONG_AGO))

    def status_of(self, number: int) -> RecordStatus:
        record = self.log.find(invocation_id(number))
        assert record is not None
        return record.status if isinstance(record, InvocationRecord) else RecordStatus.OPEN


@pytest.fixture
def world() -> World:
    return World()


def test_only_records_abandoned_past_their_deadline_and_grace_are_closed_as_unknown(world: World) -> None:
    world.log.open(an_open_record(1, deadline_at=NOW - GRACE - timedelta(milliseconds=1)))
    world.log.open(an_open_record(2, deadline_at=NOW - GRACE + timedelta(seconds=1)))
    assert world.keeper.keep().swept.closed_as_unknown == 1
    closed = world.log.find(invocation_id(1))
    assert isinstance(closed, InvocationRecord)
    assert (closed.status, closed.result.endpoint, closed.result.cost_usd) == (RecordStatus.UNKNOWN, None, None)
    assert world.status_of(2) is RecordStatus.OPEN


def test_a_record_that_was_closed_meanwhile_stays_as_it_is(world: World) -> None:
    def racing(operation: str) -> None:
        if operation == "close":
            world.log.records[invocation_id(1)] = a_record(1, timestamp=NOW)

    world.abandon(1)
    world.log.before = racing
    assert world.keeper.keep().swept.closed_as_unknown == 0
    assert world.log.find(invocation_id(1)) == a_record(1, timestamp=NOW)


def test_a_sweep_goes_on_until_nothing_is_overdue(world: World) -> None:
    world.abandon(*range(2 * AT_ONCE + 1))
    swept = world.keeper.keep().swept
    assert (swept.closed_as_unknown, swept.has_more) == (2 * AT_ONCE + 1, False)


def test_a_sweep_that_runs_out_of_time_says_that_there_is_more(world: World) -> None:
    world.log.before = lambda operation: world.clock.advance(30 if operation == "overdue" else 0)
    world.abandon(*range(3 * AT_ONCE))
    swept = world.keeper.keep().swept
    assert (swept.closed_as_unknown, swept.has_more) == (2 * AT_ONCE, True)


def test_a_spilled_final_record_is_written_before_the_sweep_would_call_it_unknown(world: World) -> None:
    world.log.open(an_open_record(1, deadline_at=NOW - timedelta(minutes=5)))
    world.spill(a_record(1, timestamp=NOW), ago=timedelta(minutes=5))
    kept = world.keeper.keep()
    assert (kept.reconciled.written, kept.swept.closed_as_unknown) == (1, 0)
    assert world.status_of(1) is RecordStatus.FINAL


def test_nothing_is_called_unknown_while_lines_cannot_be_read_until_it_takes_too_long(world: World) -> None:
    world.spilled.before = away("throttled")
    world.log.open(an_open_record(1, deadline_at=NOW - GRACE - timedelta(seconds=1)))
    world.log.open(an_open_record(2, deadline_at=NOW - GRACE_WHILE_UNREAD - timedelta(seconds=1)))
    kept = world.keeper.keep()
    assert kept.problems == ("spilled lines not all read: throttled",)
    assert (world.status_of(1), world.status_of(2)) == (RecordStatus.OPEN, RecordStatus.UNKNOWN)


def test_a_final_record_that_comes_too_late_corrects_the_unknown_one(world: World) -> None:
    world.log.open(an_open_record(1))
    world.log.close(unknown(an_open_record(1)))
    world.spill(a_record(1, timestamp=NOW), ago=timedelta(seconds=1))
    assert world.keeper.keep().reconciled.written == 1
    assert world.status_of(1) is RecordStatus.FINAL


def test_the_catalog_is_published_once_per_version(world: World) -> None:
    world.catalog.replace([an_entry()], based_on=0, author="me")
    first, second = world.keeper.keep(), world.keeper.keep()
    assert (first.published_version, second.published_version) == (1, None)


def test_a_database_that_is_away_keeps_no_record_from_being_closed(world: World) -> None:
    world.catalog.before = away("connection refused")
    world.abandon(1)
    kept = world.keeper.keep()
    assert kept.swept.closed_as_unknown == 1
    assert kept.problems == ("catalog not published: connection refused",)


def test_a_database_that_nobody_set_up_is_told_at_once_and_costs_the_round_nothing(world: World) -> None:
    def unset(_: str) -> None:
        raise StoreNotSetUp("secret fiso/prod/keeper-database is missing")

    world.catalog.before = unset
    world.abandon(1)
    began = world.clock()
    kept = world.keeper.keep()
    assert kept.problems == ("catalog not published: secret fiso/prod/keeper-database is missing",)
    assert (kept.swept.closed_as_unknown, world.clock() - began) == (1, timedelta(0))


def test_a_catalog_in_a_form_of_later_code_keeps_no_record_from_being_closed_and_told(world: World) -> None:
    def unread(_: str) -> None:
        raise InvalidCatalog("its table has no column weight_latency")

    world.catalog.before = unread
    world.abandon(1)
    kept = world.keeper.keep()
    assert kept.swept.closed_as_unknown == 1
    assert kept.problems == ("catalog not published: its table has no column weight_latency",)


def test_a_log_that_is_away_keeps_no_catalog_from_being_published(world: World) -> None:
    world.log.before = away("throttled", "overdue")
    world.catalog.replace([an_entry()], based_on=0, author="me")
    kept = world.keeper.keep()
    assert (kept.published_version, kept.swept.has_more) == (1, True)
    assert kept.problems == ("open records not all closed: throttled",)


def test_a_database_that_comes_back_within_the_round_is_published_in_it(world: World) -> None:
    def returning(operation: str) -> None:
        if world.catalog.operations["load"] < 3:
            raise StoreUnavailable("timeout expired")

    world.catalog.replace([an_entry()], based_on=0, author="me")
    world.catalog.before = returning
    kept = world.keeper.keep()
    assert (kept.published_version, kept.problems) == (1, ())
    assert world.clock() - NOW == timedelta(seconds=10)


def test_spilled_intents_and_records_are_written(world: World) -> None:
    world.spill(a_record(1), an_open_record(2))
    done = world.reconcile()
    assert (done.written, done.is_complete) == (2, True)
    assert world.log.find(invocation_id(1)) == a_record(1)
    assert world.log.find(invocation_id(2)) == an_open_record(2)


def test_an_intent_never_stands_over_its_record(world: World) -> None:
    world.spill(a_record(1, timestamp=NOW), an_open_record(1))
    done = world.reconcile()
    assert world.log.find(invocation_id(1)) == a_record(1, timestamp=NOW)
    assert done.written + done.known == 2


def test_a_second_round_reads_the_overlap_again_and_changes_nothing(world: World) -> None:
    world.spill(a_record(1))
    world.reconcile()
    again = world.reconcile()
    assert (again.written, again.known) == (0, 1)
    assert min(begin for begin, _ in world.spilled.asked[-10:]) == NOW - OVERLAP
    assert max(end for _, end in world.spilled.asked[-10:]) == NOW


def test_a_busy_stages_round_reads_what_is_new_and_gives_late_lines_a_last_chance(world: World) -> None:
    """Ten minutes of lines are more than a round can read: each is read when it is new and when it is ten old."""
    world.reconcile()
    world.spilled.asked.clear()
    world.clock.advance(60)
    world.spill(a_record(1), ago=OVERLAP + timedelta(seconds=30))
    world.spilled.takes_s = 5  # a minute of lines
    done = world.reconcile(world.clock() + timedelta(seconds=12))
    assert done.is_complete
    assert done.written == 1
    new = (NOW, NOW + timedelta(minutes=1))
    assert world.spilled.asked[:2] == [tuple(at - OVERLAP for at in new), new]
    assert len(world.spilled.asked) <= 3


def signed_world() -> tuple[World, Signs]:
    world = World()
    world.signs = Signs(world.clock)
    world.watermark.move(NOW)
    return world, world.signs


def test_where_nothing_was_spilled_no_line_is_looked_through() -> None:
    world, signs = signed_world()
    world.spilled.takes_s = 60
    for _ in range(20):
        world.clock.advance(60)
        assert world.keeper.keep().reconciled.is_complete
    assert (world.spilled.asked, signs.asked, world.watermark.read()) == ([], 20, world.clock())


@pytest.mark.parametrize("late_s", [0, 100, 300, 540])
@pytest.mark.parametrize("before_its_sign_s", [0, 29])
def test_what_was_spilled_is_found_however_late_its_sign_comes(late_s: float, before_its_sign_s: float) -> None:
    world, signs = signed_world()
    signs.late = timedelta(seconds=late_s)
    world.clock.advance(59 + before_its_sign_s)
    signs.spilled_at.append(world.clock())
    world.spill(a_record(1), ago=timedelta(seconds=before_its_sign_s))
    rounds = 0
    while not world.log.records:
        world.clock.advance(60)
        world.keeper.keep()
        rounds += 1
        assert rounds <= 11
    assert len(set(world.spilled.asked)) <= 8


def test_where_signs_cannot_be_had_every_line_is_looked_through_and_they_are_asked_for_later() -> None:
    world, signs = signed_world()
    signs.before = lambda: away("no way there")("minutes")
    world.spill(a_record(1), ago=timedelta(seconds=-30))
    reconciliation = world.reconciliation
    for _ in range(9):
        world.clock.advance(60)
        reconciliation.reconcile(until=LATER)
    assert (len(world.log.records), signs.asked) == (1, 1)
    world.clock.advance(120)
    reconciliation.reconcile(until=LATER)
    assert signs.asked == 2


def test_by_signs_an_open_record_is_called_unknown_once_its_line_would_have_been_seen() -> None:
    world, _ = signed_world()
    world.log.open(an_open_record(1, deadline_at=NOW - GRACE_BY_SIGNS - timedelta(seconds=1)))
    world.log.open(an_open_record(2, deadline_at=NOW - GRACE_BY_SIGNS + timedelta(seconds=1)))
    assert world.keeper.keep().swept.closed_as_unknown == 1


def test_a_slice_that_takes_too_long_is_broken_off_and_smaller_ones_get_on(world: World) -> None:
    world.reconcile()
    world.clock.advance(60)
    world.spill(a_record(1), ago=timedelta(seconds=50))
    reconciliation, rounds = world.reconciliation, 0
    world.spilled.per_s = 0.7  # of reading for each of what is read
    with pytest.raises(StoreUnavailable, match="not all read in time"):
        reconciliation.reconcile(until=world.clock(), at_most_until=world.clock() + timedelta(seconds=30))
    while not world.log.records and rounds < 9:
        until = world.clock() + timedelta(seconds=12)
        reconciliation.reconcile(until=until, at_most_until=until + timedelta(seconds=18))
        rounds += 1
    assert len(world.log.records) == 1


def test_every_round_sweeps_and_publishes_whatever_reading_takes() -> None:
    world = World()
    world.watermark.move(NOW)
    world.clock.advance(3_600)
    world.catalog.replace([an_entry()], based_on=0, author="ada")
    world.log.open(an_open_record())
    world.spilled.takes_s = 31
    report = world.keeper.keep()
    assert not report.reconciled.is_complete
    assert (report.swept.closed_as_unknown, report.published_version) == (1, 1)


def test_a_line_that_appears_late_is_still_found(world: World) -> None:
    world.reconcile()
    world.spill(a_record(1), ago=OVERLAP - timedelta(seconds=1))
    assert world.reconcile().written == 1


def test_the_same_environment_writes_no_line_of_the_overlap_twice(world: World) -> None:
    reconciliation = world.reconciliation
    world.spill(a_record(1))
    reconciliation.reconcile(until=LATER)
    world.log.records.clear()
    assert reconciliation.reconcile(until=LATER).written == 0
    for _ in range(2):
        world.clock.advance(OVERLAP.total_seconds())
        reconciliation.reconcile(until=LATER)
    assert reconciliation.done == {}


def test_the_first_round_looks_back_an_hour(world: World) -> None:
    world.spill(a_record(1), ago=FIRST_LOOK_BACK - timedelta(seconds=1))
    assert world.reconcile().written == 1


def test_a_line_that_does_not_parse_is_counted_and_stops_nothing(world: World) -> None:
    documents: list[object] = [{"status": "final"}, {}, {"status": "open", "tenant": None}, [], 7]
    for document in documents:
        text = json.dumps({MARK: spilled_line.written(document, KEYRING)})
        world.spilled.lines.append(SpilledLine(id=text, written_at=NOW - timedelta(minutes=2), text=text))
    world.spill(a_record(1))
    done = world.reconcile()
    assert (done.unreadable, done.unmarked, done.written, done.is_complete) == (5, 0, 1, True)


def test_a_record_that_contradicts_another_final_one_is_counted_and_the_log_stands(world: World) -> None:
    world.log.close(a_record(1))
    world.spill(a_record(1, response_status=500))
    assert world.reconcile().contradicted == 1
    assert world.log.find(invocation_id(1)) == a_record(1)


def test_a_log_that_is_away_leaves_the_watermark_where_it_is(world: World) -> None:
    world.watermark.move(NOW - timedelta(minutes=2))
    world.spill(a_record(1), ago=timedelta(seconds=90))
    world.log.before = away("throttled", "close")
    with pytest.raises(StoreUnavailable):
        world.reconcile()
    assert world.watermark.moment == NOW - timedelta(minutes=2)
    world.log.before = answering
    assert world.reconcile().written == 1


def test_a_round_that_runs_out_of_time_goes_on_where_it_stopped(world: World) -> None:
    world.spilled.takes_s = 7
    world.watermark.move(NOW - timedelta(minutes=30))
    for minute in range(30):
        world.spill(a_record(minute), ago=timedelta(minutes=minute, seconds=30))
    first = world.reconcile(world.clock() + timedelta(seconds=20))
    assert not first.is_complete
    assert 0 < first.written < 30
    while not world.reconcile(world.clock() + timedelta(seconds=20)).is_complete:
        continue
    assert len(world.log.records) == 30


def test_whoever_asks_has_the_newest_version_published_and_nothing_else_done() -> None:
    world = World()
    world.log.open(an_open_record())
    assert world.keeper.publish() == 0, "before anything was applied"
    for version in (1, 2):
        world.catalog.replace([an_entry()], based_on=version - 1, author="ada")
        assert [world.keeper.publish() for _ in range(2)] == [version, version]
    assert world.log.operations == {"open": 1}
    world.snapshots.before = away("no key to sign with", "publish")
    world.catalog.replace([an_entry()], based_on=2, author="ada")
    with pytest.raises(StoreUnavailable, match="no key"):
        world.keeper.publish()
