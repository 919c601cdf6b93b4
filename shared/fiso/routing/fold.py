"""Folding: what one finished record changes in the states of the endpoints it called. Pure, so `replay(log) == state`.

Error rates and intervals remember about the last 10 calls (WEIGHT), which follows a cloud's mood within seconds under
load and does not jump at one failure. What an answer teaches is in `routing.levels`; what is reported by one of several
tenants is kept apart (`routing.reported`).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.state import EndpointState, MonthSent, MonthUse, month_of
from fiso.routing import canaries, equivalence, levels, reported, totals
from fiso.routing.levels import blend
from fiso_client.core import conduct
from fiso_client.core.conduct import UNSEEN
from fiso_client.core.failures import CALLERS_FAULT, NEVER_RAN, UNCLEAR, Failure, Fault

WEIGHT = levels.WEIGHT
LONGEST_INTERVAL_MS = 600_000.0
NOT_CALLED = EndpointId("-")
"""Stands for "no endpoint was called", so that such records are counted as folded too."""

States = Mapping[EndpointId, EndpointState]


def touched(record: InvocationRecord) -> frozenset[EndpointId]:
    """Whose states a record may change: those it called, and siblings that are suspected meanwhile."""
    called = (attempt.endpoint for attempt in record.attempts)
    candidates = (candidate.endpoint for candidate in record.decision.candidates)
    shadowed = equivalence.compared(record)
    return frozenset([*called, *candidates, *shadowed, record.result.endpoint or NOT_CALLED])


def fold(states: States, record: InvocationRecord) -> dict[EndpointId, EndpointState]:
    """The states after one more record; those it does not touch stay as they are. `version` is left to the store."""
    source, is_reported = reported.tenant_hash(record.request.tenant), record.decision.lease_id is not None
    if is_reported and not reported.is_alone(states, source):
        return reported.folded(states, record, record.result.endpoint or NOT_CALLED)
    states = reported.handed_over(states, touched(record), to=source)
    return reported.attributed(states, _folded(states, record), source, is_reported=is_reported)


def _folded(states: States, record: InvocationRecord) -> dict[EndpointId, EndpointState]:
    after = dict(states)
    called = frozenset(attempt.endpoint for attempt in record.attempts)
    owner = record.result.endpoint or NOT_CALLED
    for endpoint in (*called, *equivalence.compared(record), owner):
        after.setdefault(endpoint, EndpointState(function=record.request.function_name, endpoint=endpoint))
    for position, attempt in enumerate(record.attempts):
        is_last = position == len(record.attempts) - 1
        counted = _with_attempt(after[attempt.endpoint], attempt, failed_over=not is_last)
        counted = totals.with_verdict(with_use(counted, record, attempt), attempt)
        if not position and _is_try(record):
            # the features are of the attempt that ended the request
            load = record.decision.features.get("in_flight", 0.0) if is_last else after[attempt.endpoint].in_flight
            counted = levels.with_try(counted, record, attempt, load=load)
        # Only the attempt that ended the request has the features that it was predicted from; earlier ones count as
        # calls and failures, and teach nothing of latency.
        is_answer = is_last and attempt.failure is None and not _is_error(attempt)
        after[attempt.endpoint] = _with_answer(counted, record, attempt) if is_answer else counted
    if _failed_alike(record):
        after = _counted_together(states, after, called)
    after = equivalence.with_comparison(after, record, reported.tenant_hash(record.request.tenant))
    after |= _conducts(after, record)
    after[owner] = totals.with_record(after[owner], record)
    if owner == NOT_CALLED:  # what refuses all its requests has its minutes too
        after[owner] = replace(after[owner], last_called_at=_later(after[owner].last_called_at, record.timestamp))
    return after if record.decision.canary is None else canaries.folded(after, record)


def _failed_alike(record: InvocationRecord) -> bool:
    """Whether every endpoint that was called failed in the same way, and one that the request can have caused."""
    kinds = {attempt.failure for attempt in record.attempts}
    return len({attempt.endpoint for attempt in record.attempts}) > 1 and len(kinds) == 1 and kinds <= UNCLEAR


def _counted_together(before: States, after: States, called: frozenset[EndpointId]) -> dict[EndpointId, EndpointState]:
    """What failed alike everywhere lengthens no row beyond the shortest there was, by one: a poisonous request among
    others that are answered opens no breaker, an outage of all does."""
    rows = {endpoint: before[endpoint].consecutive_failures if endpoint in before else 0 for endpoint in called}
    together = min(rows.values()) + 1
    changed = {id: replace(after[id], consecutive_failures=max(row, together)) for id, row in rows.items()}
    return {**after, **changed}


def _with_attempt(state: EndpointState, attempt: AttemptSummary, *, failed_over: bool) -> EndpointState:
    called = _called(state, attempt.started_at, attempt.cost_usd)
    is_callers = attempt.failure in CALLERS_FAULT or attempt.verdict is Fault.CALLER
    if attempt.failure is Failure.NOT_NEEDED or (attempt.failure is not None and is_callers):
        return called  # says nothing of the endpoint, or nobody waited to see
    if attempt.failure is Failure.OVERTAKEN:  # no error; but in a row it is what a breaker opens for
        failed_at = _later(state.last_failed_at, attempt.started_at)
        return replace(called, consecutive_failures=state.consecutive_failures + 1, last_failed_at=failed_at)
    if attempt.failure is not None:
        return replace(
            called,
            failures=state.failures + 1,
            failovers_from=state.failovers_from + failed_over,
            # throttling is no sign of an endpoint that is down, and no sign of one that is well
            consecutive_failures=state.consecutive_failures + (attempt.failure is not Failure.THROTTLED),
            error_rate=blend(state.error_rate if state.attempts else None, 1.0, WEIGHT),
            last_failed_at=_later(state.last_failed_at, attempt.started_at),
            last_failure=attempt.failure.value,
        )
    is_bad = (attempt.status or 200) >= 500 or attempt.verdict is Fault.COPY
    return replace(
        called,
        failures=state.failures + is_bad,
        # It answered, so it is there: how it does against its siblings is its conduct's matter. Of what it refuses
        # nobody can say that much.
        consecutive_failures=state.consecutive_failures if conduct.is_refusal(attempt.status or 200) else 0,
        error_rate=blend(state.error_rate if state.attempts else None, float(is_bad), WEIGHT),
    )


def _with_answer(state: EndpointState, record: InvocationRecord, attempt: AttemptSummary) -> EndpointState:
    sized = blend(state.answer_bytes, float(record.result.response_size_bytes), WEIGHT)
    return levels.with_answer(replace(state, answer_bytes=sized), record, attempt)


def _is_try(record: InvocationRecord) -> bool:
    # A try that failed has the reason of what came after it; one under a lease has no more than its reason.
    return record.decision.tried_for is not None or record.decision.reason is Reason.EXPLORE


def _is_error(attempt: AttemptSummary) -> bool:
    """Whether an answer tells nothing of how long a good one takes."""
    return (attempt.status or 200) >= 400 or attempt.verdict is not None


def _conducts(states: States, record: InvocationRecord) -> dict[EndpointId, EndpointState]:
    """The states with what the attempts say of their copies, held against the siblings'."""
    before = {id: state.conduct for id, state in states.items() if state.conduct is not None}
    known = dict(before)
    copies = frozenset(candidate.endpoint for candidate in record.decision.candidates)
    odd: list[tuple[EndpointId, str]] = []
    caller = reported.tenant_hash(record.request.tenant)
    last = record.attempts[-1] if record.attempts else None
    # Where a sibling did well by the same request, it matters not whose it was.
    proving = last.endpoint if last and last.failure is None and last.verdict is None else None
    for attempt in record.attempts:
        own, others = known.get(attempt.endpoint, UNSEEN), [known[c] for c in copies - {attempt.endpoint} if c in known]
        if attempt.failure is None and attempt.status is not None:
            oddity = conduct.oddity_of(attempt.status, attempt.shape or "", own, others, caller)
            if conduct.is_refusal(attempt.status):
                continue
        elif attempt.failure in conduct.COUNTED and attempt.verdict is not Fault.CALLER:
            oddity = attempt.failure.value
        else:
            continue
        if oddity is not None:
            odd.append((attempt.endpoint, oddity))
        at = attempt.started_at
        known |= conduct.after_answer(
            known,
            attempt.endpoint,
            copies,
            oddity=oddity,
            shape=attempt.shape or "" if conduct.shows_usual_body(attempt.status or 200) else "",
            now=at,
            caller=caller if proving in (None, attempt.endpoint) else "",
        )
    if len(odd) > len({oddity for _, oddity in odd}) and record.attempts[-1].endpoint in dict(odd):
        known |= conduct.cleared(known, [endpoint for endpoint, _ in odd])
    return {
        id: replace(states[id], conduct=found)
        for id, found in known.items()
        if id in states and found is not before.get(id)
    }


def with_use(state: EndpointState, record: InvocationRecord, attempt: AttemptSummary) -> EndpointState:
    """What may have run is billed, whatever became of it, and so is what was sent."""
    if attempt.failure in NEVER_RAN:
        return state
    at, month = attempt.started_at, month_of(attempt.started_at)
    billed_ms = attempt.latency_ms if attempt.billed_ms is None else attempt.billed_ms
    answer = record.result.response_size_bytes if attempt is record.attempts[-1] else 0
    use, sent = state.use or MonthUse(month=month), state.sent or MonthSent(month=month)
    return replace(
        state,
        use=use.after(at, round(billed_ms / 1000, 4)),
        sent=sent.after(at, request=record.request.request_size_bytes, answer=answer),
    )


def _called(state: EndpointState, at: datetime, cost_usd: float | None) -> EndpointState:
    interval = state.arrival_interval_ms
    # A record from before the newest (another shard's, a spilled one) says nothing of how often calls come now. Counted
    # as an interval of 0, a hundred of them made an idle endpoint look as busy as no cloud can be.
    if state.last_called_at is not None and at >= state.last_called_at:
        since_ms = (at - state.last_called_at).total_seconds() * 1000
        interval = blend(interval, min(since_ms, LONGEST_INTERVAL_MS), WEIGHT)
    return replace(
        state,
        attempts=state.attempts + 1,
        arrival_interval_ms=interval,
        last_called_at=_later(state.last_called_at, at),
        cost_usd=state.cost_usd + (cost_usd or 0.0),
    )


def _later(known: datetime | None, at: datetime) -> datetime:
    return at if known is None or at > known else known
