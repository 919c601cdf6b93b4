"""Decision sources: what this environment knows of catalog, endpoint states and model, each with its own freshness.

    catalog   memory <- S3, or its copy in the state table where an environment starts while S3 is away
    states    memory <- the state table; none leaves the prior
    model     memory <- S3 (verified) <- packaged <- none

A request waits for all of them together as long as one budget lasts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import NothingAvailable, StoreUnavailable
from fiso.domain.policy import Policy
from fiso.domain.state import EndpointState
from fiso.ports import EndpointStates, Metrics, Snapshots
from fiso.prediction.artifact import Model
from fiso.services.freshness.cached import FIRST_STORE_WAIT_S, STALE_S, CachedValue, StoreWaitBudget
from fiso.services.freshness.health import PartHealth, snapshot_health, states_health
from fiso.services.freshness.model_source import ModelSource

SNAPSHOT_STALE_S = 10.0
"""A pin (kill switch) takes effect within this."""
COPY_AFTER_S = 0.5
"""How long a cold environment waits for the catalog before it asks for the copy beside."""
TROUBLE_FRESH_S = 1.0
"""How old states may be while something is wrong."""
States = Mapping[EndpointId, EndpointState]


class StatesRead(NamedTuple):
    """A function's states as last read, and how long ago; None when they never were."""

    states: States
    age_s: float | None


class DecisionSources:
    """Reads through `CachedValue`s; a store that is away leaves the last value serving."""

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
        self._snapshot = self._cached_snapshot("snapshot", snapshots)
        self._copy = None if copy is None else self._cached_snapshot("copy of the snapshot", copy)
        self._by_function: dict[FunctionName, CachedValue[States]] = {}
        self._model_source = model_source

    def snapshot(self) -> Snapshot:
        """The catalog to decide with. `NothingAvailable` while none was ever read: no catalog is ever guessed, since
        what it denies would be lost."""
        cold = self._snapshot.value is None and self._copy is not None
        snapshot = self._snapshot.get_or_wait(at_most_s=COPY_AFTER_S if cold else None)
        if snapshot is None and self._copy is not None:
            snapshot = self._copy.get_or_wait() or self._snapshot.get_or_wait()
        if snapshot is None:
            raise NothingAvailable("no catalog snapshot could be read; publish one with `fiso apply`")
        age_s = self._snapshot.age_s
        if age_s is not None and age_s > STALE_S:
            self._metrics.add("SnapshotAgeS", age_s, "Seconds")
        return snapshot

    def policy(self, function: FunctionName) -> Policy:
        """The policy to decide with. `UnknownFunction` when the catalog has no such function."""
        self.prefetch()
        return self.snapshot().entry(function).policy

    def states(self, function: FunctionName) -> States:
        """The folded states of a function's endpoints; empty while none could be read."""
        return self._states_of(function).get_or_wait() or {}

    def model(self) -> Model | None:
        """The newest verified model; None leaves the baseline."""
        return self._model_source.model()

    def prefetch(self) -> None:
        """A request begins: renew the budget, start the first reads of catalog and model beside each other. States
        wait until the function is known to be one: what a stranger names must cost no read and no memory."""
        self._budget.renew()
        for cached in (self._snapshot, self._model_source.cached):
            cached.refresh_in_background(oldest_s=float("inf"))

    def refresh_in_background(self, function: FunctionName) -> None:
        """Start what is due; call right before waiting for a provider."""
        for cached in (self._snapshot, self._states_of(function), self._model_source.cached):
            cached.refresh_in_background()

    def force_refresh(self, function: FunctionName) -> None:
        """Read a function's states again that are older than TROUBLE_FRESH_S: others may know what is wrong."""
        self._states_of(function).refresh_in_background(oldest_s=TROUBLE_FRESH_S)

    def await_pending(self) -> None:
        """Let what was started end, also by others that share the budget."""
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
        return self._snapshot.value or copied, self._snapshot.age_s

    def health(self) -> tuple[PartHealth, ...]:
        """How snapshot, states and model are, without asking any store."""
        has_copy = self._copy is not None and self._copy.value is not None
        return (
            snapshot_health(self._snapshot.age_s, has_copy=has_copy),
            states_health([(states.age_s, states.problem) for states in self._by_function.values()]),
            self._model_source.health(),
        )

    def _cached_snapshot(self, name: str, snapshots: Snapshots) -> CachedValue[Snapshot]:
        return CachedValue(name, _snapshot_reader(snapshots), budget=self._budget, stale_s=SNAPSHOT_STALE_S)

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


def _snapshot_reader(snapshots: Snapshots) -> Callable[[Snapshot | None], Snapshot]:
    def read(known: Snapshot | None) -> Snapshot:
        newer = snapshots.current(unless_version=known.version if known else None)
        found = newer or known
        if found is None:
            raise StoreUnavailable("no snapshot was published yet")
        return found

    return read
