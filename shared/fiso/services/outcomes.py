"""Outcomes: what clients report of calls under leases, as records like those of proxied requests, written once each.

A call's id follows from its lease and number, and its record from the report alone, so a report that comes twice
changes nothing. What cannot be true is refused, item by item; the rest is kept. Breakers are not touched: they belong
to an execution environment's own calls, and the folded states carry the news.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fiso.billing.tariff import Tariff
from fiso.domain.decision import Reason
from fiso.domain.endpoint import Endpoint
from fiso.domain.errors import EveryAttemptFailed, LeaseRefused, NothingAvailable, WriteConflict
from fiso.domain.lease import LARGEST_NUMBER, Lease, LeasedAttempt, LeasedEndpoint, LeasedOutcome
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord, RecordStatus
from fiso.domain.request import TenantId
from fiso.ports import Clock, InvocationLog, Metrics
from fiso.prediction import features
from fiso.services import recording
from fiso.services.lease import Keys

LONGEST_MS = 900_000.0
"""No function runs longer than 15 minutes."""
LARGEST_BYTES = 100 * 1024 * 1024
"""More than any of the three clouds takes or returns."""
TOLERANCE_MS = 2_000.0
"""How far two clocks of FISO's own environments may be apart: an attempt may seem to end this much in the future."""
_DEADLINE_PASSED = 504
_INDEX = {name: position for position, name in enumerate(features.NAMES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One item of a report: a token, and the outcome under it, or why there is none to speak of."""

    token: str
    number: int | None
    outcome: LeasedOutcome | LeaseRefused


class Fate(StrEnum):
    """What became of one item."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One item's fate, in the order of the report. `problem` says why it was rejected."""

    fate: Fate
    problem: LeaseRefused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Takes reports. `executor` writes several records at once."""

    keys: Keys
    log: InvocationLog
    metrics: Metrics
    tariff: Tariff
    clock: Clock
    executor: Executor

    def accept(self, items: Sequence[Reported], tenant: TenantId) -> list[Verdict]:
        """Each item's verdict. `StoreUnavailable` when the log is away: the whole report may then be sent again."""
        now = self.clock()
        leases = {token: self._lease(token, tenant, now) for token in dict.fromkeys(item.token for item in items)}
        records = [_record(item, leases[item.token], self.tariff, now) for item in items]
        return list(self.executor.map(self._write, records))

    def _lease(self, token: str, tenant: TenantId, now: datetime) -> Lease | LeaseRefused:
        try:
            lease = self.keys.open(token)
            _check_lease(lease, tenant, now)
        except LeaseRefused as refused:
            return refused
        return lease

    def _write(self, record: InvocationRecord | LeaseRefused) -> Verdict:
        if isinstance(record, LeaseRefused):
            return Verdict(fate=Fate.REJECTED, problem=record)
        try:
            is_new = self.log.close(record)
        except WriteConflict:
            detail = "this number was reported before, with another outcome"
            return Verdict(fate=Fate.REJECTED, problem=LeaseRefused("conflict", detail))
        if not is_new:
            return Verdict(fate=Fate.REPEATED)
        recording.count(self.metrics, record)
        return Verdict(fate=Fate.ACCEPTED)


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


def _record(
    item: Reported, lease: Lease | LeaseRefused, tariff: Tariff, now: datetime
) -> InvocationRecord | LeaseRefused:
    if isinstance(lease, LeaseRefused):
        return lease
    if isinstance(item.outcome, LeaseRefused):
        return item.outcome
    problem = next(_problems(lease, item.outcome, now), None)
    return LeaseRefused("impossible", problem) if problem else record_of(lease, item.outcome, tariff)


def _check_lease(lease: Lease, tenant: TenantId, now: datetime) -> None:
    if lease.tenant != tenant:
        raise LeaseRefused("foreign", "the lease was given to another caller")
    if now > lease.reported_until:
        raise LeaseRefused("too_late", "its outcomes were accepted until an hour after it expired")
    if any(len(endpoint.features) != len(features.NAMES) for endpoint in lease.endpoints):
        raise LeaseRefused("unreadable", "the token is of another version of FISO")


def _problems(lease: Lease, outcome: LeasedOutcome, now: datetime) -> Iterator[str]:
    """What cannot be true of an outcome, in words."""
    if not 0 <= outcome.number <= LARGEST_NUMBER:
        yield f"number must be from 0 to {LARGEST_NUMBER}"
    if not (0 <= outcome.request_size_bytes <= LARGEST_BYTES and 0 <= outcome.response_size_bytes <= LARGEST_BYTES):
        yield f"sizes must be from 0 to {LARGEST_BYTES} bytes"
    called = [attempt.endpoint for attempt in outcome.attempts]
    if not called or len(set(called)) != len(called):
        yield "there must be attempts, at most one an endpoint"
    if not all(lease.find(endpoint) for endpoint in called):
        yield "an endpoint was called that the lease does not name"
    if any(attempt.failure is None for attempt in outcome.attempts[:-1]):
        yield "only the last attempt can have been answered"
    if outcome.deadline_passed and outcome.attempts and outcome.attempts[-1].status is not None:
        yield "an outcome that was answered did not miss its deadline"
    known_ms = (now - lease.issued_at) / timedelta(milliseconds=1) + TOLERANCE_MS
    for attempt in outcome.attempts:
        yield from _attempt_problems(attempt, known_ms)


def _attempt_problems(attempt: LeasedAttempt, known_ms: float) -> Iterator[str]:
    """Comparisons are written so that NaN fails each of them."""
    if not 0 <= attempt.after_ms <= known_ms:
        yield "an attempt began before the lease was issued, or in the future"
    if not 0 < attempt.latency_ms <= LONGEST_MS:
        yield f"a latency must be above 0 and at most {LONGEST_MS:g} ms"
    if not attempt.after_ms + attempt.latency_ms <= known_ms:
        yield "an attempt ends in the future"
    if attempt.status is not None and not 100 <= attempt.status <= 599:
        yield "a status must be from 100 to 599"
    if attempt.billed_ms is not None and not 0 <= attempt.billed_ms <= LONGEST_MS:
        yield f"billed_ms must be from 0 to {LONGEST_MS:g}"
    if attempt.idle_ms is not None and not 0 <= attempt.idle_ms < float("inf"):
        yield "idle_ms must not be negative"


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
        return _DEADLINE_PASSED
    may_have_run = any(attempt.may_have_run for attempt in outcome.attempts)
    return EveryAttemptFailed.status if may_have_run else NothingAvailable.status


def _accuracy(endpoint: LeasedEndpoint, attempt: LeasedAttempt) -> float | None:
    if attempt.status is None:
        return None
    return max(0.0, 1 - abs(endpoint.summary.latency_ms - attempt.latency_ms) / attempt.latency_ms)


def _whole_ms(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond % 1000)
