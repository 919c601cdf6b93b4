"""Knowledge: what this environment knows of catalog, endpoint states and model, each with its own freshness."""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor

from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import ModelRefused, NothingAvailable, StoreError, StoreUnavailable
from fiso.domain.model import ModelPointer
from fiso.domain.policy import Policy
from fiso.domain.state import EndpointState
from fiso.ports import Clock, EndpointStates, Metrics, ModelStore, Snapshots
from fiso.prediction import artifact
from fiso.prediction.artifact import Model
from fiso.services.known import PATIENCE_S, Known

SNAPSHOT_STALE_S = 10.0
"""A pin (kill switch) takes effect within this."""

HURRY_S = 1.0

logger = logging.getLogger(__name__)
States = Mapping[EndpointId, EndpointState]


class Knowledge:
    """Reads through `Known` values; a store that is away leaves the last value serving."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        states: EndpointStates,
        layer: ModelStore,
        models: ModelStore,
        metrics: Metrics,
        clock: Clock,
        executor: Executor,
    ) -> None:
        self._states, self._clock, self._executor, self._metrics = (states, clock, executor, metrics)
        self._snapshot: Known[Snapshot] = Known(
            "snapshot", _snapshot_reader(snapshots), clock=clock, executor=executor, stale_s=SNAPSHOT_STALE_S
        )
        self._by_function: dict[FunctionName, Known[States]] = {}
        self._packaged = self._load(layer, None)
        self._newer: Known[Model | None] = Known(
            "model",
            lambda known: self._load(models, known),
            clock=clock,
            executor=executor,
            first_patience_s=PATIENCE_S,  # the packaged model stands in
        )

    def snapshot(self) -> Snapshot:
        """The catalog to decide with. `NothingAvailable` while none was ever read."""
        snapshot = self._snapshot.before_deciding()
        if snapshot is None:
            raise NothingAvailable("no catalog snapshot could be read; publish one with `fiso apply`")
        return snapshot

    def policy(self, function: FunctionName) -> Policy:
        """The policy to decide with. `UnknownFunction` when the catalog has no such function."""
        self.prefetch()
        return self.snapshot().entry(function).policy

    def states(self, function: FunctionName) -> States:
        """The folded states of a function's endpoints; empty while none could be read."""
        return self._states_of(function).before_deciding() or {}

    def model(self) -> Model | None:
        """The newest verified model: the store's champion, else the packaged one; None leaves the baseline."""
        return self._newer.before_deciding() or self._packaged

    def prefetch(self) -> None:
        """Start the first reads of catalog and model beside each other. States wait until the function is known to be
        one: what a stranger names must cost no read and no memory."""
        for known in (self._snapshot, self._newer):
            if known.age_s is None:
                known.while_waiting()

    def refresh_while_waiting(self, function: FunctionName) -> None:
        """Start what is due; call right before waiting for a provider."""
        self._snapshot.while_waiting()
        self._states_of(function).while_waiting()
        self._newer.while_waiting()

    def hurry(self, function: FunctionName) -> None:
        """Read a function's states again that are older than HURRY_S: something is wrong, others may know what."""
        self._states_of(function).while_waiting(oldest_s=HURRY_S)

    def settle(self, function: FunctionName) -> None:
        """Let refreshes that were started finish."""
        self._snapshot.settle()
        self._states_of(function).settle()
        self._newer.settle()

    def latest_states(self, functions: Iterable[FunctionName]) -> Mapping[FunctionName, States]:
        """The states of several functions, read again where they are no longer fresh. For people, not for decisions."""
        known = {function: self._states_of(function) for function in functions}
        for states in known.values():
            states.while_waiting()
        for states in known.values():
            states.settle()
        return {function: states.value or {} for function, states in known.items()}

    def known_snapshot(self) -> tuple[Snapshot | None, float | None]:
        """The snapshot and its age in seconds, as they are, for health."""
        self._snapshot.while_waiting()
        self._snapshot.settle()
        return self._snapshot.value, self._snapshot.age_s

    def _states_of(self, function: FunctionName) -> Known[States]:
        known = self._by_function.get(function)
        if known is None:
            known = Known(
                f"states of {function}",
                lambda _: self._states.of_function(function),
                clock=self._clock,
                executor=self._executor,
                first_patience_s=PATIENCE_S,  # the prior stands in
            )
            self._by_function[function] = known
        return known

    def _load(self, store: ModelStore, known: Model | None) -> Model | None:
        """The store's champion unless it is known already. A refused model counts an alert and changes nothing."""
        try:
            pointer = store.champion()
            if pointer is None or (known is not None and known.version == pointer.version):
                return known
            return _read_model(store, pointer)
        except ModelRefused as error:
            logger.error("model refused, %s serves: %s", known.version if known else "the one before", error)
            self._metrics.add("ModelRefused", 1, "Count")
            return known
        except StoreError as error:
            logger.warning("model store not read: %s", error)
            return known


def _read_model(store: ModelStore, pointer: ModelPointer) -> Model:
    model = artifact.read(store.artifact(pointer), sha256=pointer.sha256)
    if model.version != pointer.version:
        raise ModelRefused(f"the pointer names {pointer.version}, the file says {model.version}")
    return model


def _snapshot_reader(snapshots: Snapshots) -> Callable[[Snapshot | None], Snapshot]:
    def read(known: Snapshot | None) -> Snapshot:
        newer = snapshots.current(unless_version=known.version if known else None)
        found = newer or known
        if found is None:
            raise StoreUnavailable("no snapshot was published yet")
        return found

    return read
