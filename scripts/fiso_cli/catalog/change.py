"""Changes of the catalog: planned as data, then written as a version and published.

Depends on ports, not on where they lead; `commands` joins the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import WriteConflict
from fiso.domain.policy import Mode, Policy
from fiso.ports import CatalogStore, Snapshots
from fiso.services.maintenance.publish import publish
from fiso_cli.catalog.difference import Change, changes
from fiso_cli.catalog.problems import Problem
from fiso_cli.catalog.rules import eligibility_problems
from fiso_cli.errors import CommandError
from fiso_client.core.failures import FisoError

Alter = Callable[[CatalogEntry], Policy]
"""How a command wants a function's policy to be."""

TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be written over which version, and which pins (kill switches) it would lift."""

    based_on: int
    entries: tuple[CatalogEntry, ...]
    changes: tuple[Change, ...]
    lifted_pins: tuple[FunctionName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The newest version after a command. `unpublished` says why the request path does not have it, if it does not."""

    version: int
    is_new: bool
    unpublished: str | None = None


def plan(store: CatalogStore, entries: Sequence[CatalogEntry]) -> Plan:
    """Compare the entries with the newest version."""
    newest = store.load()
    wanted = {entry.name: entry for entry in entries}
    lifted = [
        name
        for name, old in newest.entries.items()
        if old.policy.mode is Mode.PIN and name in wanted and not _keeps_pin(old.policy, wanted[name].policy)
    ]
    return Plan(
        based_on=newest.version,
        entries=tuple(entries),
        changes=tuple(changes(newest.entries, entries)),
        lifted_pins=tuple(lifted),
    )


def execute(planned: Plan, store: CatalogStore, snapshots: Snapshots, *, author: str, now: datetime) -> Written:
    """Write the plan, unless it changes nothing, and publish. `CommandError` when another change came between."""
    version, is_new = planned.based_on, bool(planned.changes)
    if is_new:
        try:
            version = store.replace(planned.entries, based_on=planned.based_on, author=author).version
        except WriteConflict as error:
            raise CommandError(f"the catalog changed meanwhile ({error}): look at the difference again") from error
    return Written(version=version, is_new=is_new, unpublished=_publish(store, snapshots, now))


def change_policy(
    function: str, alter: Alter, store: CatalogStore, snapshots: Snapshots, *, author: str, now: datetime
) -> Written:
    """Write and publish a version in which one function's policy is altered. A write that lost a race is repeated."""
    for _ in range(TRIES - 1):
        try:
            written = _write_policy(function, alter, store, author)
            break
        except WriteConflict:
            continue
    else:
        written = _write_policy(function, alter, store, author)
    return replace(written, unpublished=_publish(store, snapshots, now))


def _write_policy(function: str, alter: Alter, store: CatalogStore, author: str) -> Written:
    newest = store.load()
    old = entry_of(newest.entries.get(FunctionName(function)), function, newest.version)
    new = _altered(old, alter)
    if new == old:
        return Written(version=newest.version, is_new=False)
    entries = [new if entry.name == function else entry for entry in newest.entries.values()]
    return Written(version=store.replace(entries, based_on=newest.version, author=author).version, is_new=True)


def entry_of(found: CatalogEntry | None, function: str, version: int) -> CatalogEntry:
    """The entry, or `CommandError` when the catalog has none."""
    if found is None:
        raise CommandError(f"no function {function!r} in catalog version {version}")
    return found


def pinned_to(endpoint: str) -> Alter:
    """The kill switch: every request goes to one endpoint."""

    def alter(entry: CatalogEntry) -> Policy:
        if endpoint not in [known.id for known in entry.endpoints]:
            known_ids = ", ".join(known.id for known in entry.endpoints)
            raise CommandError(f"function {entry.name} has no endpoint {endpoint!r}, only {known_ids}")
        return replace(entry.policy, mode=Mode.PIN, pinned=EndpointId(endpoint))

    return alter


def in_mode(mode: Mode) -> Alter:
    """Route or observe; any pin is lifted."""

    def alter(entry: CatalogEntry) -> Policy:
        if mode is Mode.OBSERVE and entry.policy.home is None:
            raise CommandError(
                f"function {entry.name} has no home endpoint to observe from: set policy.home in fiso.yaml"
            )
        return replace(entry.policy, mode=mode, pinned=None)

    return alter


def _altered(entry: CatalogEntry, alter: Alter) -> CatalogEntry:
    altered = replace(entry, policy=alter(entry))
    for place, said in eligibility_problems(altered):
        raise CommandError(str(Problem(place=("functions", entry.name, *place), message=said)))
    return altered


def _keeps_pin(old: Policy, new: Policy) -> bool:
    return new.mode is Mode.PIN and new.pinned == old.pinned


def _publish(store: CatalogStore, snapshots: Snapshots, now: datetime) -> str | None:
    try:
        publish(store, snapshots, now)
    except FisoError as error:
        return str(error)
    return None
