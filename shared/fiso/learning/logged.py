"""Logged decisions: what off-policy evaluation reads of an invocation record, once per kind of loss. Pure.

The loss is the first attempt's, since propensities are of first attempts. An answer is charged what it took. A first
attempt that failed is charged all that followed from it, failover included, and no less than the worst of what the
candidates were predicted to take, so that failing fast or free is never a gain (as replays charge it).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import inf, isfinite

from fiso.domain.record import CandidateSummary, InvocationRecord, RecordStatus
from fiso.learning.ope import ROUNDING, LoggedCandidate, LoggedDecision


class Loss(StrEnum):
    """What a first call loses: milliseconds, US dollars, or 1 when it failed."""

    LATENCY = "latency"
    COST = "cost"
    FAILURE = "failure"


def is_usable(record: InvocationRecord) -> bool:
    """Whether a record says what was called first, out of what, and with which propensity."""
    if record.status is not RecordStatus.FINAL or not record.attempts:
        return False
    if record.decision.is_sticky:  # one draw for a whole session, of which the record does not say which
        return False
    if not all(_is_sound(candidate) for candidate in record.decision.candidates):
        return False
    first = record.attempts[0].endpoint
    is_whole = abs(sum(c.propensity for c in record.decision.candidates) - 1) <= ROUNDING
    return is_whole and any(c.endpoint == first and c.propensity > 0 for c in record.decision.candidates)


def decision_of(record: InvocationRecord, loss: Loss) -> LoggedDecision | None:
    """A usable record's decision with one loss; None where the loss is not known: an endpoint without a price."""
    charged = _CHARGES[loss](record)
    predicted = [_PREDICTIONS[loss](candidate) for candidate in record.decision.candidates]
    if charged is None or not isfinite(charged) or None in predicted:
        return None
    return LoggedDecision(
        candidates=tuple(
            LoggedCandidate(endpoint=c.endpoint, propensity=c.propensity, predicted_loss=value)
            for c, value in zip(record.decision.candidates, predicted, strict=True)
            if value is not None
        ),
        called=record.attempts[0].endpoint,
        loss=charged,
        cluster=record.decision.lease_id,
    )


def first_failed(record: InvocationRecord) -> bool:
    """Whether the first attempt gave no good answer. What a function itself reports counts as the record has it."""
    first = record.attempts[0]
    if first.failure is not None:
        return True
    return record.result.error_occurred if len(record.attempts) == 1 else (first.status or 0) >= 500


def _is_sound(candidate: CandidateSummary) -> bool:
    return (
        0 < candidate.latency_ms < inf
        and 0 <= candidate.success_probability <= 1
        and 0 <= candidate.propensity <= 1
        and (candidate.cost_usd is None or 0 <= candidate.cost_usd < inf)
    )


def _latency(record: InvocationRecord) -> float | None:
    if not first_failed(record):
        return record.attempts[0].latency_ms
    # Failing fast must not pay: a failure costs the whole way to the answer, and no less than the slowest candidate
    # (docs/decisions/0007-off-policy-evaluation.md).
    worst = max(candidate.latency_ms for candidate in record.decision.candidates)
    return max(worst, sum(attempt.latency_ms for attempt in record.attempts))


def _cost(record: InvocationRecord) -> float | None:
    if not first_failed(record):
        return record.attempts[0].cost_usd
    known = [candidate.cost_usd for candidate in record.decision.candidates if candidate.cost_usd is not None]
    return None if record.result.cost_usd is None else max(record.result.cost_usd, *known, 0.0)


def _failure(record: InvocationRecord) -> float | None:
    return float(first_failed(record))


_CHARGES: Mapping[Loss, Callable[[InvocationRecord], float | None]] = {
    Loss.LATENCY: _latency,
    Loss.COST: _cost,
    Loss.FAILURE: _failure,
}
_PREDICTIONS: Mapping[Loss, Callable[[CandidateSummary], float | None]] = {
    Loss.LATENCY: lambda candidate: candidate.latency_ms,
    Loss.COST: lambda candidate: candidate.cost_usd,
    Loss.FAILURE: lambda candidate: 1 - candidate.success_probability,
}
