"""Publishing: the newest catalog version becomes the snapshot that the request path reads.

Depends on ports only. Repeating it changes nothing, so whoever wrote a version may publish it and the keeper may again.
A kill switch may be thrown past the database (`switch`): what the database does not know yet is `Snapshot.ahead`, goes
along with whatever is published, and is over once the database has it, or says otherwise.
docs/decisions/0031-the-kill-switch.md
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from fiso.codecs.catalog import entry_to_document
from fiso.domain.catalog import Ahead, CatalogEntry, Entries, Snapshot
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import InvalidCatalog, StoreUnavailable, WriteConflict
from fiso.domain.fields import Impossible
from fiso.domain.policy import Pin, Policy
from fiso.ports import CatalogStore, CatalogVersion, Clock, Snapshots
from fiso.services.freshness.cached import staleness_clock

logger = logging.getLogger(__name__)

LONGEST_S, EVERY_S = 35.0, 5.0
"""How long and how often the keeper tries within one round: it runs every minute and is ended after 50 s."""
TRIES = 4
"""Of a number that somebody else takes meanwhile."""


def publish(store: CatalogStore, snapshots: Snapshots) -> Snapshot | None:
    """Publish the store's version if it is newer than the published one; None when there was nothing to do.

    What is damaged, or not signed as it must be, is replaced. Equal versions have equal bytes, whoever publishes them.
    `InvalidCatalog` when the published version is ahead of the store, or another catalog under the store's number,
    which only a restored or a wrong database can cause: nothing would ever be published again, silently.
    `WriteConflict` when others publish all the while.
    """
    for taken in range(TRIES - 1):
        with suppress(WriteConflict):
            return _publish(store, snapshots, taken)
    return _publish(store, snapshots, TRIES - 1)


def _publish(store: CatalogStore, snapshots: Snapshots, taken: int) -> Snapshot | None:
    """`taken`: so many numbers are somebody's who may have given up before naming what has them."""
    published = _published(snapshots)  # before the store, which can only move on meanwhile
    newest = store.load()
    if published is not None and published.base_version > newest.version:
        raise InvalidCatalog(
            f"version {published.base_version} is published but the catalog's database ends at {newest.version}: "
            "is it the right database, or restored from a backup?"
        )
    if newest.version == 0:
        return None
    if published is None:
        snapshot = _of(newest, newest.version, dict(newest.entries))
        snapshots.publish(snapshot)
        return snapshot
    entries, ahead = composed(store, newest, published)
    if newest.version == published.base_version and ahead == published.ahead:
        if not _is_same(published.functions, entries) or published.rules != newest.rules:
            raise InvalidCatalog(
                f"version {published.version} is published with other content than the catalog's database has: "
                "is it the right database, or restored from a backup?"
            )
        return None
    snapshot = _of(newest, max(newest.version, published.version + 1) + taken, entries, ahead)
    snapshots.publish(snapshot)
    return snapshot


def _of(
    newest: CatalogVersion,
    version: int,
    entries: dict[FunctionName, CatalogEntry],
    ahead: dict[FunctionName, Ahead] | None = None,
) -> Snapshot:
    base = None if version == newest.version else newest.version
    return Snapshot(
        version=version,
        published_at=newest.changed_at,
        functions=entries,
        base=base,
        ahead=ahead or {},
        rules=newest.rules,
    )


def composed(
    store: CatalogStore, newest: CatalogVersion, published: Snapshot
) -> tuple[dict[FunctionName, CatalogEntry], dict[FunctionName, Ahead]]:
    """The database's functions, with the modes that it does not know yet; and which these are."""
    entries, still = dict(newest.entries), dict[FunctionName, Ahead]()
    for name, ahead in published.ahead.items():
        stored, switched = entries.get(name), published.functions.get(name)
        if stored is None or switched is None or _mode(stored.policy) == _mode(switched.policy):
            continue  # the database has it
        if _has_spoken(store, stored, switched, ahead):
            continue
        try:
            entries[name] = replace(stored, policy=_switched(stored.policy, switched.policy))
        except Impossible as error:  # the database has no such endpoint any more
            logger.error("the mode of %s that %s set is over: %s", name, ahead.by, error)
            continue
        still[name] = ahead
    return entries, still


def _mode(policy: Policy) -> tuple[str, Pin | None]:
    return policy.mode_word, policy.pin


def _switched(stored: Policy, switched: Policy) -> Policy:
    changed = replace(stored, mode=switched.mode, pinned=switched.pinned, pin=switched.pin)
    return switched if replace(changed, version=switched.version) == switched else changed


def _has_spoken(store: CatalogStore, stored: CatalogEntry, switched: CatalogEntry, ahead: Ahead) -> bool:
    """Whether the database has had yet another mode of the function since, or this one and then another: its word is
    the later one."""
    if stored.policy.mode_word not in ahead.instead:
        return True
    if stored.policy.version <= ahead.since:
        return False
    later = [each.version for each in store.history(stored.name) if each.version > ahead.since]
    known = [(version, store.load(version).entries[stored.name].policy) for version in later]
    return any(
        policy.mode_word not in ahead.instead or (version > ahead.version and _mode(policy) == _mode(switched.policy))
        for version, policy in known
    )


def learn(store: CatalogStore, published: Snapshot | None) -> CatalogVersion | None:
    """Write into the database what it does not know yet of modes, by whom it was; the version that it is in then, None
    where there was nothing. For whoever may write there: the keeper may not. `WriteConflict` when others write."""
    if published is None or not published.ahead:
        return None
    newest = store.load()
    entries, ahead = composed(store, newest, published)
    if not ahead:
        return None
    by = ", ".join(sorted({each.by for each in ahead.values()}))
    return store.replace(tuple(entries.values()), based_on=newest.version, author=by, at_least=published.version + 1)


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


def _is_same(published: Entries, stored: Entries) -> bool:
    """Whether they hold the same, as far as this code reads it."""
    return {name: entry_to_document(entry) for name, entry in published.items()} == {
        name: entry_to_document(entry) for name, entry in stored.items()
    }
