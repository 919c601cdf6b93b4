"""Canaries: a new copy gets a share of the requests, a larger one step by step, and none once it does worse. Pure.

Who gets it is drawn by a hash of the request (or its session) for all environments alike, so the two groups differ in
nothing but the copy. The stream folds both into the canary's state, and what follows from it is worked out anew with
every decision: the step, and whether it was stopped, which holds until the policy names another canary or `release`.

Worse means beyond chance, sequentially (`fiso_client.core.sequential`): errors, refusals or latency more than MARGIN
above the others'. All three share one alpha, so a copy as good as the others is stopped in at most 5 of 100 cases,
however long it is watched. A copy that is convicted of what its siblings do not do (`fiso_client.core.conduct`) is
stopped as well: while it is suspected it is not drawn. docs/decisions/0018-sequential-tests.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import log
from typing import NamedTuple

from fiso.domain.endpoint import EndpointId
from fiso.domain.record import SHORTEST_MS, AttemptSummary, InvocationRecord, RecordStatus
from fiso.domain.state import EndpointState
from fiso.domain.steering import EMPTY, Canary, CanaryBlock, CanaryDraw, CanaryState
from fiso_client.core.conduct import Conduct
from fiso_client.core.failures import CALLERS_FAULT, GIVEN_UP, Failure
from fiso_client.core.sequential import ALPHA, log_mean

MARGIN = 1.05
"""So many times the others' rates and latencies are as good as the same."""
MOST_LATENCIES = 20
"""Of each group in one block: more say little more, and a state stays small."""
IDLE_S = 300.0
"""After so long without a call an answer whose start nobody told may have been a cold one."""
_NO_SIGN = CALLERS_FAULT | {Failure.NOT_NEEDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a canary gets now: which step it is in, and the share of requests; 0 once it was stopped."""

    draw: CanaryDraw
    share: float


def standing(canary: Canary, known: CanaryState | None, now: datetime) -> Standing | None:
    """Where a canary stands, by what is folded of it; None when it has passed and is a copy like the others."""
    if known is None or known.run != canary.run:
        return Standing(draw=CanaryDraw(endpoint=canary.endpoint, run=canary.run, step=0), share=canary.shares[0])
    draw = CanaryDraw(endpoint=canary.endpoint, run=canary.run, step=known.step)
    if known.stopped_at is not None:
        return Standing(draw=draw, share=0.0)
    is_over = now - known.since >= timedelta(minutes=canary.step_minutes)
    step = known.step + (is_over and known.requests >= canary.step_requests)
    if step >= len(canary.shares):
        return None
    return Standing(draw=replace(draw, step=step), share=canary.shares[step])


class Observation(NamedTuple):
    """How one request went that was drawn for (`is_canary`) or against the canary. `latency_ms` is None where it says
    nothing: after an error, or of a copy that may have started cold."""

    is_canary: bool
    is_error: bool = False
    is_refusal: bool = False
    latency_ms: float | None = None


States = Mapping[EndpointId, EndpointState]


def folded(states: States, record: InvocationRecord) -> dict[EndpointId, EndpointState]:
    """The states after one more record: where a draw was made for a canary, one more of its requests or the others'."""
    after, draw = dict(states), record.decision.canary
    if draw is None or record.status is not RecordStatus.FINAL or not record.decision.candidates:
        return after
    state = after.get(draw.endpoint) or EndpointState(function=record.request.function_name, endpoint=draw.endpoint)
    known = _of_run(state.canary, draw, record)
    if known is None:
        return after
    canary = observed(known, _observation(record, draw), step=draw.step, at=record.timestamp)
    if canary.stopped_at is None and state.conduct is not None and _is_convicted(state.conduct, canary.since):
        # A suspect is not drawn, so its tests would learn no more; a conviction is surer than they are.
        why = f"demoted for what its siblings do not do: {state.conduct.oddity}"
        canary = replace(canary, stopped_at=record.timestamp, why=why)
    return after if canary == state.canary else after | {draw.endpoint: replace(state, canary=canary)}


def stopped_between(before: States, after: States) -> tuple[EndpointState, ...]:
    """The states of the canaries that were stopped in between."""
    known = {id: state.canary.run for id, state in before.items() if state.canary and state.canary.stopped_at}
    return tuple(
        state
        for id, state in after.items()
        if state.canary and state.canary.stopped_at and known.get(id) != state.canary.run
    )


def _is_convicted(conduct: Conduct, since: datetime) -> bool:
    """Of something that it did since: an earlier release's conviction is only lifted by a row of good answers."""
    return conduct.is_convicted and conduct.last_odd_at is not None and conduct.last_odd_at >= since


def observed(known: CanaryState, seen: Observation | None, *, step: int, at: datetime) -> CanaryState:
    """A canary's state after one more request, which was decided in `step`; None says nothing of either copy."""
    if known.stopped_at is not None:
        return known
    if step > known.step:
        known = replace(known, step=step, since=at, requests=0)
    if seen is None:
        return known
    block = _with_request(known.block, seen)
    requests = known.requests + (seen.is_canary and step == known.step)
    if not (block.n_a and block.n_b):
        return replace(known, block=block, requests=requests)
    return _compared(replace(known, block=EMPTY, requests=requests), block, at)


def _of_run(known: CanaryState | None, draw: CanaryDraw, record: InvocationRecord) -> CanaryState | None:
    """The state that a record counts for, begun where it is the first; None for one of a canary that is over."""
    version = record.decision.policy_version or 0
    if known is not None and known.run == draw.run:
        return replace(known, policy_version=max(version, known.policy_version))
    if known is not None and version < known.policy_version:
        return None
    return CanaryState(run=draw.run, policy_version=version, step=draw.step, since=record.timestamp)


def _observation(record: InvocationRecord, draw: CanaryDraw) -> Observation | None:
    """Of the first call, since the draw was for that."""
    chosen = record.decision.candidates[0].endpoint
    first = next((attempt for attempt in record.attempts if attempt.endpoint == chosen), None)
    if first is None or first.failure in _NO_SIGN:
        return None
    is_refusal = first.failure is None and first.status is not None and 400 <= first.status < 500
    is_error = not is_refusal and _is_error(record, first)
    says_how_fast = not (is_error or is_refusal or _may_be_cold(record, first))
    return Observation(
        is_canary=chosen == draw.endpoint,
        is_error=is_error,
        is_refusal=is_refusal,
        latency_ms=max(first.latency_ms, SHORTEST_MS) if says_how_fast else None,
    )


def _with_request(block: CanaryBlock, seen: Observation) -> CanaryBlock:
    latency = () if seen.latency_ms is None else (seen.latency_ms,)
    if seen.is_canary:
        return replace(
            block,
            n_a=block.n_a + 1,
            errors_a=block.errors_a + seen.is_error,
            refusals_a=block.refusals_a + seen.is_refusal,
            latencies_a=(*block.latencies_a, *latency)[-MOST_LATENCIES:],
        )
    return replace(
        block,
        n_b=block.n_b + 1,
        errors_b=block.errors_b + seen.is_error,
        refusals_b=block.refusals_b + seen.is_refusal,
        latencies_b=(*block.latencies_b, *latency)[-MOST_LATENCIES:],
    )


def _is_error(record: InvocationRecord, first: AttemptSummary) -> bool:
    """A call that failed, or a 5xx. One that a hedge overtook is only slow."""
    if first.failure is not None:
        return first.failure not in GIVEN_UP
    if (first.status or 0) >= 500:
        return True
    return len(record.attempts) == 1 and record.result.error_occurred


def _may_be_cold(record: InvocationRecord, first: AttemptSummary) -> bool:
    """A copy that few requests go to starts cold more often than one that gets all, and that is not its fault."""
    if first.cold_start is not None:
        return first.cold_start
    return record.decision.features.get("idle_seconds", 0.0) >= IDLE_S


def _compared(known: CanaryState, block: CanaryBlock, now: datetime) -> CanaryState:
    """The tests with one more block, and the stop when they say so together."""
    after = replace(
        known,
        errors=known.errors.with_block(block.errors_a, block.n_a, block.errors_b, block.n_b, ratio=MARGIN),
        refusals=known.refusals.with_block(block.refusals_a, block.n_a, block.refusals_b, block.n_b, ratio=MARGIN),
        latency=known.latency.with_block(block.latencies_a, block.latencies_b, ratio=MARGIN),
    )
    if log_mean(after.errors.log_e, after.refusals.log_e, after.latency.log_e) < -log(ALPHA):
        return after
    return replace(after, stopped_at=now, why=_why(after))


def _why(canary: CanaryState) -> str:
    tests = {"errors": canary.errors.log_e, "refusals": canary.refusals.log_e, "latency": canary.latency.log_e}
    worst = max(tests, key=lambda name: tests[name])
    if worst == "latency":
        above = 50 * (1 + canary.latency.total / canary.latency.blocks)
        return f"slower by more than {MARGIN - 1:.0%}: in {above:.0f} % of {canary.latency.blocks} comparisons"
    counts = canary.errors if worst == "errors" else canary.refusals
    return f"more {worst}: {_rate(counts.odd_a, counts.n_a)} against {_rate(counts.odd_b, counts.n_b)}"


def _rate(odd: int, n: int) -> str:
    return f"{odd} of {n} ({odd / n:.1%})"
