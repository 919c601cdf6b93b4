"""Decision sources: what this environment knows of catalog, endpoint states and model, each with its own freshness.

    catalog   memory <- S3, or its copy in the state table where an environment starts while S3 is unavailable
    states    memory <- the state table; none leaves the prior
    model     memory <- S3: the newest verified, else the one before it <- packaged <- none, the labelled baseline

A request waits for all of them together as long as one budget lasts.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import InvalidCatalog, NoCatalog, NothingAvailable, StoreUnavailable
from fiso.domain.policy import Policy
from fiso.domain.request import TenantId
from fiso.domain.state import EndpointState
from fiso.ports import EndpointStates, Metrics, Snapshots
from fiso.prediction.artifact import Model
from fiso.routing import reported
from fiso.services.freshness.cached import FIRST_STORE_WAIT_S, STALE_S, CachedValue, StoreWaitBudget
from fiso.services.freshness.health import PartHealth, snapshot_health, states_health
from fiso.services.freshness.models import ModelSource, ModelTrial

SNAPSHOT_STALE_S = 10.0
"""A pin (kill switch) takes effect within this."""
SNAPSHOT_WAIT_S = 0.5
"""What a snapshot older than that is worth to wait for: after a pause the connection to S3 is gone, and a new one takes
longer than the budget, so that one call would still follow the pin before. Spent once where the store hangs."""
WITNESS_WAIT_S = 0.25
"""How long a cold environment that has the catalog waits to hear whether it is the newest."""
COPY_AFTER_S = 0.5
"""How long a cold environment waits for the catalog before it asks for the copy beside."""
TROUBLE_FRESH_S = 1.0
"""How old states may be while something is wrong."""
MOST_VIEWS = 100
"""Tenants for whom one reading of states is kept as it counts for them."""
States = Mapping[EndpointId, EndpointState]

logger = logging.getLogger(__name__)


class StatesRead(NamedTuple):
    """A function's states as last read, and how long ago; None when they never were."""

    states: States
    age_s: float | None


class _Views(NamedTuple):
    """A function's states, and how they count for each tenant that asked since they were read."""

    states: States
    by_tenant: dict[TenantId, States]


class DecisionSources:
    """Reads through `CachedValue`s; an unavailable store leaves the last value serving."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        states: EndpointStates,
        model_source: ModelSource,
        metrics: Metrics,
        budget: StoreWaitBudget,
        copy: Snapshots | None = None,
    ) -> None:
        self._states, self._metrics, self._budget = states, metrics, budget
        self._floor = VersionFloor()
        self._snapshot = self._cached_snapshot("snapshot", snapshots)
        self._copy = None if copy is None else self._cached_snapshot("copy of the snapshot", copy)
        self._witness = None if copy is None else self._cached_witness(copy)
        self._by_function: dict[FunctionName, CachedValue[States]] = {}
        self._views: dict[FunctionName, _Views] = {}
        self._model_source = model_source

    def snapshot(self) -> Snapshot:
        """The catalog to decide with. `NothingAvailable` while none was ever read: no catalog is ever guessed, since
        what it denies would be lost."""
        age_s, known = self._snapshot.age_s, self._snapshot.value
        if (
            known is not None
            and age_s is not None
            and age_s <= SNAPSHOT_STALE_S
            and known.version >= self._floor.version
        ):
            return known
        cold = known is None and self._copy is not None
        snapshot = self._snapshot.get_or_wait(at_most_s=COPY_AFTER_S if cold else None)
        if cold and self._witness is not None:
            self._witness.get_or_wait(at_most_s=WITNESS_WAIT_S)
        if self._copy is not None and (snapshot is None or snapshot.version < self._floor.version):
            snapshot = _newer(self._copy.get_or_wait(), snapshot) or self._snapshot.get_or_wait()
        if snapshot is None:
            raise NoCatalog("no catalog snapshot could be read; publish one with `fiso apply`")
        age_s = self._snapshot.age_s
        if age_s is not None and age_s > STALE_S:
            self._metrics.add("SnapshotAgeS", age_s, "Seconds")
        return snapshot

    def known_snapshot(self) -> Snapshot | None:
        """The catalog as it was last read, whatever its age; asks nobody."""
        return self._snapshot.value

    def policy(self, function: FunctionName, *, tenant: TenantId | None = None) -> Policy:
        """The policy to decide with. `UnknownFunction` when the catalog has no such function, or none for this tenant
        where one asks."""
        return policy_in(self.begun(), function, tenant)

    def begun(self) -> Snapshot:
        """A request begins: its catalog, which it may hold on to."""
        self.prefetch()
        return self.snapshot()

    def entry(self, function: FunctionName) -> CatalogEntry | None:
        """One function of the catalog, for what can do without; None where there is none, or no catalog."""
        try:
            return self.snapshot().functions.get(function)
        except NothingAvailable:
            return None

    def states(self, function: FunctionName) -> States:
        """The folded states of a function's endpoints; empty while none could be read."""
        return self._states_of(function).get_or_wait() or {}

    def states_for(self, function: FunctionName, states: States, tenant: TenantId) -> States:
        """The function's states as they count for a tenant, whose own reports are among them."""
        if not reported.has_reports(states):
            return states
        known = self._views.get(function)
        if known is None or known.states is not states or len(known.by_tenant) >= MOST_VIEWS:
            known = self._views[function] = _Views(states, {})
        view = known.by_tenant.get(tenant)
        if view is None:
            view = known.by_tenant[tenant] = reported.seen_by(states, reported.tenant_hash(tenant))
        return view

    def model(self) -> Model | None:
        """The newest verified model; None leaves the baseline."""
        return self._model_source.model()

    def trial(self, now: datetime) -> ModelTrial | None:
        """The challenger that decides for a share of the requests; None while none does."""
        return self._model_source.trial(now)

    def prefetch(self) -> None:
        """A request begins: renew the budget, start the first reads of catalog and model beside each other. States
        wait until the function is known to be one: what a stranger names must cost no read and no memory."""
        self._budget.renew()
        self._snapshot.prefetch()
        if self._witness is not None:
            self._witness.prefetch()
        self._model_source.cached.prefetch()

    def refresh_in_background(self, function: FunctionName) -> None:
        """Start what is due; call right before waiting for a provider."""
        now_s = self._budget.stopwatch()  # looked at once for all
        for cached in (self._snapshot, self._states_of(function), self._model_source.cached):
            cached.refresh_in_background(now_s=now_s)
        if self._witness is not None:
            self._witness.refresh_in_background(oldest_s=STALE_S, now_s=now_s)

    def hurry(self, function: FunctionName, *, oldest_s: float) -> None:
        """Start reading a function's states again that are older, beside whatever is waited for now."""
        self._states_of(function).refresh_in_background(oldest_s=oldest_s)

    def newer_states(self, function: FunctionName, than: States | None, *, at_most_s: float) -> bool:
        """Whether what `hurry` began has brought other states, after waiting for it so long at most."""
        cached = self._states_of(function)
        cached.await_read(at_most_s=at_most_s)
        return cached.value is not than

    def known_states(self, function: FunctionName) -> States | None:
        """The states as they were last read."""
        return self._states_of(function).value

    def force_refresh(self, function: FunctionName) -> None:
        """Read a function's states again that are older than TROUBLE_FRESH_S: others may know what is wrong."""
        self._states_of(function).refresh_in_background(oldest_s=TROUBLE_FRESH_S)

    def await_pending(self) -> None:
        self._budget.await_pending()

    def latest_states(self, functions: Iterable[FunctionName]) -> Mapping[FunctionName, StatesRead]:
        """The states of several functions, read again where they are no longer fresh. For people, who can wait. What
        does not come in time is no hang: the next decision waits for it as ever."""
        known = {function: self._states_of(function) for function in functions}
        self._budget.renew()
        for states in known.values():
            states.refresh_in_background()
        self._budget.await_pending(within_s=FIRST_STORE_WAIT_S)
        return {function: StatesRead(states.value or {}, states.age_s) for function, states in known.items()}

    def snapshot_for_health(self) -> tuple[Snapshot | None, float | None]:
        """The snapshot and its age in seconds, as they are, for health."""
        self._budget.renew()
        self._snapshot.refresh_in_background()
        self._budget.await_pending()
        copied = self._copy.value if self._copy is not None else None
        return _newer(copied, self._snapshot.value), self._snapshot.age_s

    def health(self) -> tuple[PartHealth, ...]:
        has_copy = self._copy is not None and self._copy.value is not None
        return (
            snapshot_health(self._snapshot.age_s, has_copy=has_copy),
            states_health([(states.age_s, states.problem) for states in self._by_function.values()]),
            self._model_source.health(),
        )

    def _cached_snapshot(self, name: str, snapshots: Snapshots) -> CachedValue[Snapshot]:
        return CachedValue(
            name,
            self._snapshot_reader(snapshots),
            budget=self._budget,
            stale_s=SNAPSHOT_STALE_S,
            stale_wait_s=SNAPSHOT_WAIT_S,
        )

    def _snapshot_reader(self, snapshots: Snapshots) -> Callable[[Snapshot | None], Snapshot]:
        def read(known: Snapshot | None) -> Snapshot:
            try:
                found = snapshots.current(unless_version=known.version if known else None) or known
                if found is None:
                    raise StoreUnavailable("no snapshot was published yet")
                self._floor.admit(found.version)
            except InvalidCatalog as error:
                logger.error("a catalog is refused, the last good one serves: %s", error)
                self._metrics.add("SnapshotRefused", 1, "Count")
                raise
            return found

        return read

    def _cached_witness(self, copy: Snapshots) -> CachedValue[int]:
        """The newest version that the copy's seal attests, read beside the catalog at a cold start, then once
        a minute: an old catalog that somebody put into the bucket is not the newest here."""

        def read(_: int | None) -> int:
            attested = copy.attested() or 0
            self._floor.lift(attested)
            return attested

        return CachedValue("the catalog's witness", read, budget=self._budget)

    def _states_of(self, function: FunctionName) -> CachedValue[States]:
        cached = self._by_function.get(function)
        if cached is None:
            cached = CachedValue(
                f"states of {function}",
                lambda _: self._states.of_function(function),
                budget=self._budget,
                is_needed=False,
            )
            self._by_function[function] = cached
        return cached


def policy_in(snapshot: Snapshot, function: FunctionName, tenant: TenantId | None) -> Policy:
    """`UnknownFunction` when the catalog has no such function, or none for this tenant where one asks."""
    return (snapshot.entry(function) if tenant is None else snapshot.entry_for(tenant, function)).policy


def _newer(one: Snapshot | None, other: Snapshot | None) -> Snapshot | None:
    return max((each for each in (other, one) if each is not None), key=lambda each: each.version, default=None)


class VersionFloor:
    """The newest catalog version that this environment has seen or knows to be published: it only moves up."""

    def __init__(self) -> None:
        self.version, self._lock = 0, Lock()

    def lift(self, version: int) -> None:
        with self._lock:
            self.version = max(self.version, version)

    def admit(self, version: int) -> None:
        """`InvalidCatalog` for a version below."""
        self.lift(version)
        if version < self.version:
            raise InvalidCatalog(f"version {version} came back, {self.version} is published")
