"""DecisionSources: what this environment knows of catalog, endpoint states and model, each with its own freshness.

    catalog   memory <- S3, or its copy in the state table where an environment starts while S3 is away
    states    memory <- the state table; none leaves the prior
    model     memory <- S3 (verified) <- packaged <- none

A request waits for all of them together as long as one patience lasts.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from time import monotonic

from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import NothingAvailable, StoreUnavailable
from fiso.domain.policy import Policy
from fiso.domain.state import EndpointState
from fiso.ports import Clock, EndpointStates, Metrics, Snapshots
from fiso.prediction.artifact import Model
from fiso.services.freshness.cached import STALE_S, CachedValue
from fiso.services.freshness.health import PartHealth, model_health, snapshot_health, states_health
from fiso.services.freshness.model_source import ModelSource
from fiso.services.freshness.wait_budget import StoreWaitBudget

SNAPSHOT_STALE_S = 10.0
"""A pin (kill switch) takes effect within this."""
COPY_AFTER_S = 0.5
"""How long a cold environment waits for the catalog before it asks for the copy beside."""

TROUBLE_FRESH_S = 1.0
"""How old states may be while something is wrong."""
States = Mapping[EndpointId, EndpointState]


class DecisionSources:
    """Reads through `Known` values; a store that is away leaves the last value serving."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        states: EndpointStates,
        model_source: ModelSource,
        metrics: Metrics,
        clock: Clock,
        executor: Executor,
        copy: Snapshots | None = None,
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        self._states, self._clock, self._executor, self._metrics = (states, clock, executor, metrics)
        self._ticks = ticks
        self.budget = StoreWaitBudget()
        """What one request waits for all of its reads together."""
        self._snapshot = self._known_snapshot("snapshot", snapshots)
        self._copy = None if copy is None else self._known_snapshot("copy of the snapshot", copy)
        self._by_function: dict[FunctionName, CachedValue[States]] = {}
        self._model_source = model_source
        self._newer = model_source.known(clock=clock, ticks=ticks, executor=executor, budget=self.budget)

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
        """The newest verified model: the store's champion, else the packaged one; None leaves the baseline."""
        return self._newer.get_or_wait() or self._model_source.packaged

    def prefetch(self) -> None:
        """A request begins: renew the budget, start the first reads of catalog and model beside each other. States
        wait until the function is known to be one: what a stranger names must cost no read and no memory."""
        self.budget.renew()
        for known in (self._snapshot, self._newer):
            if known.age_s is None:
                known.refresh_in_background()

    def refresh_in_background(self, function: FunctionName) -> None:
        """Start what is due; call right before waiting for a provider."""
        self._snapshot.refresh_in_background()
        self._states_of(function).refresh_in_background()
        self._newer.refresh_in_background()

    def force_refresh(self, function: FunctionName) -> None:
        """Read a function's states again that are older than TROUBLE_FRESH_S: others may know what is wrong."""
        self._states_of(function).refresh_in_background(oldest_s=TROUBLE_FRESH_S)

    def await_pending(self, function: FunctionName) -> None:
        """Let refreshes that were started finish."""
        self._snapshot.await_pending()
        self._states_of(function).await_pending()
        self._newer.await_pending()

    def latest_states(self, functions: Iterable[FunctionName]) -> Mapping[FunctionName, States]:
        """The states of several functions, read again where they are no longer fresh. For people, not for decisions."""
        known = {function: self._states_of(function) for function in functions}
        for states in known.values():
            states.refresh_in_background()
        for states in known.values():
            states.await_pending()
        return {function: states.value or {} for function, states in known.items()}

    def snapshot_for_health(self) -> tuple[Snapshot | None, float | None]:
        """The snapshot and its age in seconds, as they are, for health."""
        self.budget.renew()
        self._snapshot.refresh_in_background()
        self._snapshot.await_pending()
        copied = self._copy.value if self._copy is not None else None
        return self._snapshot.value or copied, self._snapshot.age_s

    def parts(self) -> tuple[PartHealth, ...]:
        """How snapshot, states and model are, without asking any store."""
        has_copy = self._copy is not None and self._copy.value is not None
        return (
            snapshot_health(self._snapshot.age_s, has_copy=has_copy),
            states_health([(known.age_s, known.problem, known.is_hanging) for known in self._by_function.values()]),
            self._model_health(),
        )

    def _model_health(self) -> PartHealth:
        model_source = self._model_source
        problem = "the store does not answer" if self._newer.is_hanging else model_source.problem
        if self._newer.value or model_source.packaged:
            return model_health(has_model=True, problem=problem)
        return model_health(has_model=False, problem=problem or model_source.packaged_problem)

    def _known_snapshot(self, name: str, snapshots: Snapshots) -> CachedValue[Snapshot]:
        return CachedValue(
            name,
            _snapshot_reader(snapshots),
            clock=self._clock,
            ticks=self._ticks,
            executor=self._executor,
            stale_s=SNAPSHOT_STALE_S,
            budget=self.budget,
        )

    def _states_of(self, function: FunctionName) -> CachedValue[States]:
        known = self._by_function.get(function)
        if known is None:
            known = CachedValue(
                f"states of {function}",
                lambda _: self._states.of_function(function),
                clock=self._clock,
                ticks=self._ticks,
                executor=self._executor,
                budget=self.budget,
                is_needed=False,
            )
            self._by_function[function] = known
        return known


def _snapshot_reader(snapshots: Snapshots) -> Callable[[Snapshot | None], Snapshot]:
    def read(known: Snapshot | None) -> Snapshot:
        newer = snapshots.current(unless_version=known.version if known else None)
        found = newer or known
        if found is None:
            raise StoreUnavailable("no snapshot was published yet")
        return found

    return read
