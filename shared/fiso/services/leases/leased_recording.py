"""Recording under leases: the record of one call that a client made and reported. Pure, like `recording`.

The same fields in the same sense as a proxied request's; what nobody can know of a leased call stays empty.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from fiso.billing.tariff import Tariff
from fiso.domain.decision import Reason
from fiso.domain.endpoint import Endpoint
from fiso.domain.errors import DeadlinePassed, EveryAttemptFailed, NothingAvailable
from fiso.domain.lease import Lease, LeasedAttempt, LeasedEndpoint, LeasedOutcome
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord, RecordStatus
from fiso.prediction import features
from fiso.services.request import recording

_INDEX = {name: position for position, name in enumerate(features.NAMES)}


def record_of(lease: Lease, outcome: LeasedOutcome, tariff: Tariff) -> InvocationRecord:
    """The record of one call under a lease. Overhead is not known: FISO did nothing for this one call.

    The prediction is logged as such for the call it was made for: the lease's first, of the size decided for. Later
    ones come to an endpoint that is warm by then, of which the prediction says nothing; their features are brought up
    to date by what is known of the call.
    """
    last = outcome.attempts[-1]
    endpoint = _leased(lease, last)
    attempts = tuple(_summary(attempt, lease, tariff) for attempt in outcome.attempts)
    timestamp = attempts[0].started_at
    is_foreseen = outcome.number == 0 and outcome.request_size_bytes == lease.request_size_bytes
    seen = endpoint.features if is_foreseen else _brought_up_to_date(endpoint, outcome, timestamp)
    return InvocationRecord(
        invocation_id=lease.invocation_id(outcome.number),
        timestamp=timestamp,
        cloud_provider=endpoint.provider,
        function_name=lease.function,
        request_size_bytes=outcome.request_size_bytes,
        response_size_bytes=outcome.response_size_bytes,
        execution_time_ms=last.latency_ms,
        cost_usd=recording.total_usd(attempts),
        region=endpoint.region,
        day_of_week=timestamp.isoweekday(),
        hour_of_day=timestamp.hour,
        cpu_utilization=None,
        memory_utilization=None,
        cold_start=last.cold_start if last.status is not None else None,
        error_occurred=last.status is None or last.is_function_error or last.status >= 500,
        user_region=lease.user_region,
        prediction_accuracy=_accuracy(endpoint, last) if is_foreseen else None,
        status=RecordStatus.FINAL,
        tenant=lease.tenant,
        endpoint=endpoint.id,
        reason=_reason(lease, outcome),
        response_status=_response_status(outcome),
        billed_ms=last.billed_ms if last.status is not None else None,
        overhead_ms=None,
        features=dict(zip(features.NAMES, seen, strict=True)),
        raw_latency_ms=endpoint.raw_latency_ms if is_foreseen else None,
        candidates=_candidates(lease, outcome),
        exclusions=lease.exclusions,
        attempts=attempts,
        prediction_source=endpoint.prediction_source,
        policy_version=lease.policy_version,
        snapshot_version=lease.snapshot_version,
        model_version=lease.model_version,
        tariff_version=tariff.version,
        lease_id=lease.id,
    )


def _leased(lease: Lease, attempt: LeasedAttempt) -> LeasedEndpoint:
    found = lease.find(attempt.endpoint)
    if found is None:
        raise ValueError(f"endpoint {attempt.endpoint} is not in lease {lease.id}")
    return found


def _summary(attempt: LeasedAttempt, lease: Lease, tariff: Tariff) -> AttemptSummary:
    is_answered = attempt.status is not None
    billed_ms = attempt.billed_ms if is_answered else None
    priced = _priced(_leased(lease, attempt))
    return AttemptSummary(
        endpoint=attempt.endpoint,
        started_at=_whole_ms(lease.issued_at + timedelta(milliseconds=attempt.after_ms)),
        latency_ms=attempt.latency_ms,
        status=attempt.status,
        failure=attempt.failure,
        cold_start=attempt.cold_start if is_answered else None,
        billed_ms=billed_ms,
        cost_usd=tariff.cost_usd(priced, attempt.latency_ms, billed_ms=billed_ms) if attempt.may_have_run else 0.0,
    )


def _priced(leased: LeasedEndpoint) -> Endpoint:
    """As much of the endpoint as its price depends on; a lease does not carry the address."""
    return Endpoint(
        id=leased.id, provider=leased.provider, region=leased.region, memory_mb=leased.memory_mb, address="leased"
    )


def _brought_up_to_date(endpoint: LeasedEndpoint, outcome: LeasedOutcome, at: datetime) -> tuple[float, ...]:
    """The snapshot with what is known better of this call: its size, its time, and how long the endpoint was idle."""
    last = outcome.attempts[-1]
    idle_s = min(endpoint.features[_INDEX["idle_seconds"]] + last.after_ms / 1000, features.LONGEST_IDLE_S)
    if last.idle_ms is not None:
        idle_s = min(idle_s, last.idle_ms / 1000)
    known: Mapping[str, float] = {
        "request_size_bytes": float(outcome.request_size_bytes),
        "day_of_week": float(at.isoweekday()),
        "hour_of_day": float(at.hour),
        "idle_seconds": idle_s,
    }
    return tuple(known.get(name, value) for name, value in zip(features.NAMES, endpoint.features, strict=True))


def _candidates(lease: Lease, outcome: LeasedOutcome) -> tuple[CandidateSummary, ...]:
    """The ranking with its propensities. A client that passed over the lease's first endpoint did not follow the draw:
    what it called first was then certain."""
    first = outcome.attempts[0].endpoint
    if first == lease.endpoints[0].id:
        return lease.candidates
    return tuple(replace(c, propensity=1.0 if c.endpoint == first else 0.0) for c in lease.candidates)


def _reason(lease: Lease, outcome: LeasedOutcome) -> Reason:
    """Why the endpoint that ended the request was called; passing over one that failed before is a failover."""
    is_as_drawn = len(outcome.attempts) == 1 and outcome.attempts[0].endpoint == lease.endpoints[0].id
    return lease.reason if is_as_drawn else Reason.FAILOVER


def _response_status(outcome: LeasedOutcome) -> int:
    """What a proxied request with these attempts would have answered."""
    last = outcome.attempts[-1]
    if last.status is not None:
        return last.status
    if outcome.deadline_passed:
        return DeadlinePassed.status
    may_have_run = any(attempt.may_have_run for attempt in outcome.attempts)
    return EveryAttemptFailed.status if may_have_run else NothingAvailable.status


def _accuracy(endpoint: LeasedEndpoint, attempt: LeasedAttempt) -> float | None:
    if attempt.status is None:
        return None
    return max(0.0, 1 - abs(endpoint.summary.latency_ms - attempt.latency_ms) / attempt.latency_ms)


def _whole_ms(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond % 1000)
