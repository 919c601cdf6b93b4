from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.services.log.reconcile import Reconciliation
from fiso.services.maintenance.keep import AT_ONCE, GRACE, GRACE_WHILE_UNREAD, Keeper, unknown
from fiso.testing.clock import ManualClock
from fiso.testing.memory import (
    InMemoryCatalogStore,
    InMemoryInvocationLog,
    InMemorySnapshots,
    InMemorySpilledRecords,
    InMemoryWatermark,
    away,
)
from tests.builders import NOW, a_record, an_entry, an_open_record, invocation_id
from tests.functional.spilled_lines import line


@dataclass
class World:
    """A keeper on ports in memory."""

    executor: ThreadPoolExecutor
    log: InMemoryInvocationLog = field(default_factory=InMemoryInvocationLog)
    clock: ManualClock = field(default_factory=ManualClock)
    spilled: InMemorySpilledRecords = field(default_factory=InMemorySpilledRecords)
    snapshots: InMemorySnapshots = field(default_factory=InMemorySnapshots)
    catalog: InMemoryCatalogStore | None = None

    @property
    def keeper(self) -> Keeper:
        reconciliation = Reconciliation(
            spilled=self.spilled,
            watermark=InMemoryWatermark(),
            log=self.log,
            clock=self.clock,
            executor=self.executor,
        )
        return Keeper(
            log=self.log,
            reconciliation=reconciliation,
            catalog=self.catalog or InMemoryCatalogStore(clock=self.clock),
            snapshots=self.snapshots,
            clock=self.clock,
            sleep=self.clock.advance,
            executor=self.executor,
        )

    def status_of(self, number: int) -> RecordStatus:
        record = self.log.find(invocation_id(number))
        assert record is not None
        return record.status if isinstance(record, InvocationRecord) else RecordStatus.OPEN


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(max_workers=2) as executor:
        yield World(executor)


def test_only_records_abandoned_past_their_deadline_and_grace_are_closed_as_unknown(world: World) -> None:
    world.log.open(an_open_record(1, deadline_at=NOW - GRACE - timedelta(milliseconds=1)))
    world.log.open(an_open_record(2, deadline_at=NOW - GRACE + timedelta(seconds=1)))
    assert world.keeper.keep().swept.closed_as_unknown == 1
    closed = world.log.find(invocation_id(1))
    assert isinstance(closed, InvocationRecord)
    assert (closed.status, closed.result.endpoint, closed.result.cost_usd) == (RecordStatus.UNKNOWN, None, None)
    assert world.status_of(2) is RecordStatus.OPEN


def test_a_record_that_was_closed_meanwhile_stays_as_it_is(world: World) -> None:
    class Racing(InMemoryInvocationLog):
        def overdue(self, before, limit):  # type: ignore[no-untyped-def]
            found = super().overdue(before, limit)
            self.close(a_record(1, timestamp=NOW))
            return found

    world.log = Racing()
    world.log.open(an_open_record(1, deadline_at=NOW - timedelta(hours=1)))
    assert world.keeper.keep().swept.closed_as_unknown == 0
    assert world.log.find(invocation_id(1)) == a_record(1, timestamp=NOW)


def test_a_sweep_goes_on_until_nothing_is_overdue(world: World) -> None:
    for number in range(2 * AT_ONCE + 1):
        world.log.open(an_open_record(number, deadline_at=NOW - timedelta(hours=1)))
    swept = world.keeper.keep().swept
    assert (swept.closed_as_unknown, swept.has_more) == (2 * AT_ONCE + 1, False)


def test_a_sweep_that_runs_out_of_time_says_that_there_is_more(world: World) -> None:
    world.log.before = lambda operation: world.clock.advance(30 if operation == "overdue" else 0)
    for number in range(3 * AT_ONCE):
        world.log.open(an_open_record(number, deadline_at=NOW - timedelta(hours=1)))
    swept = world.keeper.keep().swept
    assert (swept.closed_as_unknown, swept.has_more) == (2 * AT_ONCE, True)


def test_a_spilled_final_record_is_written_before_the_sweep_would_call_it_unknown(world: World) -> None:
    world.log.open(an_open_record(1, deadline_at=NOW - timedelta(minutes=5)))
    world.spilled.lines.append(line(a_record(1, timestamp=NOW), NOW - timedelta(minutes=5)))
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
    world.spilled.lines.append(line(a_record(1, timestamp=NOW), NOW - timedelta(seconds=1)))
    assert world.keeper.keep().reconciled.written == 1
    assert world.status_of(1) is RecordStatus.FINAL


def test_the_catalog_is_published_once_per_version(world: World) -> None:
    world.catalog = InMemoryCatalogStore(clock=world.clock)
    world.catalog.replace([an_entry()], based_on=0, author="me")
    first, second = world.keeper.keep(), world.keeper.keep()
    assert (first.published_version, second.published_version) == (1, None)


def test_a_database_that_is_away_keeps_no_record_from_being_closed(world: World) -> None:
    world.catalog = InMemoryCatalogStore(clock=world.clock)
    world.catalog.before = away("connection refused")
    world.log.open(an_open_record(1, deadline_at=NOW - timedelta(hours=1)))
    kept = world.keeper.keep()
    assert kept.swept.closed_as_unknown == 1
    assert kept.problems == ("catalog not published: connection refused",)


def test_a_log_that_is_away_keeps_no_catalog_from_being_published(world: World) -> None:
    world.log.before, world.catalog = away("throttled", "overdue"), InMemoryCatalogStore(clock=world.clock)
    world.catalog.replace([an_entry()], based_on=0, author="me")
    kept = world.keeper.keep()
    assert (kept.published_version, kept.swept.has_more) == (1, True)
    assert kept.problems == ("open records not all closed: throttled",)


def test_a_database_that_comes_back_within_the_round_is_published_in_it(world: World) -> None:
    def returning(operation: str) -> None:
        if catalog.operations["load"] < 3:
            raise StoreUnavailable("timeout expired")

    world.catalog = catalog = InMemoryCatalogStore(clock=world.clock)
    catalog.replace([an_entry()], based_on=0, author="me")
    catalog.before = returning
    kept = world.keeper.keep()
    assert (kept.published_version, kept.problems) == (1, ())
    assert world.clock() - NOW == timedelta(seconds=10)
