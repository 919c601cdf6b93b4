"""Leases: a decision that is handed to a client, who calls the endpoints itself and reports what became of it.

A lease holds everything that a record needs later, so FISO keeps nothing of it between `decide` and `outcomes`. One
draw orders the endpoints for every call under the lease: each call has the same propensity, and none is independent of
the others, which is why records carry the lease's id.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NewType
from uuid import UUID, uuid5

from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.policy import LONGEST_OUTAGE_S
from fiso.domain.record import CandidateSummary
from fiso.domain.request import InvocationId, TenantId
from fiso_client.core.failures import NEVER_RAN, Failure

LeaseId = NewType("LeaseId", str)

LIFETIME = timedelta(seconds=60)
"""How long a client should call by a lease before it asks again."""
REPORTING_TIME = timedelta(seconds=LONGEST_OUTAGE_S) + timedelta(hours=1)
"""How long after a lease's expiry its outcomes are still accepted: for a client that went on by it while FISO could not
be reached, as long as any policy lets it, and an hour to report then."""
LARGEST_NUMBER = 1_000_000
"""Calls under one lease are numbered from 0 to here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedEndpoint:
    """One endpoint that may be called under a lease, with what was known of it when it was ranked.

    `features` is the snapshot the model saw, in the order of `prediction.features.NAMES`.
    """

    summary: CandidateSummary
    provider: Provider
    region: str
    memory_mb: int
    features: tuple[float, ...]
    raw_latency_ms: float
    prediction_source: str

    @property
    def id(self) -> EndpointId:
        return self.summary.endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A decision with a term. `endpoints` may be called, in this order; `others` were candidates and may not be.

    Instants are whole milliseconds. `request_size_bytes` is the size of the request that was decided for.
    """

    id: LeaseId
    function: FunctionName
    tenant: TenantId
    issued_at: datetime
    expires_at: datetime
    endpoints: tuple[LeasedEndpoint, ...]
    others: tuple[CandidateSummary, ...]
    exclusions: tuple[Exclusion, ...]
    reason: Reason
    request_size_bytes: int
    user_region: str | None
    policy_version: int
    snapshot_version: int
    model_version: str
    tariff_version: str

    def __post_init__(self) -> None:
        ids = [endpoint.id for endpoint in self.endpoints]
        if not ids or len(set(ids)) != len(ids):
            raise ValueError(f"a lease needs endpoints with ids of their own, has {ids}")
        if self.expires_at <= self.issued_at:
            raise ValueError("a lease expires after it was issued")
        UUID(self.id)

    @property
    def candidates(self) -> tuple[CandidateSummary, ...]:
        return (*(endpoint.summary for endpoint in self.endpoints), *self.others)

    @property
    def reported_until(self) -> datetime:
        """When its outcomes are no longer accepted."""
        return self.expires_at + REPORTING_TIME

    def find(self, endpoint: EndpointId) -> LeasedEndpoint | None:
        return next((leased for leased in self.endpoints if leased.id == endpoint), None)

    def provider_of(self, endpoint: EndpointId) -> Provider:
        """Of one of its endpoints."""
        return next(leased.provider for leased in self.endpoints if leased.id == endpoint)

    def invocation_id(self, number: int) -> InvocationId:
        """The id of the call of this number: the same whenever it is asked for, so that reporting twice is harmless."""
        return InvocationId(str(uuid5(UUID(self.id), str(number))))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedAttempt:
    """One call by the client, finished. Exactly one of `status` and `failure` is set.

    `after_ms` is when it began, counted from the lease's issue by a clock that only goes forward, so that no client's
    time of day matters. `idle_ms` is how long this client had not called that endpoint; None for the first time.
    `shape` is the kind of body that came (`fiso_client.core.content.shape_of`), `evidence` what the client says of a
    failure.
    """

    endpoint: EndpointId
    after_ms: float
    latency_ms: float
    status: int | None = None
    failure: Failure | None = None
    is_function_error: bool = False
    cold_start: bool | None = None
    billed_ms: float | None = None
    idle_ms: float | None = None
    shape: str | None = None
    evidence: str | None = None

    def __post_init__(self) -> None:
        if (self.status is None) == (self.failure is None):
            raise ValueError("an attempt has either a status or a failure")

    @property
    def may_have_run(self) -> bool:
        return self.failure not in NEVER_RAN


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedOutcome:
    """What became of one request under a lease. `number` counts the lease's requests, from 0, each its own."""

    number: int
    request_size_bytes: int
    response_size_bytes: int
    attempts: tuple[LeasedAttempt, ...]
    deadline_passed: bool = False
