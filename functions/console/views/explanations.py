"""Explanations: why one invocation went where it went, in plain English. Pure; says only what the record holds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fiso.domain.decision import Reason
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord, RecordStatus
from fiso_client.core.failures import Failure
from functions.console.views.formats import ms, percent, score, usd_per_million

FAILED: Mapping[Failure, str] = {
    Failure.UNREACHABLE: "could not be reached",
    Failure.THROTTLED: "throttled the call",
    Failure.REFUSED: "refused the call",
    Failure.NOT_STARTED: "could not start the function",
    Failure.TIMED_OUT: "gave no answer in time",
    Failure.BROKEN: "broke off in the middle of its answer",
    Failure.PROVIDER_FAULT: "failed on the provider's side",
    Failure.FUNCTION_TIMED_OUT: "stopped the function at its own time limit",
    Failure.REJECTED: "rejected the request itself",
    Failure.OVERTAKEN: "was slow and overtaken by a second copy",
    Failure.NOT_NEEDED: "ran as a second copy that was not needed",
}

UNKNOWN = (
    "Nobody can tell how this ended: the orchestrator was gone before it wrote the record, so the keeper closed it. "
    "The function may have run."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Endpoints by names that people use: provider and region, with the id where that is not unique or not known."""

    by_id: Mapping[EndpointId, str]

    @classmethod
    def of(cls, endpoints: Iterable[Endpoint]) -> "Names":
        """From the endpoints of a function."""
        places = {endpoint.id: f"{endpoint.provider} {endpoint.region}" for endpoint in endpoints}
        seen = Counter(places.values())
        return cls(by_id={id: place if seen[place] == 1 else f"{place} ({id})" for id, place in places.items()})

    def __getitem__(self, endpoint: EndpointId) -> str:
        return self.by_id.get(endpoint, endpoint)


def explain(record: InvocationRecord, names: Names) -> tuple[str, ...]:
    """The sentences: why this endpoint, and what came of it."""
    if record.status is RecordStatus.UNKNOWN:
        return (UNKNOWN,)
    if record.result.endpoint is None or not record.attempts:
        return (_not_called(record, names),)
    known = _WHY.get(record.decision.reason, _unexplained) if record.decision.reason else _unexplained
    why = known if record.decision.candidates else _unexplained
    return (why(record, names), _ending(record, names))


def _not_called(record: InvocationRecord, names: Names) -> str:
    if record.decision.candidates:
        first = names[record.decision.candidates[0].endpoint]
        return f"{first} was chosen, but nothing was called: the deadline had passed."
    count = len(record.decision.exclusions)
    why = f": {'the one endpoint is' if count == 1 else f'all {count} endpoints are'} excluded." if count else "."
    return f"Nothing was called, since no endpoint was eligible{why}"


def _by_score(record: InvocationRecord, names: Names) -> str:
    """The first candidate of the ranking and, where there is one, the runner-up."""
    chosen, *others = record.decision.candidates
    name, promise = names[chosen.endpoint], _promise(chosen)
    if not others:
        return f"{name} was chosen as the only candidate: {promise}."
    best = "the best" if chosen.score >= max(c.score for c in others) else "the best that no circuit breaker held back"
    second = others[0]
    return (
        f"{name} was chosen on score: {score(chosen.score)}, {best} of {len(record.decision.candidates)} candidates, "
        f"{promise}. Next came {names[second.endpoint]} with {score(second.score)}, {_promise(second)}."
    )


def _by_exploration(record: InvocationRecord, names: Names) -> str:
    chosen, *others = record.decision.candidates
    best = max(others, key=lambda candidate: candidate.score, default=chosen)
    return (
        f"{names[chosen.endpoint]} was chosen to explore: {names[best.endpoint]} scored better "
        f"({score(best.score)} against {score(chosen.score)}), but {percent(chosen.propensity)} of such requests try "
        f"{names[chosen.endpoint]}, so that what is known of it stays true."
    )


def _by_failover(record: InvocationRecord, names: Names) -> str:
    *failed, last = record.attempts
    ranked = [candidate.endpoint for candidate in record.decision.candidates]
    place = f", ranked {ranked.index(last.endpoint) + 1} of {len(ranked)}," if last.endpoint in ranked else ""
    trail = ", then ".join(f"{names[attempt.endpoint]} {_failure(attempt)}" for attempt in failed)
    word = "first choice" if len(failed) == 1 else f"first {len(failed)} choices"
    return f"{names[last.endpoint]}{place} was called by failover, after the {word} had failed: {trail}."


def _by_policy(record: InvocationRecord, names: Names) -> str:
    return (
        f"{names[record.attempts[0].endpoint]} was called because the policy says so: "
        "the function is pinned to it, or observed with it as its home."
    )


def _as_control(record: InvocationRecord, names: Names) -> str:
    name = names[record.attempts[0].endpoint]
    return f"{name} was called as control: in this block of time nothing is routed, to compare with."


def _as_hedge(record: InvocationRecord, names: Names) -> str:
    return f"{names[record.attempts[-1].endpoint]} was called as a hedge and ended the request."


def _by_affinity(record: InvocationRecord, names: Names) -> str:
    return f"{names[record.attempts[0].endpoint]} was called because the request's session stays there."


def _as_canary(record: InvocationRecord, names: Names) -> str:
    chosen = record.decision.candidates[0]
    return (
        f"{names[chosen.endpoint]} was called as a canary, which {percent(chosen.propensity)} of such requests go to."
    )


def _unexplained(record: InvocationRecord, names: Names) -> str:
    return f"{names[record.attempts[-1].endpoint]} was called; the record does not say why."


_WHY = {
    Reason.SCORE: _by_score,
    Reason.EXPLORE: _by_exploration,
    Reason.FAILOVER: _by_failover,
    Reason.POLICY: _by_policy,
    Reason.CONTROL: _as_control,
    Reason.HEDGE: _as_hedge,
    Reason.AFFINITY: _by_affinity,
    Reason.CANARY: _as_canary,
}


def _ending(record: InvocationRecord, names: Names) -> str:
    last = record.attempts[-1]
    if last.failure is not None:
        failed = f"{names[last.endpoint]} {_failure(last)} after {ms(last.latency_ms)}"
        return f"{failed}; the caller got {record.result.response_status}."
    own = ", the function's own error," if record.result.error_occurred else ""
    answered = f"It answered {record.result.response_status}{own} in {ms(last.latency_ms)}"
    predicted = predicted_ms(record)
    if predicted is None:
        return f"{answered}."
    return f"{answered}, where {ms(predicted)} were predicted."


def predicted_ms(record: InvocationRecord) -> float | None:
    """What was predicted for the endpoint that ended the request."""
    return next((c.latency_ms for c in record.decision.candidates if c.endpoint == record.result.endpoint), None)


def is_held_back(record: InvocationRecord, position: int) -> bool:
    """Whether a candidate stands behind a worse scored one that could not have been picked by exploration alone."""
    candidate = record.decision.candidates[position]
    return candidate.propensity == 0 and any(c.score < candidate.score for c in record.decision.candidates[:position])


def _promise(candidate: CandidateSummary) -> str:
    cost = candidate.cost_usd
    price = "without a price" if cost is None else f"for {usd_per_million(cost)} per million"
    return f"predicted to answer in {ms(candidate.latency_ms)} {price}"


def _failure(attempt: AttemptSummary) -> str:
    said = (
        FAILED.get(attempt.failure, f"ended as {attempt.failure}")
        if attempt.failure is not None
        else f"answered {attempt.status}"
    )
    blamed = f"{attempt.verdict}: {attempt.evidence}" if attempt.verdict and attempt.evidence else ""
    return f"{said} ({blamed})" if blamed else said
