from datetime import timedelta

from fiso.adapters.memory import InMemoryInvocationLog, InMemorySnapshots
from fiso.adapters.memory_catalog import InMemoryCatalogStore
from fiso.domain.errors import StoreUnavailable
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.ports import CatalogVersion
from fiso.services.keep import GRACE, keep
from tests.builders import NOW, ManualClock, a_record, an_entry, an_open_record, invocation_id


def test_only_records_abandoned_past_their_deadline_and_grace_are_closed_as_unknown() -> None:
    log, clock = InMemoryInvocationLog(), ManualClock()
    log.open(an_open_record(1, deadline_at=NOW - GRACE - timedelta(milliseconds=1)))
    log.open(an_open_record(2, deadline_at=NOW - GRACE + timedelta(seconds=1)))
    kept = keep(
        log=log,
        catalog=InMemoryCatalogStore(clock=clock),
        snapshots=InMemorySnapshots(),
        clock=clock,
        sleep=clock.advance,
    )
    assert kept.closed_as_unknown == 1
    closed = log.find(invocation_id(1))
    assert isinstance(closed, InvocationRecord)
    assert (closed.status, closed.endpoint, closed.cost_usd) == (RecordStatus.UNKNOWN, None, None)
    assert isinstance(log.find(invocation_id(2)), OpenRecord)


def test_a_record_that_was_closed_meanwhile_stays_as_it_is() -> None:
    class Racing(InMemoryInvocationLog):
        def overdue(self, before, limit):  # type: ignore[no-untyped-def]
            found = super().overdue(before, limit)
            self.close(a_record(1, timestamp=NOW))
            return found

    log, clock = Racing(), ManualClock()
    log.open(an_open_record(1, deadline_at=NOW - timedelta(hours=1)))
    kept = keep(
        log=log,
        catalog=InMemoryCatalogStore(clock=clock),
        snapshots=InMemorySnapshots(),
        clock=clock,
        sleep=clock.advance,
    )
    assert kept.closed_as_unknown == 0
    assert log.find(invocation_id(1)) == a_record(1, timestamp=NOW)


def test_the_catalog_is_published_once_per_version() -> None:
    log, clock, snapshots = InMemoryInvocationLog(), ManualClock(), InMemorySnapshots()
    catalog = InMemoryCatalogStore(clock=clock)
    catalog.replace([an_entry()], based_on=0, author="me")
    first = keep(log=log, catalog=catalog, snapshots=snapshots, clock=clock, sleep=clock.advance)
    second = keep(log=log, catalog=catalog, snapshots=snapshots, clock=clock, sleep=clock.advance)
    assert (first.published_version, second.published_version) == (1, None)


def test_a_database_that_is_away_keeps_no_record_from_being_closed() -> None:
    class Away(InMemoryCatalogStore):
        def load(self) -> CatalogVersion:
            raise StoreUnavailable("connection refused")

    log, clock = InMemoryInvocationLog(), ManualClock()
    log.open(an_open_record(1, deadline_at=NOW - timedelta(hours=1)))
    kept = keep(log=log, catalog=Away(clock=clock), snapshots=InMemorySnapshots(), clock=clock, sleep=clock.advance)
    assert kept.closed_as_unknown == 1
    assert kept.catalog_error == "connection refused"


def test_a_database_that_comes_back_within_the_round_is_published_in_it() -> None:
    class Returning(InMemoryCatalogStore):
        tries = 0

        def load(self) -> CatalogVersion:
            self.tries += 1
            if self.tries < 3:
                raise StoreUnavailable("timeout expired")
            return super().load()

    clock = ManualClock()
    catalog = Returning(clock=clock)
    catalog.replace([an_entry()], based_on=0, author="me")
    log = InMemoryInvocationLog()
    kept = keep(log=log, catalog=catalog, snapshots=InMemorySnapshots(), clock=clock, sleep=clock.advance)
    assert (kept.published_version, kept.catalog_error) == (1, None)
    assert clock() - NOW == timedelta(seconds=10)
