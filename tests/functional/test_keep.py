"""The keeper: spilled lines written, abandoned records closed, the catalog published, whatever is away."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from fiso.codecs import spilled_line
from fiso.domain.errors import InvalidCatalog, StoreNotSetUp, StoreUnavailable
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.ports import SpilledLine
from fiso.services.log.reconcile import (
    FIRST_LOOK_BACK,
    MOST_DONE,
    MOST_LINES,
    OVERLAP,
    SLICE,
    Reconciled,
    Reconciliation,
)
from fiso.services.log.spill import MARK
from fiso.services.maintenance.keep import AT_ONCE, GRACE, GRACE_AT_ONCE, GRACE_WHILE_UNREAD, Keeper, unknown
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
from functions.keeper.handler import looked_through
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


@dataclass
class World:
    """A keeper on ports in memory."""

    log: InMemoryInvocationLog = field(default_factory=InMemoryInvocationLog)
    clock: ManualClock = field(default_factory=ManualClock)
    watermark: InMemoryWatermark = field(default_factory=InMemoryWatermark)
    snapshots: InMemorySnapshots = field(default_factory=InMemorySnapshots)
    grace: timedelta = GRACE_AT_ONCE

    def __post_init__(self) -> None:
        self.spilled = Lines(self.clock)
        self.catalog = InMemoryCatalogStore(clock=self.clock)

    @property
    def reconciliation(self) -> Reconciliation:
        return Reconciliation(
            spilled=self.spilled,
            keys=lambda: KEYRING,
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
            grace=self.grace,
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
    world.log.open(an_open_record(1, deadline_at=NOW - GRACE_AT_ONCE - timedelta(milliseconds=1)))
    world.log.open(an_open_record(2, deadline_at=NOW - GRACE_AT_ONCE + timedelta(seconds=1)))
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
    world.log.open(an_open_record(1, deadline_at=NOW - GRACE_AT_ONCE - timedelta(seconds=1)))
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


def test_where_lines_are_handed_on_first_an_open_record_waits_longer() -> None:
    world = World(grace=GRACE)
    world.log.open(an_open_record(1, deadline_at=NOW - GRACE - timedelta(seconds=1)))
    world.log.open(an_open_record(2, deadline_at=NOW - GRACE + timedelta(seconds=1)))
    assert world.keeper.keep().swept.closed_as_unknown == 1


def test_a_slice_that_holds_too_much_is_cut_and_each_line_is_written_once() -> None:
    world = World()
    world.watermark.move(NOW)
    world.clock.advance(60)
    for number in range(MOST_LINES + 100):
        world.spill(a_record(number), ago=timedelta(milliseconds=10 * number))
    reconciliation = world.reconciliation
    done = reconciliation.reconcile(until=LATER)
    assert (done.written, done.known, done.is_complete) == (MOST_LINES + 99, 0, True), "all but the one of now"
    assert min(end - begin for begin, end in world.spilled.asked if begin >= NOW) < SLICE


def test_writing_that_takes_too_long_is_broken_off_and_goes_on_behind_what_was_written() -> None:
    world = World()
    world.watermark.move(NOW)
    world.clock.advance(60)
    world.log.before = lambda operation: world.clock.advance(0.03 if operation == "close" else 0)
    for number in range(1_200):  # 36 s
        world.spill(a_record(number), ago=timedelta(milliseconds=1 + number))
    reconciliation, rounds, longest = world.reconciliation, 0, timedelta(0)
    while len(world.log.records) < 1_200 and rounds < 5:
        began, rounds = world.clock(), rounds + 1
        with suppress(StoreUnavailable):
            reconciliation.reconcile(until=began + timedelta(seconds=12), at_most_until=began + timedelta(seconds=15))
        longest = max(longest, world.clock() - began)
    assert (len(world.log.records), longest <= timedelta(seconds=31)) == (1_200, True)
    assert world.log.operations["close"] == 1_200, "none twice"


def test_more_lines_than_are_remembered_are_written_once_more_and_nothing_changes() -> None:
    world = World()
    reconciliation = world.reconciliation
    reconciliation.done.update({str(n): NOW for n in range(MOST_DONE + 5)})
    reconciliation.reconcile(until=LATER)
    assert len(reconciliation.done) == MOST_DONE


def test_what_was_never_handed_on_is_looked_through_for_whoever_asks() -> None:
    world, api = World(), Lines(ManualClock())
    api.lines.append(a_spilled_line(a_record(1), NOW - timedelta(hours=3)))
    everything = replace(world.reconciliation, spilled=api)
    keeper = replace(world.keeper, everything=everything)
    assert keeper.keep().reconciled.written == 0
    when = {"start": "2026-11-23T06:00:00Z", "end": "2026-11-23T08:00:00Z"}
    assert looked_through(keeper, when) == {"replayed": 1, "known": 0, "unmarked": 0, "next_start": None}
    api.clock, api.takes_s = world.clock, 40
    stopped = looked_through(keeper, when)
    assert stopped["next_start"] is not None
    assert [looked_through(keeper, wrong)["status"] for wrong in (None, {}, {"start": "now", "end": 1})] == [400] * 3


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
