"""Dispatch: carry out a Decision. Attempts in order, inside the deadline, failing over only where that is safe.

The only place that catches `ProviderError`, and the only retry loop. A request that may have run is tried again only
if the policy declares it repeatable.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from fiso.domain.attempt import CALLERS_FAULT, Attempt, Outcome, ProviderError
from fiso.domain.decision import Decision, RankedCandidate
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.policy import Idempotent, Policy
from fiso.domain.request import InvocationRequest
from fiso.ports import Clock, FunctionCaller
from fiso.prediction import features
from fiso.routing.breaker import CLOSED, Breaker

LEAST_ATTEMPT_MS = 100.0
"""No attempt starts with less time left than this."""
LEAST_TIMEOUT_MS = 1_000.0
PATIENCE = 5.0
"""An attempt that can still be failed over gets this many times its predicted latency (at least LEAST_TIMEOUT_MS)."""
IDLE_S = 300.0
COLD_ALLOWANCE_MS = 5_000.0
"""What an endpoint that was not called for IDLE_S gets on top: it may have to start, and a start is no failure. The
slow tail of Azure's starts (mikhail.io, 2021) ends near 5 s; clouds keep environments for 5 to 20 minutes."""
_IDLE = features.NAMES.index("idle_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Carries out decisions. The breakers, per function, belong to this execution environment."""

    caller: FunctionCaller
    clock: Clock
    stopwatch: Callable[[], float] = perf_counter
    breakers: dict[FunctionName, dict[EndpointId, Breaker]] = field(default_factory=dict)

    def breakers_of(self, function: FunctionName) -> dict[EndpointId, Breaker]:
        """The breakers of one function's endpoints; an endpoint that is absent is closed."""
        return self.breakers.setdefault(function, {})

    def dispatch(self, decision: Decision, request: InvocationRequest, policy: Policy) -> Outcome:
        """Try the ranking in order until one answers, the deadline is near, or another try would not be safe."""
        attempts: list[Attempt] = []
        may_repeat = is_repeatable(policy, request)
        tries = decision.ranking[: policy.max_attempts]
        for position, candidate in enumerate(tries):
            left_ms = (request.deadline_at - self.clock()).total_seconds() * 1000
            if left_ms < LEAST_ATTEMPT_MS:
                return Outcome(attempts=tuple(attempts), deadline_passed=True)
            others_left = len(tries) - position - 1
            timeout_ms = _timeout_ms(candidate, left_ms, others_left=others_left if may_repeat else 0)
            attempt = self._attempt(candidate, request, timeout_ms)
            attempts.append(attempt)
            if not _may_go_on(attempt, may_repeat=may_repeat):
                break
        passed = request.deadline_at <= self.clock()
        return Outcome(attempts=tuple(attempts), deadline_passed=passed and attempts[-1].answer is None)

    def _attempt(self, candidate: RankedCandidate, request: InvocationRequest, timeout_ms: float) -> Attempt:
        endpoint, started_at, start = candidate.endpoint, self.clock(), self.stopwatch()
        try:
            answer = self.caller.call(endpoint, request, timeout_ms=timeout_ms)
        except ProviderError as error:
            latency_ms = (self.stopwatch() - start) * 1000
            self._note_failure(request.function, endpoint.id, error)
            return Attempt(
                endpoint=endpoint.id,
                started_at=started_at,
                latency_ms=latency_ms,
                failure=error.failure,
                detail=error.detail,
            )
        latency_ms = (self.stopwatch() - start) * 1000
        breakers = self.breakers_of(request.function)
        breakers[endpoint.id] = breakers.get(endpoint.id, CLOSED).after_success(started_at)
        return Attempt(endpoint=endpoint.id, started_at=started_at, latency_ms=latency_ms, answer=answer)

    def _note_failure(self, function: FunctionName, endpoint: EndpointId, error: ProviderError) -> None:
        if error.failure not in CALLERS_FAULT:
            breakers = self.breakers_of(function)
            known = breakers.get(endpoint, CLOSED)
            breakers[endpoint] = known.after_failure(self.clock(), retry_after_s=error.retry_after_s)


def is_repeatable(policy: Policy, request: InvocationRequest) -> bool:
    """Whether a request that may have run can be run again: declared so, or deduplicated on a key that is present."""
    if policy.idempotent is Idempotent.YES:
        return True
    return policy.idempotent is Idempotent.DEDUPLICATES_ON_KEY and request.idempotency_key is not None


def _timeout_ms(candidate: RankedCandidate, left_ms: float, *, others_left: int) -> float:
    """All the time there is for the last resort; before it, what is fair to wait without starving the others."""
    if others_left == 0:
        return left_ms
    patient_ms = max(LEAST_TIMEOUT_MS, PATIENCE * candidate.prediction.latency_ms)
    if candidate.prediction.features[_IDLE] > IDLE_S:
        patient_ms += COLD_ALLOWANCE_MS
    return min(patient_ms, left_ms / (others_left + 1))


def _may_go_on(attempt: Attempt, *, may_repeat: bool) -> bool:
    if attempt.failure is None or attempt.failure in CALLERS_FAULT:
        return False
    return may_repeat or not attempt.may_have_run
