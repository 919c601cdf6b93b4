"""Publishing: the newest catalog version becomes the snapshot that the request path reads.

Depends on ports only. Repeating it changes nothing, so whoever wrote a version may publish it and the keeper may again.
"""

import logging
from collections.abc import Callable

from fiso.codecs.catalog import entry_to_document
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import InvalidCatalog, StoreUnavailable
from fiso.ports import CatalogStore, Clock, Snapshots
from fiso.services.freshness.cached import staleness_clock

logger = logging.getLogger(__name__)

LONGEST_S, EVERY_S = 35.0, 5.0
"""How long and how often the keeper tries within one round: it runs every minute and is ended after 50 s."""


def publish(store: CatalogStore, snapshots: Snapshots) -> Snapshot | None:
    """Publish the store's version if it is newer than the published one; None when there was nothing to do.

    What is damaged, or not signed as it must be, is replaced. Equal versions have equal bytes, whoever publishes them.
    `InvalidCatalog` when the published version is ahead of the store, or another catalog under the store's number,
    which only a restored or a wrong database can cause: nothing would ever be published again, silently.
    """
    published = _published(snapshots)  # before the store, which can only move on meanwhile
    newest = store.load()
    if published is not None and published.version > newest.version:
        raise InvalidCatalog(
            f"version {published.version} is published but the catalog's database ends at {newest.version}: "
            "is it the right database, or restored from a backup?"
        )
    if newest.version == 0:
        return None
    snapshot = Snapshot(version=newest.version, published_at=newest.changed_at, functions=dict(newest.entries))
    if published is not None and published.version == newest.version:
        if not _is_same(published, snapshot):
            raise InvalidCatalog(
                f"version {published.version} is published with other content than the catalog's database has: "
                "is it the right database, or restored from a backup?"
            )
        return None
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
            return publish(store, snapshots)
        except StoreUnavailable:
            if stopwatch() - begun_s + every_s > within_s:
                raise
        sleep(every_s)


def _published(snapshots: Snapshots) -> Snapshot | None:
    try:
        return snapshots.current()
    except InvalidCatalog as error:
        logger.error("what is published is published anew: %s", error)
        return None


def _is_same(published: Snapshot, stored: Snapshot) -> bool:
    """Whether they hold the same, as far as this code reads it."""
    return {name: entry_to_document(entry) for name, entry in published.functions.items()} == {
        name: entry_to_document(entry) for name, entry in stored.functions.items()
    }
