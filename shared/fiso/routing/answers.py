"""Answers: what one answer teaches of its endpoint: the level, starts, how far the model tells requests apart. Pure.

A cold start is counted and measured, and says nothing about the level of warm calls.
"""

from dataclasses import replace
from math import log

from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.state import EndpointState, LoadLevel
from fiso.routing import levels, starts
from fiso.routing.ewma import blend

WEIGHT = 0.1
"""An average remembers about the last 10 calls; the first ten count alike. Chosen by argument, fitted to no data."""
COLD_WEIGHT = 0.05
"""Starts are rarer: the last 20."""
SHAPE_MEMORY = 0.99
"""How much of the shape's evidence one more answer leaves: the last 100."""


def with_answer(state: EndpointState, record: InvocationRecord, attempt: AttemptSummary) -> EndpointState:
    """The state after the answer that ended a request."""
    is_cold = attempt.cold_start is True
    seen, provider = record.decision.features, record.result.cloud_provider
    bucket, idle_s = levels.load_bucket(seen.get("in_flight", 0.0)), seen.get("idle_seconds", 0.0)
    explained = starts.cold_after_idle(provider, idle_s, state) if provider else 0.0
    level = levels.with_answer(state.levels.get(bucket, LoadLevel()), is_cold=is_cold, unexplained=1 - explained)
    counted = replace(
        state,
        cold_starts=state.cold_starts + is_cold,
        cold_known=state.cold_known + (attempt.cold_start is not None),
        idle_calls=_counted(state.idle_calls, levels.idle_bin(idle_s), 1),
        idle_colds=_counted(state.idle_colds, levels.idle_bin(idle_s), int(is_cold)),
        levels={**state.levels, bucket: level},
    )
    if is_cold or attempt.latency_ms <= 0:
        return _with_cold(counted, attempt) if is_cold else counted
    return _with_warm(counted, record, attempt, bucket)


def _with_cold(state: EndpointState, attempt: AttemptSummary) -> EndpointState:
    weight = max(COLD_WEIGHT, 1 / state.cold_starts)
    cost = state.cold_cost_usd if attempt.cost_usd is None else blend(state.cold_cost_usd, attempt.cost_usd, weight)
    return replace(state, cold_latency_ms=blend(state.cold_latency_ms, attempt.latency_ms, weight), cold_cost_usd=cost)


def _with_warm(state: EndpointState, record: InvocationRecord, attempt: AttemptSummary, bucket: int) -> EndpointState:
    latency_ms, weight = attempt.latency_ms, max(WEIGHT, 1 / (state.warm_answers + 1))
    mean_ms = blend(state.latency_ms, latency_ms, weight)
    raw_log = _raw_log(record)
    shaped = state if raw_log is None else _with_shape(state, record, latency_ms, raw_log, bucket)
    level = levels.with_warm(
        shaped.levels[bucket],
        latency_ms=latency_ms,
        cost_usd=attempt.cost_usd,
        raw_log=raw_log,
        at=attempt.started_at,
    )
    return replace(
        shaped,
        warm_answers=state.warm_answers + 1,
        latency_ms=mean_ms,
        latency_deviation_ms=blend(state.latency_deviation_ms, abs(latency_ms - mean_ms), weight),
        levels={**shaped.levels, bucket: level},
    )


def _with_shape(
    state: EndpointState, record: InvocationRecord, latency_ms: float, raw_log: float, bucket: int
) -> EndpointState:
    """The evidence for the model's shape, begun anew with every model: its means are the model's own."""
    if state.shape_model_version != record.decision.model_version:
        cleared = {key: replace(level, raw_log=None) for key, level in state.levels.items()}
        version = record.decision.model_version or ""
        return replace(state, shape_model_version=version, shape_xx=0.0, shape_xy=0.0, levels=cleared)
    level = state.levels[bucket]
    if level.raw_log is None or not level.warm:
        return state
    told, seen = raw_log - level.raw_log, log(latency_ms / level.latency_ms)
    return replace(
        state,
        shape_xx=state.shape_xx * SHAPE_MEMORY + told * told,
        shape_xy=state.shape_xy * SHAPE_MEMORY + told * seen,
    )


def _raw_log(record: InvocationRecord) -> float | None:
    """The logarithm of what the model said before any correction; None where none did, or the answer is an error."""
    if (
        record.result.error_occurred
        or record.decision.prediction_source != "model"
        or not record.decision.raw_latency_ms
    ):
        return None
    return log(record.decision.raw_latency_ms)


def _counted(counts: tuple[int, ...], index: int, more: int) -> tuple[int, ...]:
    full = counts or (0,) * (len(levels.IDLE_BINS) + 1)
    return (*full[:index], full[index] + more, *full[index + 1 :])
