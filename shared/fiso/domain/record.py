"""Records: the logged row of one invocation, with the brief's names. Nothing is invented to fill a field.

A record is first OPEN (an intent, written before any call) and then exactly once FINAL, or UNKNOWN when the keeper had
to close it because the orchestrator was gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.request import InvocationId, TenantId
from fiso_client.core.failures import Failure


class RecordStatus(StrEnum):
    """Where a record is in its life."""

    OPEN = "open"
    FINAL = "final"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSummary:
    """One attempt as it is logged: no payload, no address."""

    endpoint: EndpointId
    started_at: datetime
    latency_ms: float
    status: int | None = None
    failure: Failure | None = None
    cold_start: bool | None = None
    billed_ms: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSummary:
    """One candidate as it is logged, compact: prediction, score and propensity.

    `compared_ms` is the latency it was compared by, `p95_ms` what was predicted of it; None in older records.
    """

    endpoint: EndpointId
    latency_ms: float
    cost_usd: float | None
    success_probability: float
    score: float
    propensity: float
    compared_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRecord:
    """The intent, written before the first call; the keeper closes it when its deadline is long past."""

    invocation_id: InvocationId
    timestamp: datetime
    tenant: TenantId
    function_name: FunctionName
    deadline_at: datetime
    request_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationRecord:
    """What happened, for one invocation. The first block has the brief's names and meanings.

    `execution_time_ms` is the latency that the orchestrator saw from the endpoint that ended the request; `cost_usd` is
    all attempts' estimated bill; `day_of_week` is ISO 1..7; the utilizations stay None unless a provider reports them;
    `prediction_accuracy` is 1 - |error| / actual, floored at 0. `endpoint` is None when nothing was called.

    `lease_id` is set where a client called the endpoints itself under a lease: latencies are then the client's, and
    one draw chose the first endpoint of every call under that lease, so estimates must count such records by lease.
    """

    invocation_id: InvocationId
    timestamp: datetime
    cloud_provider: Provider | None
    function_name: FunctionName
    request_size_bytes: int
    response_size_bytes: int
    execution_time_ms: float | None
    cost_usd: float | None
    region: str | None
    day_of_week: int
    hour_of_day: int
    cpu_utilization: float | None
    memory_utilization: float | None
    cold_start: bool | None
    error_occurred: bool
    user_region: str | None
    prediction_accuracy: float | None

    status: RecordStatus
    tenant: TenantId
    endpoint: EndpointId | None
    reason: Reason | None
    response_status: int
    billed_ms: float | None
    overhead_ms: float | None
    features: Mapping[str, float] = field(default_factory=dict)
    raw_latency_ms: float | None = None
    candidates: tuple[CandidateSummary, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    attempts: tuple[AttemptSummary, ...] = ()
    prediction_source: str | None = None
    policy_version: int | None = None
    snapshot_version: int | None = None
    model_version: str | None = None
    tariff_version: str | None = None
    lease_id: str | None = None
