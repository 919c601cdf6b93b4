"""Sources: everything the console reads, as ports. It writes nothing, and has the keeper throw the kill switch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fiso.domain.catalog import Snapshot
from fiso.domain.drift import DriftReport
from fiso.domain.record import InvocationRecord, OpenRecord, Trouble
from fiso.domain.request import InvocationId, TenantId
from fiso.ports import (
    Clock,
    DriftReports,
    EndpointStates,
    ModelStore,
    RetrainingRuns,
    Rollups,
    SharedBreakers,
    Snapshots,
)
from fiso.services.maintenance.switch import ModeOrder


class Records(Protocol):
    """What is read of `fiso.ports.InvocationLog`."""

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        """One record by its id."""
        ...

    def latest(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None
    ) -> Sequence[InvocationRecord]:
        """The newest closed records, newest first; only those after `after`, and of one tenant, when given."""
        ...

    def troubled(
        self,
        limit: int,
        *,
        after: datetime | None = None,
        tenant: TenantId | None = None,
        admits: Callable[[Trouble], bool] = lambda _: True,
    ) -> Sequence[InvocationRecord]:
        """The newest that went wrong and are admitted, newest first, as of `latest`; others are not looked at."""
        ...


class Versions(Snapshots, Protocol):
    """The published catalog, and what was published before it."""

    def of_version(self, version: int) -> Snapshot | None:
        """None for a number that was never published, or skipped."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The stores behind the pages, and the clock that ages are told by."""

    log: Records
    states: EndpointStates
    snapshots: Versions
    models: ModelStore
    runs: RetrainingRuns
    clock: Clock
    drift: DriftReports | None = None
    rollups: Rollups | None = None
    breakers: SharedBreakers | None = None
    order: Callable[[ModeOrder], Mapping[str, object]] | None = None
    """Has the keeper switch a mode; what it answered."""

    def newest_drift(self) -> DriftReport | None:
        """The newest look for drift; None before the first."""
        return next(iter(self.drift.latest(1)), None) if self.drift is not None else None
