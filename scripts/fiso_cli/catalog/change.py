"""Changes of the catalog: planned as data, then written as a version and published.

Depends on ports, not on where they lead; `commands` joins the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import WriteConflict
from fiso.domain.fields import Impossible
from fiso.domain.policy import Mode, Policy
from fiso.domain.stage_rules import NO_RULES, StageRules
from fiso.ports import CatalogStore, CatalogVersion
from fiso.services.maintenance.switch import Alter
from fiso_cli.catalog.difference import Change, changes, changes_of_rules
from fiso_cli.catalog.rules import Problem, eligibility_problems
from fiso_cli.errors import CommandError
from fiso_client.core.failures import FisoError

Publish = Callable[[], int]
"""Has the newest version published; which one is then."""

TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be written over which version, which pins (kill switches) it would lift, which functions remove."""

    based_on: int
    entries: tuple[CatalogEntry, ...]
    changes: tuple[Change, ...]
    lifted_pins: tuple[FunctionName, ...]
    removals: tuple[FunctionName, ...]
    rules: StageRules = NO_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The newest version after a command. `unpublished` says why the request path does not have it, if it does not;
    `published` is the number under which it does, where that is a later one (`fiso.services.maintenance.publish`)."""

    version: int
    is_new: bool
    unpublished: str | None = None
    published: int = 0

    @property
    def in_force(self) -> int:
        return max(self.version, self.published)


def plan(store: CatalogStore, entries: Sequence[CatalogEntry], now: datetime, rules: StageRules = NO_RULES) -> Plan:
    """Compare the entries with what is in force in the newest version."""
    newest = store.load()
    old = {name: entry.at(now) for name, entry in newest.entries.items()}
    wanted = {entry.name: _keeping_pin(entry, old.get(entry.name)) for entry in entries}
    pinned = [name for name, entry in old.items() if entry.policy.mode is Mode.PIN and name in wanted]
    return Plan(
        based_on=newest.version,
        entries=tuple(wanted.values()),
        changes=(*changes_of_rules(newest.rules, rules), *changes(old, tuple(wanted.values()))),
        rules=rules,
        lifted_pins=tuple(name for name in pinned if wanted[name].policy.pinned != old[name].policy.pinned),
        removals=tuple(name for name in old if name not in wanted),
    )


def execute(planned: Plan, store: CatalogStore, publish: Publish, *, author: str) -> Written:
    """Write the plan, unless it changes nothing, and publish. `CommandError` when another change came between."""
    version, is_new = planned.based_on, bool(planned.changes)
    if is_new:
        try:
            version = store.replace(
                planned.entries, based_on=planned.based_on, author=author, rules=planned.rules
            ).version
        except WriteConflict as error:
            raise CommandError(f"the catalog changed meanwhile ({error}): look at the difference again") from error
    return _published(Written(version=version, is_new=is_new), publish)


def change_policy(
    function: str, alter: Alter, store: CatalogStore, publish: Publish, *, author: str, now: datetime
) -> Written:
    """Write and publish a version in which one function's policy is altered. A write that lost a race is repeated."""
    for _ in range(TRIES - 1):
        try:
            written = _write_policy(function, alter, store, author, now)
            break
        except WriteConflict:
            continue
    else:
        written = _write_policy(function, alter, store, author, now)
    return _published(written, publish)


def _write_policy(function: str, alter: Alter, store: CatalogStore, author: str, now: datetime) -> Written:
    newest = store.load()
    old = entry_of(newest, function)
    new = _altered(old.at(now), alter)
    if new == old:
        return Written(version=newest.version, is_new=False)
    entries = [new if entry.name == function else entry for entry in newest.entries.values()]
    return Written(version=store.replace(entries, based_on=newest.version, author=author).version, is_new=True)


def entry_of(catalog: CatalogVersion, function: str) -> CatalogEntry:
    """The function's entry, or `CommandError` when the version has none."""
    found = catalog.entries.get(FunctionName(function))
    if found is None:
        raise CommandError(f"no function {function!r} in catalog version {catalog.version}")
    return found


def rolled_back(to: CatalogEntry) -> Alter:
    """The function's policy as it was in an earlier version. A pin that holds now is not lifted by the way."""

    def alter(entry: CatalogEntry) -> Policy:
        if entry.policy.mode is Mode.PIN and to.policy.pinned != entry.policy.pinned:
            raise CommandError(f"{entry.name} is pinned to {entry.policy.pinned} now: `fiso policy unpin` first")
        return replace(to.policy, version=entry.policy.version)

    return alter


def _altered(entry: CatalogEntry, alter: Alter) -> CatalogEntry:
    try:
        altered = replace(entry, policy=alter(entry))
        problems = tuple(eligibility_problems(altered))
    except Impossible as error:
        problems = error.problems
    if problems:
        told = [str(Problem(place=("functions", entry.name, *place), message=said)) for place, said in problems]
        raise CommandError("\n".join(told))
    return altered


def _keeping_pin(entry: CatalogEntry, old: CatalogEntry | None) -> CatalogEntry:
    """A file says where traffic is pinned; who did it, why and until when stays as it is while it is the same pin."""
    if old is None or entry.policy.pinned is None or entry.policy.pinned != old.policy.pinned:
        return entry
    return replace(entry, policy=replace(entry.policy, pin=old.policy.pin))


def _published(written: Written, publish: Publish) -> Written:
    try:
        published = publish()
    except FisoError as error:
        return replace(written, unpublished=str(error))
    if published < written.version:
        return replace(written, unpublished=f"version {published} is")
    return replace(written, published=published if published > written.version else 0)
