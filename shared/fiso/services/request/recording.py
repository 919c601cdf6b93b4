"""Recording: what is logged of a request, from its decision and outcome. Pure; nothing is invented to fill a field."""

from collections.abc import Mapping

from fiso.billing.tariff import Tariff
from fiso.domain.attempt import Attempt, Outcome
from fiso.domain.decision import Decision, Prediction, RankedCandidate, Reason
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.errors import RoutingError
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord, RecordStatus
from fiso.domain.request import InvocationRequest
from fiso.ports import Metrics
from fiso.prediction import features
from fiso.services.request.decide import DecisionInputs, features_of
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import GIVEN_UP


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
    attempts = _summaries(outcome, inputs)
    last = outcome.attempts[-1] if outcome.attempts else None
    endpoint = inputs.entry.endpoint(last.endpoint) if last else None
    prediction, answer = _prediction_for(last, decision), last.answer if last else None
    return InvocationRecord(
        invocation_id=request.invocation_id,
        timestamp=request.received_at,
        cloud_provider=endpoint.provider if endpoint else None,
        function_name=request.function,
        request_size_bytes=len(request.body),
        response_size_bytes=len(answer.body) if answer else 0,
        execution_time_ms=last.latency_ms if last else None,
        cost_usd=total_usd(attempts),
        region=endpoint.region if endpoint else None,
        day_of_week=request.received_at.isoweekday(),
        hour_of_day=request.received_at.hour,
        cpu_utilization=None,
        memory_utilization=_memory_utilization(answer, endpoint),
        cold_start=answer.cold if answer else None,
        error_occurred=error is not None or _is_error(answer),
        user_region=request.user_region,
        prediction_accuracy=_accuracy(prediction, last),
        status=RecordStatus.FINAL,
        tenant=request.tenant,
        endpoint=endpoint.id if endpoint else None,
        reason=reason_of(decision, outcome),
        response_status=_status(answer, error),
        billed_ms=answer.billed_ms if answer else None,
        overhead_ms=max(0.0, elapsed_ms - outcome.waited_ms),
        features=_features(endpoint, request, inputs, decision),
        raw_latency_ms=prediction.raw_latency_ms if prediction else None,
        candidates=tuple(candidate_summary(candidate) for candidate in decision.ranking) if decision else (),
        exclusions=decision.exclusions if decision else (),
        attempts=attempts,
        prediction_source=prediction.source.value if prediction else None,
        policy_version=inputs.entry.policy.version,
        snapshot_version=inputs.snapshot_version,
        model_version=decision.model_version if decision else None,
        tariff_version=inputs.tariff.version,
    )


def _summaries(outcome: Outcome, inputs: DecisionInputs) -> tuple[AttemptSummary, ...]:
    return tuple(
        _summary(attempt, inputs.entry.endpoint(attempt.endpoint), inputs.tariff) for attempt in outcome.attempts
    )


def _is_error(answer: FunctionAnswer | None) -> bool:
    return answer is None or answer.is_function_error or answer.status >= 500


def _status(answer: FunctionAnswer | None, error: RoutingError | None) -> int:
    if error is not None:
        return error.status
    return answer.status if answer is not None else 500


def reason_of(decision: Decision | None, outcome: Outcome) -> Reason | None:
    """Why the endpoint that ended the request was called."""
    if decision is None:
        return None
    *before, last = outcome.attempts or (None,)
    if last is not None and last.answer is not None and last.is_hedge:
        return Reason.HEDGE
    has_failed_over = any(attempt is not None and attempt.failure not in GIVEN_UP for attempt in before)
    return Reason.FAILOVER if has_failed_over else decision.reason


def count(metrics: Metrics, record: InvocationRecord) -> None:
    """The metrics that dashboards and alarms read, per provider."""
    provider = record.cloud_provider.value if record.cloud_provider else "none"
    metrics.add("Invocations", 1, "Count", provider=provider)
    if record.execution_time_ms is not None:
        metrics.add("InvocationLatencyMs", record.execution_time_ms, "Milliseconds", provider=provider)
    if record.overhead_ms is not None:
        metrics.add("OverheadMs", record.overhead_ms, "Milliseconds", provider=provider)
    if record.cost_usd is not None:
        metrics.add("CostUsd", record.cost_usd, "None", provider=provider)
    if record.prediction_accuracy is not None:
        metrics.add("PredictionAccuracy", record.prediction_accuracy, "None", provider=provider)
    if record.error_occurred:
        metrics.add("Errors", 1, "Count", provider=provider)
    if record.reason is Reason.FAILOVER:
        metrics.add("Failovers", 1, "Count", provider=provider)
    if any(attempt.failure in GIVEN_UP for attempt in record.attempts):
        metrics.add("Hedges", 1, "Count", provider=provider)
    if record.prediction_source == "baseline":
        metrics.add("BaselinePredictions", 1, "Count", provider=provider)
    if any(candidate.cost_usd is None for candidate in record.candidates):
        metrics.add("UnpricedEndpoints", 1, "Count", provider=provider)


def _summary(attempt: Attempt, endpoint: Endpoint, tariff: Tariff) -> AttemptSummary:
    answer = attempt.answer
    billed_ms = answer.billed_ms if answer else None
    ran = attempt.may_have_run
    took_ms = attempt.latency_ms
    if attempt.failure in GIVEN_UP:  # it runs on: the cost of what was expected of it
        took_ms = max(took_ms, attempt.expected_ms or 0.0)
    return AttemptSummary(
        endpoint=attempt.endpoint,
        started_at=attempt.started_at,
        latency_ms=attempt.latency_ms,
        status=answer.status if answer else None,
        failure=attempt.failure,
        cold_start=answer.cold if answer else None,
        billed_ms=billed_ms,
        cost_usd=tariff.cost_usd(endpoint, took_ms, billed_ms=billed_ms) if ran else 0.0,
    )


def total_usd(attempts: tuple[AttemptSummary, ...]) -> float | None:
    """The sum of the attempts' costs; None when one of them has no price."""
    costs = [attempt.cost_usd for attempt in attempts]
    return sum(cost for cost in costs if cost is not None) if None not in costs else None


def _prediction_for(attempt: Attempt | None, decision: Decision | None) -> Prediction | None:
    """The prediction that was made for the endpoint that ended the request."""
    if decision is None:
        return None
    wanted: EndpointId = attempt.endpoint if attempt else decision.chosen.endpoint.id
    return next(c.prediction for c in decision.ranking if c.endpoint.id == wanted)


def _features(
    endpoint: Endpoint | None, request: InvocationRequest, inputs: DecisionInputs, decision: Decision | None
) -> Mapping[str, float]:
    """This request's own snapshot: a prediction may be shared by all requests of a context."""
    if decision is None:
        return {}
    seen_for = endpoint or decision.chosen.endpoint
    return dict(zip(features.NAMES, features_of(seen_for, request, inputs, decision.decided_at), strict=True))


def _accuracy(prediction: Prediction | None, attempt: Attempt | None) -> float | None:
    """1 - |error| / actual, floored at 0; only where the function answered."""
    if prediction is None or attempt is None or attempt.answer is None or attempt.latency_ms <= 0:
        return None
    return max(0.0, 1 - abs(prediction.latency_ms - attempt.latency_ms) / attempt.latency_ms)


def _memory_utilization(answer: FunctionAnswer | None, endpoint: Endpoint | None) -> float | None:
    if answer is None or endpoint is None or answer.memory_used_mb is None:
        return None
    return answer.memory_used_mb / endpoint.memory_mb


def candidate_summary(candidate: RankedCandidate) -> CandidateSummary:
    """A candidate as it is logged."""
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
