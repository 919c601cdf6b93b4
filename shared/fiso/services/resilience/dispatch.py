"""Dispatch: carry out a Decision. Attempts in order, inside the deadline, failing over only where that is safe.

The only place that catches `ProviderError`, and the only retry loop. What holds:

failover    to the next candidate whose breaker is not open: free. To one behind an open breaker: a token, and one such
            try a request. The same endpoint again: where it is the only one, once, if it was not reached: a token.
repetition  a request that may have run is tried again only if the policy declares it repeatable. A call that is late
            (`slow_call_ms`) is then not cut off: the next endpoint is tried beside it, the first answer wins.
            Once one is late, the next is late when a hedge would begin: the caller has waited enough.
hedge       of a repeatable request, once, after the predicted 95th percentile, out of a budget (`routing.budget`), or
            half as long again later, out of its reserve.
another     of a repeatable request, where a copy's answer stands out and its siblings' do not: their answer is the
            function's. Where theirs is the same, the first one goes back.
time        no attempt starts with less than LEAST_ATTEMPT_MS left, none is waited for beyond the deadline. A request is
            given up sooner only where something failed, or by the policy.

Which breakers hold and what they make of the outcome is in `breakers`, whose fault it was in `attribution`. Why it is
so, and what it was measured to give: docs/decisions/0013-when-a-call-fails.md
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from time import perf_counter

from fiso.domain import trace
from fiso.domain.attempt import Attempt, Outcome
from fiso.domain.decision import Decision, Prediction, RankedCandidate, Reason
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.policy import Policy
from fiso.domain.request import InvocationRequest
from fiso.ports import Clock, FunctionCaller
from fiso.prediction import features
from fiso.routing import constraints
from fiso.routing.budget import HedgeBudget, TryBudget
from fiso.routing.reported import tenant_hash
from fiso.services.resilience.breakers import Breakers, Failed
from fiso.services.resilience.executors import INLINE, AttemptExecutor, Call, Running
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.attribution import Attribution, Copy
from fiso_client.core.breaker import CLOSED, Breaker, BreakerState
from fiso_client.core.conduct import COUNTED, Conduct, is_refusal
from fiso_client.core.failures import Failure, Fault, ProviderError, may_follow

LEAST_ATTEMPT_MS = 100.0
"""No attempt starts with less time left than this."""
_HEDGED = frozenset({Reason.SCORE, Reason.EXPLORE})
"""Where the mode or a control block says which endpoint is called, no other is called beside it."""
URGENT = 1.5
"""A call that took this many times as long as a hedge waits may be hedged from the reserve."""
OVERDUE_S = 0.02
"""How long after its time-out a call is still waited for, which ends it itself as a rule; kept of the deadline."""
LEAST_SLOW_MS = 1_000.0
TIMES_P99 = 3.0
"""A call is late after this many times its predicted 99th percentile, of a warm call."""
LEAST_HEDGE_MS = 100.0
LEAST_GIVE_UP_MS = 2_300.0
GIVE_UP_TIMES_P99 = 4.0
"""A request of which a copy failed, and every other one is late, is given up after this many times the 99th percentile,
and no sooner than LEAST_GIVE_UP_MS: the caller is told while it still waits. Lateness alone ends nothing."""
HURRIED = 0.9
"""A caller that leaves less than this share of the policy's time is in a hurry of its own."""
IDLE_S = 300.0
COLD_ALLOWANCE_MS = 5_000.0
"""What an endpoint that was not called for IDLE_S gets on top: it may have to start, and a start is no failure. The
slow tail of Azure's starts (mikhail.io, 2021) ends near 5 s; clouds keep environments for 5 to 20 minutes."""
_IDLE = features.NAMES.index("idle_seconds")


@dataclass(slots=True, kw_only=True)
class InFlightAttempt:
    """One attempt on its way, in seconds of the stopwatch: when it began, when it is hedged, when the next one may be
    tried beside it, and when it is over."""

    candidate: RankedCandidate
    started_at: datetime
    start_s: float
    hedge_s: float | None
    late_s: float
    end_s: float
    running: Running
    is_hedge: bool
    is_late: bool = False
    is_urgent: bool = False
    copy: Copy
    met: Conduct
    """What its copy's conduct was when it began."""


@dataclass(kw_only=True)
class Dispatcher:
    """Carries out decisions. Breakers and budgets belong to this execution environment. `concurrent` runs calls beside
    each other; without it nothing is hedged, and a slow call is cut off instead. `watched` (`slow_calls`) publishes
    slow calls. `on_trouble` is called at once for a request whose first call is slow or failed.
    """

    caller: FunctionCaller
    clock: Clock
    stopwatch: Callable[[], float] = perf_counter
    breakers: Breakers = field(default_factory=Breakers)
    attribution: Attribution = field(default_factory=Attribution)
    concurrent: AttemptExecutor | None = None
    watched: Callable[[Call, FunctionName, Endpoint, float], Call] = lambda call, *_: call
    on_trouble: Callable[[FunctionName], None] = lambda _: None
    staleness: Callable[[], float] | None = None
    tries: TryBudget = field(default_factory=TryBudget)
    hedges: HedgeBudget = field(default_factory=HedgeBudget)

    def dispatch(
        self, decision: Decision, request: InvocationRequest, policy: Policy, breakers: Mapping[EndpointId, Breaker]
    ) -> Outcome:
        """Try the ranking until one answers, the deadline is near, or another try would not be safe.

        `breakers` are those that the decision was made with.
        """
        return _RequestExecution(self, decision, request, policy, breakers).outcome()

    def may_try(self) -> bool:
        left = self.tries.taken((self.staleness or self.stopwatch)())
        self.tries = left or self.tries
        return left is not None

    def may_hedge(self, *, is_urgent: bool) -> bool:
        left = self.hedges.taken(is_urgent=is_urgent)
        self.hedges = left or self.hedges
        return left is not None


class _RequestExecution:
    def __init__(
        self,
        dispatcher: Dispatcher,
        decision: Decision,
        request: InvocationRequest,
        policy: Policy,
        breakers: Mapping[EndpointId, Breaker],
    ) -> None:
        self._dispatcher, self._request, self._policy, self._breakers = dispatcher, request, policy, breakers
        self._may_repeat = policy.lets_repeat(request.idempotency_key, is_safe=request.is_safe)
        self._request = replace(request, may_repeat=True) if self._may_repeat else request
        self._left = list(decision.ranking)
        self._ids = [candidate.endpoint.id for candidate in decision.ranking]
        self._begins_s = dispatcher.stopwatch()
        self._deadline_s = self._begins_s - OVERDUE_S + (request.deadline_at - dispatcher.clock()).total_seconds()
        self._limit_s = self._deadline_s
        if policy.give_up_after_ms is not None:
            self._limit_s = min(self._limit_s, self._begins_s + policy.give_up_after_ms / 1000)
        self._ends_s = self._limit_s
        """When all is given up; a call that begins late is still given its time, within the limit."""
        self._calls = dispatcher.concurrent if self._may_repeat and dispatcher.concurrent else INLINE
        self._candidates = decision.ranking
        if self._calls is not INLINE:
            dispatcher.hedges = dispatcher.hedges.earned(policy.hedging)
        self._can_hedge = self._calls is not INLINE and policy.hedging > 0 and decision.reason in _HEDGED
        self._in_flight: list[InFlightAttempt] = []
        self._attempts: list[Attempt] = []
        self._failed: list[Failed] = []
        self._odd: list[tuple[Attempt, str]] = []
        """Answers that stand out, and how, kept while a sibling is asked."""
        self._good: Attempt | None = None
        self._called: list[RankedCandidate] = []
        self._started = self._at_open = 0

    def outcome(self) -> Outcome:
        answered: InFlightAttempt | None = None
        while answered is None:
            if all(call.is_late for call in self._in_flight) and not self._start_next() and not self._in_flight:
                break
            answered = self._wait()
        self._give_up(answered)
        now_s = self._dispatcher.stopwatch()
        has_answer = answered is not None or bool(self._odd)
        return Outcome(
            attempts=tuple(self._attempts),
            deadline_passed=not has_answer and self._has_passed(now_s),
            waited_ms=(now_s - self._begins_s) * 1000,
            may_repeat=self._may_repeat,
        )

    def _has_passed(self, now_s: float) -> bool:
        is_near = self._deadline_s - now_s < LEAST_ATTEMPT_MS / 1000
        return is_near or self._request.deadline_at <= self._dispatcher.clock()

    def _start_next(self) -> bool:
        """Begin the next attempt that may be made; False when there is none."""
        while self._left and self._started < self._policy.max_attempts:
            if self._ends_s - self._dispatcher.stopwatch() < LEAST_ATTEMPT_MS / 1000:
                return False
            candidate = self._left.pop(0)
            if self._may_try(candidate):
                self._start(candidate)
                return True
        return False

    def _may_try(self, candidate: RankedCandidate) -> bool:
        if not self._is_open(candidate):
            return True
        # the first one is free even so: with every endpoint open, somebody has to find out which is back
        is_allowed = not self._started or (self._at_open < 2 and self._dispatcher.may_try())
        self._at_open += is_allowed
        return is_allowed

    def _is_open(self, candidate: RankedCandidate) -> bool:
        breaker = self._breakers.get(candidate.endpoint.id, CLOSED)
        return breaker.state(self._dispatcher.clock()) is BreakerState.OPEN

    def _start(self, candidate: RankedCandidate, *, is_hedge: bool = False) -> None:
        dispatcher, request, endpoint = self._dispatcher, self._request, candidate.endpoint
        now, start_s = dispatcher.clock(), dispatcher.stopwatch()
        late_s = start_s + self._timeout_s(candidate, start_s)
        # A call that begins late is given its own time: giving up is for silence, not for who was tried last.
        self._ends_s = min(self._limit_s, max(self._ends_s, late_s))
        end_s = late_s if self._calls is INLINE else self._ends_s
        dispatcher.breakers.started(request.function, endpoint, now, late_s - start_s)
        copy = Copy(request.function, endpoint.id, endpoint.provider, endpoint.region)
        met = dispatcher.attribution.started(copy, now, late_s - start_s)
        self._started += 1
        if request.traced is not None:
            number = sum(called.endpoint.id == endpoint.id for called in self._called)
            part = trace.attempt_part(endpoint.id, number)
            request = replace(
                request, headers=trace.below(request.headers, request.traced, request.invocation_id, part)
            )
        run = partial(dispatcher.caller.call, endpoint, request, timeout_ms=(end_s - start_s) * 1000)
        # the probe of an open breaker is slow as a rule: told to all, it would keep the breaker open everywhere
        is_healthy = self._breakers.get(endpoint.id, CLOSED).opened_until is None
        fair_s = attempt_timeout_ms(candidate) / 1000
        watched = dispatcher.watched(run, request.function, endpoint, fair_s) if is_healthy else run
        hedged_ms = hedge_ms(candidate) if self._can_hedge else None
        call = InFlightAttempt(
            candidate=candidate,
            started_at=now,
            start_s=start_s,
            hedge_s=None if hedged_ms is None else start_s + hedged_ms / 1000,
            late_s=late_s,
            end_s=end_s,
            running=self._calls.begin(watched),
            is_hedge=is_hedge,
            copy=copy,
            met=met,
        )
        self._in_flight.append(call)
        self._called.append(candidate)

    def _timeout_s(self, candidate: RankedCandidate, start_s: float) -> float:
        """All the time there is where nothing can follow; else what is fair to wait, without starving the others."""
        left_s = self._limit_s - start_s
        # Where a request must not run twice, nothing can follow a call that was sent: cutting it off would turn a slow
        # answer into an unknown outcome (docs/decisions/0013-when-a-call-fails.md).
        others = min(len(self._left), self._policy.max_attempts - self._started - 1) if self._may_repeat else 0
        if not others and not self._is_open(candidate) and self._calls is INLINE:
            return left_s
        wait_ms = attempt_timeout_ms(candidate) if self._calls is INLINE else slow_call_ms(candidate)
        if any(call.is_late for call in self._in_flight):  # the caller has waited for one already
            wait_ms = hedge_ms(candidate) or wait_ms
        return min(wait_ms / 1000, left_s / (others + 1))  # who is tried last gets its part of the deadline, too

    def _wait(self) -> InFlightAttempt | None:
        """Wait for what happens next, and see to it; the call that was answered, if one was."""
        hedge_s = self._hedge_s()
        until_s = min([call.end_s + OVERDUE_S if call.is_late else call.late_s for call in self._in_flight])
        until_s = min(until_s, hedge_s) if hedge_s is not None else until_s
        wait_s = max(0.0, until_s - self._dispatcher.stopwatch())
        self._calls.wait([call.running for call in self._in_flight], wait_s)
        ended = [call for call in self._in_flight if call.running.done()]
        for call in ended:
            self._in_flight.remove(call)
            if self._end(call):
                return call
            if self._in_flight and all(other.start_s < call.start_s for other in self._in_flight):
                self._start_next()  # those before it were slow already
        now_s = self._dispatcher.stopwatch()
        self._see_to_time(now_s)
        if not ended and hedge_s is not None and now_s >= hedge_s:
            self._hedge()
        return None

    def _end(self, call: InFlightAttempt) -> bool:
        try:
            answer = call.running.result()
        except ProviderError as error:
            self._note(call, error)
            return False
        return self._is_settled_by(call, answer)

    def _is_settled_by(self, call: InFlightAttempt, answer: FunctionAnswer) -> bool:
        """Keep an answer; whether it is the one to return. One that stands out is held against a sibling's first, where
        the request may be repeated."""
        attribution, copy = self._dispatcher.attribution, call.copy
        now, shape = self._dispatcher.clock(), answer.shape
        caller = tenant_hash(self._request.tenant)
        oddity = attribution.oddity(copy, self._ids, answer.status, shape, caller)
        asks_another = oddity is not None and self._asks_another(copy, oddity, answer)
        finding = attribution.finding(copy, call.met, status=answer.status, oddity=oddity)
        attribution.ended(copy, self._ids, oddity=oddity, shape=shape, now=now, status=answer.status, caller=caller)
        verdict, evidence = (finding.verdict, finding.evidence) if finding else (None, "")
        evidence = f"{evidence} {answer.error_type}" if answer.error_type else evidence
        attempt = self._keep(call, answer=answer, verdict=verdict, detail=evidence)
        if oddity is None:
            self._good = attempt
            for odd, what in self._odd:
                self._blame(odd, what, attempt)
            return True
        self._odd.append((attempt, oddity))
        self._dispatcher.on_trouble(self._request.function)
        return not asks_another

    def _asks_another(self, copy: Copy, oddity: str, answer: FunctionAnswer) -> bool:
        if not self._may_repeat or all(self._is_open(candidate) for candidate in self._left):
            return False
        on, now = self._policy.fail_over_on, self._dispatcher.clock()
        attribution = self._dispatcher.attribution
        return attribution.asks_another(copy, self._ids, oddity, status=answer.status, on=on, now=now)

    def _blame(self, odd: Attempt, what: str, good: Attempt) -> None:
        """An answer stood out, and a sibling gave a good one to the same request."""
        proved = replace(
            odd, verdict=Fault.COPY, detail=f"{odd.detail or what}; {good.endpoint} answered the same request well"
        )
        self._attempts = [proved if attempt is odd else attempt for attempt in self._attempts]
        self._dispatcher.attribution.proved(self._request.function, odd.endpoint)

    def _note(self, call: InFlightAttempt, error: ProviderError) -> None:
        failure, function = error.failure, self._request.function
        attribution, waited_ms = self._dispatcher.attribution, (self._dispatcher.stopwatch() - call.start_s) * 1000
        verdict, detail = attribution.fault_of(call.copy, failure, error.verdict), error.detail
        if failure is Failure.TIMED_OUT and self._is_hurried() and waited_ms < fair_ms(call.candidate):
            # A caller that leaves too little time says nothing of a copy that would have taken what it always takes.
            verdict, detail = Fault.CALLER, f"{detail}; {fair_ms(call.candidate):.0f} ms would have been fair"
        else:
            self._dispatcher.on_trouble(function)
        self._failed.append(
            Failed(
                endpoint=call.candidate.endpoint, failure=failure, retry_after_s=error.retry_after_s, verdict=verdict
            )
        )
        self._keep(call, failure=failure, verdict=verdict, detail=detail)
        if failure in COUNTED and verdict is not Fault.CALLER:
            now = self._dispatcher.clock()
            caller = tenant_hash(self._request.tenant)
            attribution.ended(call.copy, self._ids, oddity=failure.value, shape="", now=now, caller=caller)
            self._end_sooner()
        if not may_follow(failure, on=self._policy.fail_over_on, may_repeat=self._may_repeat):
            self._left.clear()
        # Nothing was sent, and there is no other copy: the same endpoint once more, out of the budget for tries that
        # can multiply load.
        elif failure is Failure.UNREACHABLE and self._started == 1 and not self._left and self._dispatcher.may_try():
            self._left.append(call.candidate)

    def _is_hurried(self) -> bool:
        """Whether the caller leaves less time than the policy gives: what the operator set is for the copy to keep."""
        given_ms = (self._request.deadline_at - self._request.received_at).total_seconds() * 1000
        return given_ms < HURRIED * self._policy.timeout_ms

    def _end_sooner(self) -> None:
        """A copy failed: those that are silent are not waited for as long as there is time."""
        patience_s = give_up_ms(self._candidates[: self._policy.max_attempts]) / 1000
        self._ends_s = min(self._ends_s, self._dispatcher.stopwatch() + patience_s)
        for call in self._in_flight:
            call.end_s = min(call.end_s, max(call.late_s, self._ends_s))

    def _keep(
        self,
        call: InFlightAttempt,
        *,
        answer: FunctionAnswer | None = None,
        failure: Failure | None = None,
        verdict: Fault | None = None,
        detail: str = "",
    ) -> Attempt:
        candidate = call.candidate
        attempt = Attempt(
            endpoint=candidate.endpoint.id,
            started_at=call.started_at,
            latency_ms=(self._dispatcher.stopwatch() - call.start_s) * 1000,
            answer=answer,
            failure=failure,
            verdict=verdict,
            detail=detail,
            expected_ms=candidate.prediction.latency_ms,
            is_hedge=call.is_hedge,
        )
        self._attempts.append(attempt)
        return attempt

    def _see_to_time(self, now_s: float) -> None:
        """Calls become late, and those that outlive their own time-out are not waited for."""
        for call in list(self._in_flight):
            if not call.is_late and now_s >= call.late_s:
                call.is_late = True
                self._dispatcher.on_trouble(self._request.function)
            if now_s >= call.end_s + OVERDUE_S:
                self._in_flight.remove(call)
                self._note(call, ProviderError(Failure.TIMED_OUT, "no answer in time"))

    def _hedge_s(self) -> float | None:
        """When the one call under way is to be hedged; None when it is not."""
        if not self._can_hedge or len(self._in_flight) != 1 or self._in_flight[0].is_late:
            return None
        return self._in_flight[0].hedge_s

    def _hedge(self) -> None:
        """Begin a second copy with the next candidate that is well, if there is one and the budget allows it."""
        (slow,), now = self._in_flight, self._dispatcher.clock()
        first = constraints.tier_of(slow.candidate.endpoint.id, self._policy.tiers)
        well = [
            candidate
            for candidate in self._left
            if not self._breakers.get(candidate.endpoint.id, CLOSED).is_unavailable(now)
            and constraints.tier_of(candidate.endpoint.id, self._policy.tiers) <= first
        ]
        may_start = bool(well) and self._started < self._policy.max_attempts
        if may_start and self._dispatcher.may_hedge(is_urgent=slow.is_urgent):
            self._can_hedge = False
            self._left.remove(well[0])
            self._start(well[0], is_hedge=True)
        elif may_start and not slow.is_urgent and slow.hedge_s is not None:  # a little later the reserve may be used
            slow.is_urgent, slow.hedge_s = True, slow.start_s + URGENT * (slow.hedge_s - slow.start_s)
            return
        self._can_hedge = False
        self._dispatcher.on_trouble(self._request.function)

    def _why_given_up(self, call: InFlightAttempt, answered: InFlightAttempt | None) -> Failure:
        """What a call is noted as that is not waited for any more."""
        waited_ms = (self._dispatcher.stopwatch() - call.start_s) * 1000
        # one that a later call overtook says something of its endpoint, one that was not needed any more nothing
        if answered is None or waited_ms >= slow_call_ms(call.candidate):
            return Failure.TIMED_OUT
        return Failure.OVERTAKEN if answered.start_s > call.start_s else Failure.NOT_NEEDED

    def _give_up(self, answered: InFlightAttempt | None) -> None:
        """End what is still under way, and tell the breakers how it all went."""
        for call in self._in_flight:
            self._note(call, ProviderError(self._why_given_up(call, answered), "given up"))
        # What goes back stands last: the good answer, or the first of those that stand out. Stable: the others stay in
        # the order in which they ended.
        last = self._good or (self._odd[0][0] if self._odd else None)
        self._attempts.sort(key=lambda attempt: attempt is last)
        function, now = self._request.function, self._dispatcher.clock()
        if self._failed:
            self._dispatcher.breakers.failed(function, self._failed, now, tenant_hash(self._request.tenant))
        if self._good is not None and answered is not None:
            endpoint, said = answered.candidate.endpoint, self._good.answer
            if said is not None and is_refusal(said.status):  # a caller's mistake proves nothing of who tells of it
                self._dispatcher.breakers.undecided(function, [endpoint], now)
            else:
                self._dispatcher.breakers.answered(function, endpoint, now)
        elif self._odd:
            odd = [attempt.endpoint for attempt, _ in self._odd]
            # Somebody answered, which is no proof that it is well: a probe is left undecided.
            self._dispatcher.breakers.undecided(
                function, [c.endpoint for c in self._called if c.endpoint.id in odd], now
            )
            if len({oddity for _, oddity in self._odd}) < len(odd):
                self._dispatcher.attribution.answered_alike(function, odd, self._odd[0][1], now)


def fair_ms(candidate: RankedCandidate) -> float:
    """What a call must be given, or its end without an answer says nothing of its copy."""
    return TIMES_P99 * p99_ms(candidate.prediction) + _cold_allowance_ms(candidate.prediction)


def slow_call_ms(candidate: RankedCandidate) -> float:
    """When a call is late, so that another endpoint is tried beside it if the request may run twice."""
    return max(LEAST_SLOW_MS, TIMES_P99 * p99_ms(candidate.prediction))


def attempt_timeout_ms(candidate: RankedCandidate) -> float:
    """When a call is cut off to try another endpoint, where calls cannot run beside each other."""
    return slow_call_ms(candidate) + _cold_allowance_ms(candidate.prediction)


def give_up_ms(candidates: Sequence[RankedCandidate]) -> float:
    """When a request is given up whose copies are all late, for the candidates that may be tried, the first one first.

    Starts are allowed for only where every one of them may have to start.
    """
    start_ms = min(_cold_allowance_ms(candidate.prediction) for candidate in candidates)
    return max(LEAST_GIVE_UP_MS, GIVE_UP_TIMES_P99 * p99_ms(candidates[0].prediction)) + start_ms


def hedge_ms(candidate: RankedCandidate) -> float | None:
    """When a hedge begins: after the predicted 95th percentile of a warm call. None while nobody knows that.

    A start that is likely is no reason to wait for it: the budget says how often that may be hedged.
    """
    spread = candidate.prediction.spread
    return max(LEAST_HEDGE_MS, spread._replace(cold=0.0).quantile(0.95)) if spread else None


def p99_ms(prediction: Prediction) -> float:
    """The predicted 99th percentile of a warm call; without a spread, a multiple of the mean that few calls pass."""
    spread = prediction.spread
    return spread._replace(cold=0.0).quantile(0.99) if spread else 2 * prediction.latency_ms


def _cold_allowance_ms(prediction: Prediction) -> float:
    return COLD_ALLOWANCE_MS if prediction.features[_IDLE] > IDLE_S else 0.0
