"""Folding: what one finished record changes in the states of the endpoints it called. Pure, so `replay(log) == state`.

The weight of one observation is WEIGHT: an average remembers about the last 10 calls, which follows a cloud's mood
within seconds under load and does not jump at one slow answer; the first ten count alike. Chosen by argument, fitted to
no data. A cold start is counted, and says nothing about the level of warm calls.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from math import exp, log

from fiso.domain.endpoint import EndpointId
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.state import EndpointState
from fiso.routing.ewma import blend

WEIGHT = 0.1
LONGEST_INTERVAL_MS = 600_000.0
NOT_CALLED = EndpointId("-")
"""Stands for "no endpoint was called", so that such records are counted as folded too."""

States = Mapping[EndpointId, EndpointState]


def touched(record: InvocationRecord) -> frozenset[EndpointId]:
    """The endpoints whose states a record changes."""
    return frozenset([*(attempt.endpoint for attempt in record.attempts), record.endpoint or NOT_CALLED])


def fold(states: States, record: InvocationRecord) -> dict[EndpointId, EndpointState]:
    """The states after one more record; those it does not touch stay as they are. `version` is left to the store."""
    after = dict(states)
    for endpoint in touched(record):
        after.setdefault(endpoint, EndpointState(function=record.function_name, endpoint=endpoint))
    for position, attempt in enumerate(record.attempts):
        is_last = position == len(record.attempts) - 1
        after[attempt.endpoint] = _with_attempt(after[attempt.endpoint], attempt, failed_over=not is_last)
    owner = record.endpoint or NOT_CALLED
    after[owner] = _with_residual(replace(after[owner], folded=after[owner].folded + 1), record)
    return after


def _with_attempt(state: EndpointState, attempt: AttemptSummary, *, failed_over: bool) -> EndpointState:
    called = _called(state, attempt.started_at, attempt.cost_usd)
    if attempt.failure is not None:
        return replace(
            called,
            failures=state.failures + 1,
            failovers_from=state.failovers_from + failed_over,
            consecutive_failures=state.consecutive_failures + 1,
            error_rate=blend(state.error_rate if state.attempts else None, 1.0, WEIGHT),
            last_failed_at=_later(state.last_failed_at, attempt.started_at),
            last_failure=attempt.failure.value,
        )
    answered = replace(
        called,
        consecutive_failures=0,
        error_rate=blend(state.error_rate if state.attempts else None, 0.0, WEIGHT),
        cold_starts=state.cold_starts + (attempt.cold_start is True),
        cold_known=state.cold_known + (attempt.cold_start is not None),
    )
    return answered if attempt.cold_start else _with_latency(answered, attempt)


def _with_latency(state: EndpointState, attempt: AttemptSummary) -> EndpointState:
    latency_ms, weight = attempt.latency_ms, max(WEIGHT, 1 / (state.warm_answers + 1))
    level = blend(state.latency_ms, latency_ms, weight)
    return replace(
        state,
        warm_answers=state.warm_answers + 1,
        billed_share=_billed_share(state, attempt),
        latency_ms=level,
        latency_deviation_ms=blend(state.latency_deviation_ms, abs(latency_ms - level), weight),
    )


def _billed_share(state: EndpointState, attempt: AttemptSummary) -> float | None:
    if attempt.billed_ms is None or attempt.latency_ms <= 0:
        return state.billed_share
    return blend(state.billed_share, min(1.0, attempt.billed_ms / attempt.latency_ms), WEIGHT)


def _called(state: EndpointState, at: datetime, cost_usd: float | None) -> EndpointState:
    interval = state.arrival_interval_ms
    if state.last_called_at is not None:
        since_ms = max(0.0, (at - state.last_called_at).total_seconds() * 1000)
        interval = blend(interval, min(since_ms, LONGEST_INTERVAL_MS), WEIGHT)
    return replace(
        state,
        attempts=state.attempts + 1,
        arrival_interval_ms=interval,
        last_called_at=_later(state.last_called_at, at),
        cost_usd=state.cost_usd + (cost_usd or 0.0),
    )


def _with_residual(state: EndpointState, record: InvocationRecord) -> EndpointState:
    """The weighted geometric mean of actual over predicted, started afresh when the model changes."""
    if record.error_occurred or record.cold_start or not record.model_version:
        return state
    if not record.raw_latency_ms or not record.execution_time_ms:
        return state
    ratio = record.execution_time_ms / record.raw_latency_ms
    if state.residual_model_version != record.model_version:
        return replace(state, residual_ratio=ratio, residual_count=1, residual_model_version=record.model_version)
    weight = max(WEIGHT, 1 / (state.residual_count + 1))
    blended = exp(blend(log(state.residual_ratio), log(ratio), weight))
    return replace(state, residual_ratio=blended, residual_count=state.residual_count + 1)


def _later(known: datetime | None, at: datetime) -> datetime:
    return at if known is None or at > known else known
