from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.ports import SpilledLine
from fiso.services.log.reconcile import FIRST_LOOK_BACK, OVERLAP, Reconciliation
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryInvocationLog, InMemorySpilledRecords, InMemoryWatermark, answering, away
from tests.builders import NOW, a_record, an_open_record, invocation_id
from tests.functional.spilled_lines import line

LATER = NOW + timedelta(hours=1)


class Lines(InMemorySpilledRecords):
    """Keeps what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[datetime, datetime]] = []

    def between(self, start: datetime, end: datetime) -> list[SpilledLine]:
        self.asked.append((start, end))
        return list(super().between(start, end))


class World:
    """A reconciliation on ports in memory."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.spilled, self.watermark, self.clock = Lines(), InMemoryWatermark(), ManualClock()
        self.log = InMemoryInvocationLog()
        self.executor = executor

    @property
    def reconciliation(self) -> Reconciliation:
        return Reconciliation(
            spilled=self.spilled, watermark=self.watermark, log=self.log, clock=self.clock, executor=self.executor
        )

    def spill(self, *records: InvocationRecord | OpenRecord, ago: timedelta = timedelta(minutes=3)) -> None:
        self.spilled.lines.extend(line(record, self.clock() - ago) for record in records)


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(max_workers=2) as executor:
        yield World(executor)


def test_spilled_intents_and_records_are_written(world: World) -> None:
    world.spill(a_record(1), an_open_record(2))
    done = world.reconciliation.reconcile(until=LATER)
    assert (done.written, done.is_complete) == (2, True)
    assert world.log.find(invocation_id(1)) == a_record(1)
    assert world.log.find(invocation_id(2)) == an_open_record(2)


def test_an_intent_never_stands_over_its_record(world: World) -> None:
    world.spill(a_record(1, timestamp=NOW), an_open_record(1))
    done = world.reconciliation.reconcile(until=LATER)
    assert world.log.find(invocation_id(1)) == a_record(1, timestamp=NOW)
    assert done.written + done.known == 2


def test_a_second_round_reads_the_overlap_again_and_changes_nothing(world: World) -> None:
    world.spill(a_record(1))
    world.reconciliation.reconcile(until=LATER)
    again = world.reconciliation.reconcile(until=LATER)
    assert (again.written, again.known) == (0, 1)
    assert world.spilled.asked[-1] == (NOW - OVERLAP, NOW)


def test_a_line_that_appears_late_is_still_found(world: World) -> None:
    world.reconciliation.reconcile(until=LATER)
    world.spill(a_record(1), ago=OVERLAP - timedelta(seconds=1))
    assert world.reconciliation.reconcile(until=LATER).written == 1


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
    assert world.reconciliation.reconcile(until=LATER).written == 1


def test_a_line_that_does_not_parse_is_counted_and_stops_nothing(world: World) -> None:
    for text in ("START log_spill", '{"log_spill": 1}', '{"log_spill": {"status": "final"}}', "[" * 100_000):
        world.spilled.lines.append(SpilledLine(id=text[:30], written_at=NOW - timedelta(minutes=2), text=text))
    world.spill(a_record(1))
    done = world.reconciliation.reconcile(until=LATER)
    assert (done.unreadable, done.written, done.is_complete) == (4, 1, True)


def test_a_record_that_contradicts_another_final_one_is_counted_and_the_log_stands(world: World) -> None:
    world.log.close(a_record(1))
    world.spill(a_record(1, response_status=500))
    assert world.reconciliation.reconcile(until=LATER).contradicted == 1
    assert world.log.find(invocation_id(1)) == a_record(1)


def test_a_log_that_is_away_leaves_the_watermark_where_it_is(world: World) -> None:
    world.watermark.move(NOW - timedelta(minutes=2))
    world.spill(a_record(1), ago=timedelta(seconds=90))
    world.log.before = away("throttled", "close")
    with pytest.raises(StoreUnavailable):
        world.reconciliation.reconcile(until=LATER)
    assert world.watermark.moment == NOW - timedelta(minutes=2)
    world.log.before = answering
    assert world.reconciliation.reconcile(until=LATER).written == 1


def test_a_round_that_runs_out_of_time_goes_on_where_it_stopped(world: World) -> None:
    class Slow(Lines):
        def between(self, start: datetime, end: datetime) -> list[SpilledLine]:
            world.clock.advance(7)
            return super().between(start, end)

    world.spilled = Slow()
    world.watermark.move(NOW - timedelta(minutes=30))
    for minute in range(30):
        world.spill(a_record(minute), ago=timedelta(minutes=minute, seconds=30))
    first = world.reconciliation.reconcile(until=world.clock() + timedelta(seconds=20))
    assert not first.is_complete
    assert 0 < first.written < 30
    while not world.reconciliation.reconcile(until=world.clock() + timedelta(seconds=20)).is_complete:
        continue
    assert len(world.log.records) == 30
