"""Totals: what only grows of the records that an endpoint ended. Pure; nothing is decided by it."""

from bisect import bisect_left
from dataclasses import replace

from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.state import LATENCY_BOUNDS_MS, EndpointState, Totals
from fiso.routing.skill import foretold


def with_record(state: EndpointState, record: InvocationRecord) -> EndpointState:
    """The state of the endpoint that ended a record, which counts it."""
    is_seen = record.decision.lease_id is None
    return replace(state, folded=state.folded + 1, totals=_after(state.totals, record) if is_seen else state.totals)


def with_verdict(state: EndpointState, attempt: AttemptSummary) -> EndpointState:
    """The state of the endpoint that was called, with whose fault it was that this was no good answer."""
    if attempt.verdict is None:
        return state
    known = state.verdicts or {}
    return replace(state, verdicts={**known, attempt.verdict.value: known.get(attempt.verdict.value, 0) + 1})


def _after(known: Totals, record: InvocationRecord) -> Totals:
    result, said = record.result, foretold(record)
    counted = replace(
        known,
        requests=known.requests + 1,
        errors=known.errors + result.error_occurred,
        slow=known.slow + (result.is_slow is True),
    )
    if result.execution_time_ms is not None:
        counted = replace(
            counted,
            latencies=_counted(known.latencies, result.execution_time_ms),
            latency_us=known.latency_us + _us(result.execution_time_ms),
        )
    if result.overhead_ms is not None:
        counted = replace(
            counted, overheads=known.overheads + 1, overhead_us=known.overhead_us + _us(result.overhead_ms)
        )
    if said is None:
        return counted
    return replace(
        counted,
        foretold=known.foretold + 1,
        error_us=known.error_us + _us(abs(said.predicted_ms - said.latency_ms)),
        mean_error_us=known.mean_error_us + _us(abs(said.mean_ms - said.latency_ms)),
    )


def _counted(known: tuple[int, ...], latency_ms: float) -> tuple[int, ...]:
    counts = list(known) if len(known) > len(LATENCY_BOUNDS_MS) else [0] * (len(LATENCY_BOUNDS_MS) + 1)
    counts[bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1
    return tuple(counts)


def _us(time_ms: float) -> int:
    return round(time_ms * 1000)
