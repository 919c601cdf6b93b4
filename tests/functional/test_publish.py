from datetime import UTC, datetime, timedelta

import pytest

from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.errors import InvalidCatalog, StoreUnavailable
from fiso.domain.policy import Policy
from fiso.services.maintenance.publish import publish
from fiso.testing.memory import InMemoryCatalogStore, InMemorySnapshots

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AWS = Endpoint(id=EndpointId("aws"), provider=Provider.AWS, region="us-east-1", memory_mb=512, address="fn")
ENTRY = CatalogEntry(name=FunctionName("bfs"), function_type="graph", endpoints=(AWS,), policy=Policy(version=0))


class DamagedSnapshots:
    """Published bytes that do not verify, until something is published over them."""

    def __init__(self) -> None:
        self.published: list[Snapshot] = []

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        if not self.published:
            raise InvalidCatalog(f"snapshot is damaged (asked unless {unless_version})")
        return self.published[-1]

    def publish(self, snapshot: Snapshot) -> None:
        self.published.append(snapshot)


class UnreachableSnapshots(DamagedSnapshots):
    """A bucket that is away."""

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        raise StoreUnavailable(f"the bucket is away (asked unless {unless_version})")


def applied(times: int = 1) -> InMemoryCatalogStore:
    store = InMemoryCatalogStore()
    for version in range(times):
        store.replace([ENTRY], based_on=version, author="tester")
    return store


def test_publishes_the_newest_version() -> None:
    store, snapshots = applied(2), InMemorySnapshots()
    published = publish(store, snapshots, NOW)
    assert published == snapshots.current()
    assert published == Snapshot(version=2, published_at=NOW, functions=store.load().entries)


def test_publishes_nothing_before_anything_was_applied() -> None:
    snapshots = InMemorySnapshots()
    assert publish(InMemoryCatalogStore(), snapshots, NOW) is None
    assert snapshots.current() is None


def test_a_version_is_published_once() -> None:
    store, snapshots = applied(), InMemorySnapshots()
    first = publish(store, snapshots, NOW)
    assert publish(store, snapshots, NOW + timedelta(minutes=1)) is None
    assert snapshots.current() == first


def test_a_new_version_replaces_the_published_one() -> None:
    store, snapshots = applied(), InMemorySnapshots()
    publish(store, snapshots, NOW)
    store.replace([ENTRY], based_on=1, author="tester")
    publish(store, snapshots, NOW)
    current = snapshots.current()
    assert current is not None
    assert current.version == 2


def test_a_database_that_lags_behind_what_is_published_is_an_error() -> None:
    snapshots = InMemorySnapshots(Snapshot(version=9, published_at=NOW, functions={ENTRY.name: ENTRY}))
    with pytest.raises(InvalidCatalog, match="version 9 is published but the catalog's database ends at 1"):
        publish(applied(), snapshots, NOW)


def test_a_damaged_snapshot_is_replaced() -> None:
    snapshots = DamagedSnapshots()
    publish(applied(), snapshots, NOW)
    assert [snapshot.version for snapshot in snapshots.published] == [1]


def test_nothing_is_published_while_it_is_unknown_what_is() -> None:
    snapshots = UnreachableSnapshots()
    with pytest.raises(StoreUnavailable):
        publish(applied(), snapshots, NOW)
    assert snapshots.published == []
