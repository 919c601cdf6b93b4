"""Recording: what is logged of a request, from its decision and outcome. Pure; nothing is invented to fill a field."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from fiso.billing.tariff import Tariff
from fiso.domain.attempt import Attempt, Outcome
from fiso.domain.decision import Decision, Prediction, Purpose, RankedCandidate, Reason
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.errors import RoutingError
from fiso.domain.policy import Objectives
from fiso.domain.record import (
    LONGEST_DETAIL,
    LONGEST_EVIDENCE,
    AttemptSummary,
    CandidateSummary,
    DecisionSummary,
    InvocationRecord,
    RecordStatus,
    RequestSummary,
    ResultSummary,
    loggable,
)
from fiso.domain.request import UNSTEERED, InvocationRequest
from fiso.domain.steering import CanaryDraw
from fiso.ports import Metrics
from fiso.prediction import facts, features
from fiso.routing import skill
from fiso.services.request.decide import DecisionInputs, features_of
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import GIVEN_UP, Failure, Fault

ROUND_TRIPS = 3
"""Of a request on a new connection: TCP's, TLS 1.3's and its own."""
LONGEST_WAY_MS = 330.0
"""Where the places are not known: the longest round trip between any two (`prediction.facts`)."""
FRONT_DOOR_MS = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, whoever made it: FISO for a caller, or a client under a lease. `status` is None without an answer;
    what only an answer can tell is then None as well. `priced_ms` is the time it is billed by where nobody said."""

    endpoint: Endpoint
    started_at: datetime
    latency_ms: float
    priced_ms: float
    may_have_run: bool
    status: int | None = None
    failure: Failure | None = None
    verdict: Fault | None = None
    evidence: str = ""
    shape: str | None = None
    is_function_error: bool = False
    size_bytes: int = 0
    cold_start: bool | None = None
    billed_ms: float | None = None
    memory_used_mb: float | None = None


def record_of(
    request: InvocationRequest,
    inputs: DecisionInputs,
    decision: Decision | None,
    outcome: Outcome,
    *,
    error: RoutingError | None,
    elapsed_ms: float,
) -> InvocationRecord:
    """The final record. `elapsed_ms` is the orchestrator's own time so far, the attempts included."""
    calls = [_call(attempt, inputs.entry.endpoint(attempt.endpoint), inputs) for attempt in outcome.attempts]
    last = calls[-1] if calls else None
    prediction = _prediction_for(last, decision)
    attempts = summaries(calls, inputs.tariff)
    promised = inputs.entry.policy.objectives
    return InvocationRecord(
        invocation_id=request.invocation_id,
        timestamp=request.received_at,
        status=RecordStatus.FINAL,
        request=request_summary(request),
        decision=_decision_summary(request, inputs, decision, outcome, prediction),
        # what the caller was told stands in the log as well, also where a function's answer could not be given back
        result=result_of(
            last,
            attempts,
            predicted_ms=prediction.latency_ms if prediction else None,
            told=error.status if error is not None else None,
            overhead_ms=max(0.0, elapsed_ms - outcome.waited_ms),
            is_slow=promised is not None and promised.is_slow(elapsed_ms),
        ),
        attempts=attempts,
    )


def request_summary(request: InvocationRequest) -> RequestSummary:
    return RequestSummary(
        function_name=request.function,
        tenant=request.tenant,
        request_size_bytes=len(request.body),
        is_unkeyed=request.is_unkeyed or None,
        traced=request.traced,
        claimed_ms=request.claimed_ms if request.traced is not None else None,
    )


def result_of(
    last: Call | None,
    attempts: tuple[AttemptSummary, ...],
    *,
    predicted_ms: float | None,
    told: int | None = None,
    overhead_ms: float | None = None,
    is_slow: bool = False,
) -> ResultSummary:
    """How a request went that ended with this call. `predicted_ms` is what was foretold of it, if anything was; `told`
    the status of the error that the caller got, None where it got the function's own answer."""
    if last is None:
        return ResultSummary(response_status=told or 500, error_occurred=True, cost_usd=0.0, overhead_ms=overhead_ms)
    is_answered = last.status is not None
    return ResultSummary(
        response_status=told or last.status or 500,
        error_occurred=told is not None or _is_error(last),
        overhead_ms=overhead_ms,
        is_slow=is_slow or None,
        response_size_bytes=last.size_bytes,
        endpoint=last.endpoint.id,
        cloud_provider=last.endpoint.provider,
        region=last.endpoint.region,
        execution_time_ms=last.latency_ms,
        billed_ms=last.billed_ms,
        cost_usd=total_usd(attempts),
        cold_start=last.cold_start,
        memory_utilization=last.memory_used_mb / last.endpoint.memory_mb if last.memory_used_mb is not None else None,
        prediction_accuracy=_accuracy(predicted_ms, last.latency_ms) if is_answered else None,
    )


def _is_error(call: Call) -> bool:
    return call.status is None or call.status >= 500 or call.is_function_error or call.verdict is Fault.COPY


def summaries(calls: Sequence[Call], tariff: Tariff) -> tuple[AttemptSummary, ...]:
    return tuple(
        AttemptSummary(
            endpoint=call.endpoint.id,
            started_at=call.started_at,
            latency_ms=call.latency_ms,
            status=call.status,
            failure=call.failure,
            verdict=call.verdict,
            evidence=call.evidence[:LONGEST_EVIDENCE] or None if call.verdict else None,
            shape=call.shape,
            cold_start=call.cold_start,
            billed_ms=call.billed_ms,
            cost_usd=tariff.cost_usd(
                call.endpoint, call.priced_ms, billed_ms=call.billed_ms, is_cold=call.cold_start is True
            )
            if call.may_have_run
            else 0.0,
            plan=call.endpoint.priced_as,
        )
        for call in calls
    )


def reason_of(decision: Decision | None, outcome: Outcome) -> Reason | None:
    """Why the endpoint that ended the request was called."""
    if decision is None:
        return None
    *before, last = outcome.attempts or (None,)
    if last is not None and last.answer is not None and last.is_hedge:
        return Reason.HEDGE
    # What the decision chose answers for it, although siblings were asked beside or after it.
    chosen = decision.chosen.endpoint.id
    if last is not None and last.endpoint == chosen and all(a is None or a.endpoint != chosen for a in before):
        return decision.reason
    has_failed_over = any(attempt is not None and attempt.failure not in GIVEN_UP for attempt in before)
    return Reason.FAILOVER if has_failed_over else decision.reason


def count(metrics: Metrics, record: InvocationRecord, provider_of: Callable[[EndpointId], Provider]) -> None:
    """The metrics that dashboards and alarms read, per provider: the one that ended the request, and of faults the one
    that had them."""
    provider = record.result.cloud_provider.value if record.result.cloud_provider else "none"
    metrics.add("Invocations", 1, "Count", provider=provider)
    if record.result.execution_time_ms is not None:
        metrics.add("InvocationLatencyMs", record.result.execution_time_ms, "Milliseconds", provider=provider)
    if record.result.overhead_ms is not None:
        metrics.add("OverheadMs", record.result.overhead_ms, "Milliseconds", provider=provider)
    if record.result.cost_usd is not None:
        metrics.add("CostUsd", record.result.cost_usd, "None", provider=provider)
    if record.result.prediction_accuracy is not None:
        metrics.add("PredictionAccuracy", record.result.prediction_accuracy, "None", provider=provider)
    if (said := skill.foretold(record)) is not None:
        metrics.add("PredictionSkill", said.skill, "None", provider=provider)
    # 0 as well: the mean is the share, which an alarm reads
    metrics.add("Errors", int(record.result.error_occurred), "Count", provider=provider)
    if record.decision.reason is Reason.FAILOVER:
        metrics.add("Failovers", 1, "Count", provider=provider)
    _count_faults(metrics, record, provider_of)
    if any(attempt.failure in GIVEN_UP for attempt in record.attempts):
        metrics.add("Hedges", 1, "Count", provider=provider)
    if record.decision.prediction_source == "baseline":
        metrics.add("BaselinePredictions", 1, "Count", provider=provider)
    if any(candidate.cost_usd is None for candidate in record.decision.candidates):
        metrics.add("UnpricedEndpoints", 1, "Count", provider=provider)


def count_objectives(metrics: Metrics, record: InvocationRecord, promised: Objectives | None) -> None:
    """How much of what is promised a request used up. A caller's fault uses up nothing."""
    if promised is not None:
        is_error = record.result.error_occurred and record.result.response_status >= 500
        burn = promised.burn(is_error=is_error, is_slow=record.result.is_slow is True)
        metrics.add("ObjectiveBurn", burn, "None", function=record.request.function_name)


def _count_faults(metrics: Metrics, record: InvocationRecord, provider_of: Callable[[EndpointId], Provider]) -> None:
    for attempt in record.attempts:
        if attempt.verdict is not None and attempt.failure not in GIVEN_UP:
            provider = provider_of(attempt.endpoint)
            metrics.add("Faults", 1, "Count", provider=provider.value, verdict=attempt.verdict.value)
            if attempt.verdict in (Fault.COPY, Fault.PROVIDER):  # what somebody has to see to: an alarm reads it
                metrics.add("CopyFaults", 1, "Count", provider=provider.value)


def _call(attempt: Attempt, endpoint: Endpoint, inputs: DecisionInputs) -> Call:
    answer, priced_ms = attempt.answer, attempt.latency_ms
    if attempt.failure in GIVEN_UP:  # it runs on: the cost of what was expected of it
        priced_ms = max(priced_ms, attempt.expected_ms or 0.0)
    if answer is None:
        return Call(
            endpoint=endpoint,
            started_at=attempt.started_at,
            latency_ms=attempt.latency_ms,
            priced_ms=priced_ms,
            may_have_run=attempt.may_have_run,
            failure=attempt.failure,
            verdict=attempt.verdict,
            evidence=attempt.detail,
        )
    return Call(
        endpoint=endpoint,
        started_at=attempt.started_at,
        latency_ms=attempt.latency_ms,
        priced_ms=priced_ms,
        may_have_run=True,
        verdict=attempt.verdict,
        evidence=attempt.detail,
        status=answer.status,
        shape=answer.shape,
        is_function_error=answer.is_function_error,
        size_bytes=len(answer.body),
        cold_start=answer.cold,
        billed_ms=believed_ms(answer, attempt.latency_ms, endpoint, inputs) if answer.is_own_word else answer.billed_ms,
        memory_used_mb=answer.memory_used_mb,
    )


def believed_ms(answer: FunctionAnswer, latency_ms: float, endpoint: Endpoint, inputs: DecisionInputs) -> float:
    """What of a function's own word on its run is billed: at most all that FISO saw it take, and at least that without
    what the way and the front door may take. What a start takes is not seen apart, so one that the function tells of
    excuses what is over its warm answers' mean. The tariff then rounds by its plan's rules (docs/prices.md)."""
    state = inputs.states.get(endpoint.id)
    warm_ms = state.latency_ms if answer.cold and state is not None else None
    ran_ms = latency_ms if warm_ms is None else min(latency_ms, warm_ms)
    way_ms = facts.round_trip_ms(inputs.router_region, endpoint.region) or LONGEST_WAY_MS
    return min(latency_ms, max(answer.billed_ms or 0.0, ran_ms - ROUND_TRIPS * way_ms - FRONT_DOOR_MS))


def total_usd(attempts: tuple[AttemptSummary, ...]) -> float | None:
    costs = [attempt.cost_usd for attempt in attempts]
    return sum(cost for cost in costs if cost is not None) if None not in costs else None


def _decision_summary(
    request: InvocationRequest,
    inputs: DecisionInputs,
    decision: Decision | None,
    outcome: Outcome,
    prediction: Prediction | None,
) -> DecisionSummary:
    if decision is None or prediction is None:
        return DecisionSummary(
            reason=reason_of(decision, outcome),
            user_region=request.user_region,
            **_steered(request, decision),
            arm=inputs.arm,
            policy_version=inputs.entry.policy.version,
            snapshot_version=inputs.snapshot_version,
            tariff_version=inputs.tariff.version,
        )
    # this request's own snapshot: a prediction may be shared by all requests of a context
    seen = features_of(inputs.entry.endpoint(prediction.endpoint), request, inputs, decision.decided_at)
    return DecisionSummary(
        reason=reason_of(decision, outcome),
        user_region=request.user_region,
        **_steered(request, decision),
        arm=inputs.arm,
        features=dict(zip(features.NAMES, seen, strict=True)),
        raw_latency_ms=prediction.raw_latency_ms,
        prediction_source=prediction.source.value,
        candidates=tuple(candidate_summary(candidate) for candidate in decision.ranking),
        exclusions=loggable(decision.exclusions),
        policy_version=inputs.entry.policy.version,
        snapshot_version=inputs.snapshot_version,
        model_version=decision.model_version,
        tariff_version=inputs.tariff.version,
    )


class _Steered(TypedDict):
    tried_for: Purpose | None
    wish: str | None
    is_sticky: bool | None
    canary: CanaryDraw | None


def _steered(request: InvocationRequest, decision: Decision | None) -> _Steered:
    wish = None if request.steering is UNSTEERED else str(request.steering)[:LONGEST_DETAIL]
    if decision is None:
        return {"wish": wish, "is_sticky": None, "canary": None, "tried_for": None}
    tried_for = decision.chosen.tried_for if decision.reason is Reason.EXPLORE else None
    return {
        "wish": wish,
        "is_sticky": decision.is_sticky or None,
        "canary": decision.canary,
        "tried_for": tried_for,
    }


def _prediction_for(call: Call | None, decision: Decision | None) -> Prediction | None:
    """The prediction that was made for the endpoint that ended the request."""
    if decision is None:
        return None
    wanted = call.endpoint.id if call else decision.chosen.endpoint.id
    return next(c.prediction for c in decision.ranking if c.endpoint.id == wanted)


def _accuracy(predicted_ms: float | None, latency_ms: float) -> float | None:
    """1 - |error| / actual, floored at 0."""
    if predicted_ms is None or latency_ms <= 0:
        return None
    return max(0.0, 1 - abs(predicted_ms - latency_ms) / latency_ms)


def candidate_summary(candidate: RankedCandidate) -> CandidateSummary:
    prediction = candidate.prediction
    return CandidateSummary(
        endpoint=candidate.endpoint.id,
        latency_ms=prediction.latency_ms,
        cost_usd=prediction.cost_usd,
        success_probability=prediction.success_probability,
        score=candidate.score.value,
        propensity=candidate.propensity,
        compared_ms=prediction.compared_ms,
        p95_ms=prediction.p95_ms,
    )
