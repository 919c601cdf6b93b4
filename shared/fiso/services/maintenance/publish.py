"""Publishing: the newest catalog version becomes the snapshot that the request path reads.

Depends on ports only. Repeating it changes nothing, so whoever wrote a version may publish it and the keeper may again.
"""

from collections.abc import Callable
from datetime import datetime

from fiso.domain.catalog import Snapshot
from fiso.domain.errors import InvalidCatalog, StoreUnavailable
from fiso.ports import CatalogStore, Clock, Snapshots
from fiso.services.freshness.cached import staleness_clock

LONGEST_S, EVERY_S = 35.0, 5.0
"""How long and how often the keeper tries within one round: it runs every minute and is ended after 50 s."""


def publish(store: CatalogStore, snapshots: Snapshots, now: datetime) -> Snapshot | None:
    """Publish the store's version if it is newer than the published one; None when there was nothing to do.

    A damaged published snapshot is replaced. `InvalidCatalog` when the published version is ahead of the store, which
    only a restored or a wrong database can cause: nothing would ever be published again, silently.
    """
    published = _published_version(snapshots)  # before the store, which can only move on meanwhile
    newest = store.load()
    if published is not None and published > newest.version:
        raise InvalidCatalog(
            f"version {published} is published but the catalog's database ends at {newest.version}: "
            "is it the right database, or restored from a backup?"
        )
    if newest.version in (0, published):
        return None
    snapshot = Snapshot(version=newest.version, published_at=now, functions=dict(newest.entries))
    snapshots.publish(snapshot)
    return snapshot


def publish_in_time(
    store: CatalogStore,
    snapshots: Snapshots,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
    within_s: float = LONGEST_S,
    every_s: float = EVERY_S,
) -> Snapshot | None:
    """Publish, and while the database is unavailable try again: what was changed is then in force soon after it is
    back, and not only at the next schedule. `StoreUnavailable` when it stayed so."""
    stopwatch = staleness_clock(clock)
    begun_s = stopwatch()
    while True:
        try:
            return publish(store, snapshots, clock())
        except StoreUnavailable:
            if stopwatch() - begun_s + every_s > within_s:
                raise
        sleep(every_s)


def _published_version(snapshots: Snapshots) -> int | None:
    try:
        current = snapshots.current()
    except InvalidCatalog:
        return None
    return None if current is None else current.version
