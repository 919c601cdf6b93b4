"""Watch: what an on-call engineer sees of a function: what it did lately, what stands in its way, what was changed."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from fiso.codecs.policy import whole_document
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.rollup import ByEndpoint, Counts
from fiso.routing import canaries
from fiso.routing.breaker_notices import Transition
from fiso.routing.equivalence import quarantined
from fiso_client.core.breaker import BreakerState
from fiso_client.core.failures import FisoError
from functions.console.sources import Sources
from functions.console.views import formats, history, summaries
from functions.console.views.history import States
from functions.console.views.summaries import EndpointHealth

READERS = 8
VERSIONS = 8
"""How many versions of the catalog a page compares, of those before one."""
FAILING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreaker:
    """A breaker that is not closed, as environments tell each other: of a copy, or of a provider's region."""

    where: str
    state: BreakerState
    since: datetime
    until: datetime | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStands:
    """A copy on trial."""

    endpoint: EndpointId
    release: str
    share: float
    standing: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One function: how its copies stand, and what it did in the time that was asked for."""

    entry: CatalogEntry
    rows: Sequence[EndpointHealth]
    states: States
    counts: ByEndpoint
    breakers: Sequence[OpenBreaker]
    canary: CanaryStands | None
    failing_since: datetime | None = None

    @property
    def total(self) -> Counts:
        return history.total(self.counts)

    @property
    def error_share(self) -> float | None:
        return self.total.errors / self.total.requests if self.total.requests else None

    @property
    def is_failing(self) -> bool:
        return self.total.errors > 0 and (self.error_share or 0.0) > FAILING

    @property
    def verdicts(self) -> Sequence[tuple[str, int]]:
        return sorted(self.total.verdicts.items(), key=lambda item: -item[1])


def functions(sources: Sources, snapshot: Snapshot | None, length: timedelta) -> Sequence[Watched]:
    """Every function of the catalog, those that fail first."""
    now = sources.clock()
    entries = sorted(snapshot.at(now).values(), key=lambda entry: entry.name) if snapshot else []
    breakers = transitions(sources)

    def watched(entry: CatalogEntry) -> Watched:
        return of_function(sources, entry, breakers, length)

    if len(entries) <= 1:
        return [watched(entry) for entry in entries]
    with ThreadPoolExecutor(READERS) as executor:
        found = list(executor.map(watched, entries))
    return sorted(found, key=lambda each: (not each.is_failing, -(each.error_share or 0.0) if each.is_failing else 0.0))


def of_function(sources: Sources, entry: CatalogEntry, breakers: Sequence[Transition], length: timedelta) -> Watched:
    now, states = sources.clock(), sources.states.of_function(entry.name)
    counts = history.sums(sources, entry.name, states, now - length)
    out = quarantined(entry, states)
    watched = Watched(
        entry=entry,
        rows=[summaries.health(endpoint, states.get(endpoint.id), out) for endpoint in entry.endpoints],
        states=states,
        counts=counts,
        breakers=open_breakers(breakers, entry, now),
        canary=canary_of(entry, states, now),
    )
    if not watched.is_failing:
        return watched
    span = history.Span.until(now, min(length, history.DAY))
    since = history.failing_since(history.read(sources, entry.name, states, span), share=FAILING)
    return replace(watched, failing_since=since)


def transitions(sources: Sources) -> Sequence[Transition]:
    if sources.breakers is None:
        return []
    return [notice for notice in sources.breakers.read() if isinstance(notice, Transition)]


def open_breakers(notices: Iterable[Transition], entry: CatalogEntry, now: datetime) -> Sequence[OpenBreaker]:
    """Of the function's copies, and of the regions that they are in."""
    domains = {(endpoint.provider, endpoint.region) for endpoint in entry.endpoints}
    found = []
    for notice in notices:
        is_own = notice.function == entry.name
        is_domain = notice.function is None and (notice.domain.provider, notice.domain.region) in domains
        state = notice.breaker.state(now)
        if state is BreakerState.CLOSED or not (is_own or is_domain):
            continue
        where = str(notice.endpoint) if is_own else f"all of {notice.domain.provider} {notice.domain.region}"
        breaker = notice.breaker
        found.append(
            OpenBreaker(
                where=where,
                state=state,
                since=breaker.out_since or notice.changed_at,
                until=breaker.opened_until,
                cause=breaker.cause,
            )
        )
    return sorted(found, key=lambda each: each.where)


def canary_of(entry: CatalogEntry, states: States, now: datetime) -> CanaryStands | None:
    canary = entry.policy.canary
    if canary is None:
        return None
    state = states.get(canary.endpoint)
    known = state.canary if state and state.canary and state.canary.run == canary.run else None
    stands = canaries.standing(canary, known, now)
    return CanaryStands(
        endpoint=canary.endpoint,
        release=canary.release,
        share=stands.share if stands else 0.0,
        standing="stopped" if known and known.stopped_at else "on trial" if stands else "passed",
        why=known.why if known else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that a version changed of a function: `before` or `after` is None where it was not there."""

    function: FunctionName
    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a version of the catalog changed against the one before it; `by` is told of switched modes."""

    version: int
    at: datetime
    by: str
    differences: Sequence[Difference]


def changes(sources: Sources, *, before: int | None, function: FunctionName | None) -> Sequence[Change]:
    """Of the newest versions, or those below `before`, the newest first. A version that does not read is left out."""
    current = sources.snapshots.current()
    newest = min(before - 1, current.version) if current and before else current.version if current else 0
    numbers = range(newest, max(0, newest - VERSIONS - 1), -1)

    def read(number: int) -> Snapshot | None:
        if current is not None and number == current.version:
            return current
        return _version(sources, number)

    # a caller's rights are known to this thread alone, so one after the other
    found = [snapshot for snapshot in map(read, numbers) if snapshot is not None]
    told = []
    for later, earlier in pairwise(found):
        differences = [each for each in differences_of(earlier, later) if function in (None, each.function)]
        ahead = {name: each for name, each in later.ahead.items() if each.version == later.version}
        by = ", ".join(sorted({each.by for each in ahead.values()}))
        if differences or function is None:
            told.append(Change(version=later.version, at=later.published_at, by=by, differences=differences))
    return told


def _version(sources: Sources, number: int) -> Snapshot | None:
    try:
        return sources.snapshots.of_version(number)
    except FisoError:
        return None


def differences_of(earlier: Snapshot, later: Snapshot) -> Sequence[Difference]:
    """Of policies key by key, of copies as a whole."""
    found = []
    for name in sorted(earlier.functions.keys() | later.functions.keys()):
        old, new = _flat(earlier.functions.get(name)), _flat(later.functions.get(name))
        for what in sorted(old.keys() | new.keys()):
            if old.get(what) != new.get(what):
                found.append(Difference(function=name, what=what, before=old.get(what), after=new.get(what)))
    return found


def _flat(entry: CatalogEntry | None) -> Mapping[str, str]:
    if entry is None:
        return {}
    policy = {key: formats.plain(value) for key, value in whole_document(entry.policy).items() if key != "version"}
    copies = {f"endpoint {endpoint.id}": _copy(endpoint) for endpoint in entry.endpoints}
    return {**policy, **copies, "function": entry.function_type}


def _copy(endpoint: Endpoint) -> str:
    return f"{endpoint.provider} {endpoint.region}, {endpoint.memory_mb} MB, at most {endpoint.concurrency_limit}"
