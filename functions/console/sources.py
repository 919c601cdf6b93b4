"""Sources: everything the console reads, as ports. It writes nothing."""

from dataclasses import dataclass

from fiso.ports import Clock, EndpointStates, InvocationLog, ModelStore, RetrainingRuns, Snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The stores behind the pages, and the clock that ages are told by."""

    log: InvocationLog
    states: EndpointStates
    snapshots: Snapshots
    models: ModelStore
    runs: RetrainingRuns
    clock: Clock
