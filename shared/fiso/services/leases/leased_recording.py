"""Recording under leases: the record of one call that a client made and reported. Pure, like `recording`.

The same fields in the same sense as a proxied request's; what nobody can know of a leased call stays empty.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from fiso.billing.tariff import Tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Reason
from fiso.domain.endpoint import Endpoint
from fiso.domain.errors import DeadlinePassed, EveryAttemptFailed, NothingAvailable
from fiso.domain.lease import Lease, LeasedAttempt, LeasedEndpoint, LeasedOutcome
from fiso.domain.record import CandidateSummary, DecisionSummary, InvocationRecord, RecordStatus, RequestSummary
from fiso.prediction import features
from fiso.services.request import recording
from fiso_client.core.attribution import usual_fault
from fiso_client.core.failures import USUAL_FAULT

_INDEX = {name: position for position, name in enumerate(features.NAMES)}


def record_of(
    lease: Lease, outcome: LeasedOutcome, tariff: Tariff, entry: CatalogEntry | None = None
) -> InvocationRecord:
    """The record of one call under a lease. Overhead is not known: FISO did nothing for this one call. It is priced by
    the function's `entry` as the catalog has it, or by what the lease says where it has none.

    The prediction is logged as such for the call it was made for: the lease's first, of the size decided for. Later
    ones come to an endpoint that is warm by then, of which the prediction says nothing; their features are brought up
    to date by what is known of the call.
    """
    tariff = tariff.under(entry.prices if entry else None)
    calls = [_call(attempt, _leased(lease, attempt), lease.issued_at, entry) for attempt in outcome.attempts]
    last = replace(calls[-1], size_bytes=outcome.response_size_bytes)
    leased = _leased(lease, outcome.attempts[-1])
    attempts, timestamp = recording.summaries(calls, tariff), calls[0].started_at
    is_foreseen = outcome.number == 0 and outcome.request_size_bytes == lease.request_size_bytes
    seen = leased.features if is_foreseen else _brought_up_to_date(leased, outcome, timestamp)
    return InvocationRecord(
        invocation_id=lease.invocation_id(outcome.number),
        timestamp=timestamp,
        status=RecordStatus.FINAL,
        request=RequestSummary(
            function_name=lease.function, tenant=lease.tenant, request_size_bytes=outcome.request_size_bytes
        ),
        decision=DecisionSummary(
            reason=_reason(lease, outcome),
            user_region=lease.user_region,
            lease_id=lease.id,
            features=dict(zip(features.NAMES, seen, strict=True)),
            raw_latency_ms=leased.raw_latency_ms if is_foreseen else None,
            prediction_source=leased.prediction_source,
            candidates=_candidates(lease, outcome),
            exclusions=lease.exclusions,
            policy_version=lease.policy_version,
            snapshot_version=lease.snapshot_version,
            model_version=lease.model_version,
            tariff_version=tariff.version,
        ),
        result=recording.result_of(
            last,
            attempts,
            predicted_ms=leased.summary.latency_ms if is_foreseen else None,
            told=None if last.status is not None else _unanswered_status(outcome),
        ),
        attempts=attempts,
    )


def _leased(lease: Lease, attempt: LeasedAttempt) -> LeasedEndpoint:
    found = lease.find(attempt.endpoint)
    if found is None:
        raise ValueError(f"endpoint {attempt.endpoint} is not in lease {lease.id}")
    return found


def _call(
    attempt: LeasedAttempt, leased: LeasedEndpoint, issued_at: datetime, entry: CatalogEntry | None
) -> recording.Call:
    is_answered = attempt.status is not None
    # One report tells nothing of the siblings: what they show together is for the fold to say.
    verdict = USUAL_FAULT[attempt.failure] if attempt.failure else usual_fault(attempt.status or 200)
    return recording.Call(
        endpoint=_priced(leased, entry),
        started_at=_whole_ms(issued_at + timedelta(milliseconds=attempt.after_ms)),
        latency_ms=attempt.latency_ms,
        priced_ms=attempt.latency_ms,
        may_have_run=attempt.may_have_run,
        status=attempt.status,
        failure=attempt.failure,
        verdict=verdict,
        evidence=(attempt.evidence or attempt.failure.value) if attempt.failure else f"status {attempt.status}",
        shape=attempt.shape if is_answered else None,
        is_function_error=attempt.is_function_error,
        cold_start=attempt.cold_start if is_answered else None,
        billed_ms=min(attempt.billed_ms, attempt.latency_ms) if is_answered and attempt.billed_ms is not None else None,
    )


def _priced(leased: LeasedEndpoint, entry: CatalogEntry | None) -> Endpoint:
    """The catalog's endpoint, unless it has become another one; a lease carries neither address nor plan."""
    for endpoint in entry.endpoints if entry else ():
        known = (endpoint.id, endpoint.provider, endpoint.region, endpoint.memory_mb)
        if known == (leased.id, leased.provider, leased.region, leased.memory_mb):
            return endpoint
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
    # Off-policy estimates divide by the propensity of what was called: claiming the draw's own for a call that did not
    # follow it would bend them (docs/decisions/0006-the-lease.md).
    first = outcome.attempts[0].endpoint
    if first == lease.endpoints[0].id:
        return lease.candidates
    return tuple(replace(c, propensity=1.0 if c.endpoint == first else 0.0) for c in lease.candidates)


def _reason(lease: Lease, outcome: LeasedOutcome) -> Reason:
    """Why the endpoint that ended the request was called; passing over one that failed before is a failover."""
    is_as_drawn = len(outcome.attempts) == 1 and outcome.attempts[0].endpoint == lease.endpoints[0].id
    return lease.reason if is_as_drawn else Reason.FAILOVER


def _unanswered_status(outcome: LeasedOutcome) -> int:
    """What a proxied request would have answered whose attempts all failed like these."""
    if outcome.deadline_passed:
        return DeadlinePassed.status
    may_have_run = any(attempt.may_have_run for attempt in outcome.attempts)
    return EveryAttemptFailed.status if may_have_run else NothingAvailable.status


def _whole_ms(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond % 1000)
