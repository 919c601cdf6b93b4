"""Records: the logged row of one invocation, with the brief's names. Nothing is invented to fill a field.

A record is first OPEN (an intent, written before any call) and then exactly once FINAL, or UNKNOWN when the keeper had
to close it because the orchestrator was gone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fiso.domain.decision import Exclusion, Purpose, Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.request import InvocationId, TenantId
from fiso.domain.steering import ArmDraw, CanaryDraw
from fiso.domain.trace import Traced, WrittenBefore
from fiso_client.core.failures import Failure, Fault

MOST_ATTEMPTS = 32
"""More than any policy allows: what a record touches must fit into one transaction."""
SHORTEST_MS = 1e-9
"""No time above 0 is shorter; its square is still a number to divide by."""
CLOCKS_APART = timedelta(seconds=1)
"""How far clocks of FISO's own environments usually are: what begins later than that was a client's to time."""
MOST_EXCLUSIONS = 8
LONGEST_DETAIL = 120
LONGEST_EVIDENCE = 160


class RecordStatus(StrEnum):
    """Where a record is in its life."""

    OPEN = "open"
    FINAL = "final"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSummary:
    """One attempt as it is logged: no payload, no address.

    `verdict` is whose fault it is that this was no good answer, `evidence` what shows it, in at most LONGEST_EVIDENCE
    characters; `shape` is the kind of body that came (`fiso_client.core.content.shape_of`). `plan` is what the copy was
    sold under when the call was priced (`Endpoint.priced_as`), by the list that the record's `tariff_version` names;
    None in older records. It is text, so that a plan of newer code is no damage.
    """

    endpoint: EndpointId
    started_at: datetime
    latency_ms: float
    status: int | None = None
    failure: Failure | None = None
    verdict: Fault | None = None
    evidence: str | None = None
    shape: str | None = None
    cold_start: bool | None = None
    billed_ms: float | None = None
    cost_usd: float | None = None
    plan: str | None = None


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
class RequestSummary:
    """Who asked for what: no payload, no header. `is_unkeyed` where it had an idempotency key that could not be claimed
    and protected it from nothing; `traced` where its spans are written down, `written_before` where that of another
    record's write is; `claimed_ms` what its key's claim took, `kept_before_ms` what the other's answer took to keep."""

    function_name: FunctionName
    tenant: TenantId
    request_size_bytes: int
    is_unkeyed: bool | None = None
    traced: Traced | None = None
    written_before: WrittenBefore | None = None
    claimed_ms: float | None = None
    kept_before_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSummary:
    """How it was decided: for whom, from what, and by which versions. `reason` is None when nothing was decided.

    `features` is what the model saw of the endpoint that ended the request, `raw_latency_ms` what it said of it.
    `lease_id` is set where a client called the endpoints itself under a lease: latencies are then the client's, and
    one draw chose the first endpoint of every call under that lease, so estimates must count such records by lease.
    `wish` is what the caller wished for (`Steering`), in a short form that is equal for equal wishes.
    `is_sticky`: the session, not a draw for this request, chose the first endpoint, so estimates leave the record out.
    `canary` is set where a draw chose between a canary and the others; `tried_for` what a try (`explore`) was for;
    `arm` where one was drawn between two models or policies.
    """

    reason: Reason | None = None
    tried_for: Purpose | None = None
    user_region: str | None = None
    wish: str | None = None
    is_sticky: bool | None = None
    canary: CanaryDraw | None = None
    arm: ArmDraw | None = None
    lease_id: str | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    raw_latency_ms: float | None = None
    prediction_source: str | None = None
    candidates: tuple[CandidateSummary, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    policy_version: int | None = None
    snapshot_version: int | None = None
    model_version: str | None = None
    tariff_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSummary:
    """How it went. `endpoint`, `cloud_provider` and `region` are of the endpoint that ended the request, None when
    nothing was called.

    `execution_time_ms` is the latency that the orchestrator saw from that endpoint; `cost_usd` is the estimated bill of
    all attempts and of a shadow call; `prediction_accuracy` is 1 - |error| / actual, floored at 0. The utilizations
    stay None unless a provider reports them. `is_slow`: it took longer than the function's objective.
    """

    response_status: int
    error_occurred: bool
    response_size_bytes: int = 0
    endpoint: EndpointId | None = None
    cloud_provider: Provider | None = None
    region: str | None = None
    execution_time_ms: float | None = None
    billed_ms: float | None = None
    overhead_ms: float | None = None
    cost_usd: float | None = None
    cold_start: bool | None = None
    cpu_utilization: float | None = None
    memory_utilization: float | None = None
    prediction_accuracy: float | None = None
    is_slow: bool | None = None


class ShadowOutcome(StrEnum):
    """How two copies' answers to one request compared; UNFINISHED when there were not two to compare."""

    EQUAL = "equal"
    DIFFERS = "differs"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSummary:
    """A call beside the real one, whose answer nobody got. `endpoint` was called, and `third` where the two differed.

    `place` is where they differ first, or why there was nothing to compare, in at most LONGEST_DETAIL characters and
    without a value; `odd` who differs from the majority of three. `cost_usd` is part of the result's.
    """

    endpoint: EndpointId
    outcome: ShadowOutcome
    place: str | None = None
    third: EndpointId | None = None
    odd: EndpointId | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRecord:
    """The intent, written before the first call; the keeper closes it when its deadline is long past."""

    invocation_id: InvocationId
    timestamp: datetime
    request: RequestSummary
    deadline_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationRecord:
    """What happened, for one invocation: who asked for what, how it was decided, how it went. `attempts` are in the
    order in which they ended.

    Stored, archived and answered it is flat, with the brief's names (`codecs.record`).
    """

    invocation_id: InvocationId
    timestamp: datetime
    status: RecordStatus
    request: RequestSummary
    decision: DecisionSummary
    result: ResultSummary
    attempts: tuple[AttemptSummary, ...] = ()
    shadow: ShadowSummary | None = None

    def __post_init__(self) -> None:
        if len(self.attempts) > MOST_ATTEMPTS:
            raise ValueError(f"{len(self.attempts)} attempts are more than a request can have made")

    @property
    def day_of_week(self) -> int:
        """ISO, 1 to 7."""
        return self.timestamp.isoweekday()

    @property
    def hour_of_day(self) -> int:
        """In UTC."""
        return self.timestamp.hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A record that went wrong, as lists of such name it: what the caller got, and whose fault each bad attempt was."""

    timestamp: datetime
    invocation_id: InvocationId
    function: FunctionName
    status: int
    verdicts: tuple[str, ...] = ()


Admits = Callable[[Trouble], bool]


def trouble_of(record: InvocationRecord) -> Trouble | None:
    """None for what went well at once: a caller that was answered after a failover had trouble all the same."""
    verdicts = tuple(dict.fromkeys(each.verdict.value for each in record.attempts if each.verdict is not None))
    if not verdicts and not record.result.error_occurred and record.status is not RecordStatus.UNKNOWN:
        return None
    return Trouble(
        timestamp=record.timestamp,
        invocation_id=record.invocation_id,
        function=record.request.function_name,
        status=record.result.response_status,
        verdicts=verdicts,
    )


def loggable(exclusions: Sequence[Exclusion]) -> tuple[Exclusion, ...]:
    """As many exclusions, and as much of their words, as a record keeps: it stays within 2 KB."""
    return tuple(replace(e, detail=e.detail[:LONGEST_DETAIL]) for e in exclusions[:MOST_EXCLUSIONS])
