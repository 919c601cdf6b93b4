"""Orchestrating: one request from its arrival to its record. Decide first, act second, record last.

what is known -> decide -> open the record -> dispatch -> close the record -> answer
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING

from fiso.billing.measured_use import UseKept
from fiso.billing.tariff import Tariff
from fiso.domain import trace
from fiso.domain.attempt import Outcome
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.decision import Decision, Reason
from fiso.domain.endpoint import EndpointId
from fiso.domain.errors import (
    AnswerTooLarge,
    DeadlinePassed,
    EveryAttemptFailed,
    NothingAvailable,
    RejectedByProvider,
    RoutingError,
    UnknownOutcome,
)
from fiso.domain.policy import Mode
from fiso.domain.record import InvocationRecord, OpenRecord, ShadowSummary
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.domain.state import EndpointState
from fiso.domain.steering import CHALLENGER, CHAMPION, ArmDraw
from fiso.domain.trace import Traced, WrittenBefore
from fiso.ports import Clock, Metrics
from fiso.prediction.artifact import Model
from fiso.routing import affinity, reported
from fiso.routing.equivalence import Quarantine
from fiso.services.freshness.decision_sources import DecisionSources
from fiso.services.log.spill import SpillingLog
from fiso.services.request import recording
from fiso.services.request.decide import DecisionInputs, RankingCache, decide
from fiso.services.request.decision_cache import DecisionCache
from fiso.services.resilience.breakers import BreakerSync, effective_breakers
from fiso.services.resilience.dispatch import Dispatcher
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.breaker import CLOSED, Breaker
from fiso_client.core.failures import CALLERS_FAULT, Fault

if TYPE_CHECKING:
    from fiso.services.freshness.tokens_ahead import TokensAhead
    from fiso.services.resilience.shadowing import Shadowing

HEARD_S, HEARD_WITHIN_S = 2.0, 0.02
"""How old a function's states may be when a request is called that must not be repeated, and how much longer than for
its intent it may wait for newer ones: they are read beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingResult:
    """What became of a request. `error` is set when there is no function's answer to pass on; `affinity_cookie` is a
    `set-cookie` for the answer, where a session begins or moves."""

    request: InvocationRequest
    decision: Decision | None
    outcome: Outcome
    record: InvocationRecord
    error: RoutingError | None
    affinity_cookie: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestrator:
    """The request path. `draw` gives uniform numbers in [0, 1); `stopwatch` seconds, monotonic."""

    sources: DecisionSources
    dispatcher: Dispatcher
    log: SpillingLog
    metrics: Metrics
    tariff: Tariff
    clock: Clock
    draw: Callable[[], float]
    stopwatch: Callable[[], float] = perf_counter
    cache: RankingCache = field(default_factory=DecisionCache)
    use: UseKept = field(default_factory=UseKept)
    region: str | None = None
    breaker_sync: BreakerSync | None = None
    can_return: Callable[[FunctionAnswer], bool] = lambda _: True
    quarantine: Quarantine = field(default_factory=Quarantine)
    shadowing: "Callable[[], Shadowing] | None" = None
    tokens: "TokensAhead | None" = None
    traced_share: float | None = None
    """Of requests whose caller has no trace of its own (`domain.trace`); None traces none, and hands on what came."""
    written: list[WrittenBefore] = field(default_factory=list)
    """What the next record tells of the write of the last traced one."""
    kept_ms: list[float] = field(default_factory=list)
    """And what keeping its answer took, where it had a key."""

    def route(self, request: InvocationRequest, snapshot: Snapshot | None = None) -> RoutingResult:
        """Decide, call, record. Raises `UnknownFunction` before anything is logged; later failures are in `error`.
        `snapshot` is the catalog that the request has begun with, if it has."""
        start = self.stopwatch()
        if self.traced_share is not None:
            parent = request.headers.get("traceparent")
            request = replace(request, traced=trace.begun(parent, request.invocation_id, self.traced_share))
        inputs = self.inputs(request, snapshot, calls=True)
        request = within(inputs, request)
        try:
            decision = decide(request, inputs, now=request.received_at, draw=self.draw(), cache=self.cache)
        except NothingAvailable as error:
            return self._finish(request, inputs, None, Outcome(attempts=()), error, start)
        policy = inputs.entry.policy
        is_single = not policy.lets_repeat(request.idempotency_key, is_safe=request.is_safe)
        known = self.sources.known_states(request.function)
        if is_single:
            self.sources.hurry(request.function, oldest_s=HEARD_S)
        decided_s = self.stopwatch()
        if is_single:
            # Before anything is called: an environment that dies in between leaves an open record, which the keeper
            # closes as unknown. What may be repeated needs none (docs/decisions/0030).
            self._open(request)
        if request.traced is not None:
            took_ms, opened_ms = (decided_s - start) * 1000, (self.stopwatch() - decided_s) * 1000
            request = replace(request, traced=replace(request.traced, decided_ms=took_ms, opened_ms=opened_ms))
        if is_single and self.sources.newer_states(request.function, known, at_most_s=HEARD_WITHIN_S):
            inputs, decision = self._reconsidered(request, inputs, decision)
        self.sources.refresh_in_background(request.function)
        self.refresh_breakers()
        self.log.refresh_in_background()
        shadow = None
        if policy.shadow.share and self.shadowing:
            shadow = self.shadowing().begin(request, decision, policy, inputs.tariff)
        outcome = self.dispatcher.dispatch(decision, request, policy, inputs.breakers)
        shadowed = shadow.end(outcome) if shadow else None
        # Lambda freezes the environment once it has answered, so nothing may be left to run
        # (docs/decisions/0017-what-is-cached.md).
        self.sources.await_pending()
        if self.tokens is not None:
            self.tokens.await_pending()
        return self._finish(request, inputs, decision, outcome, self._failure(outcome), start, shadowed)

    def _reconsidered(
        self, request: InvocationRequest, inputs: DecisionInputs, decision: Decision
    ) -> tuple[DecisionInputs, Decision]:
        """Decided again where others have meanwhile found the chosen copy at fault: of what cannot be repeated, each
        environment that does not know would lose a request of its own."""
        news = self.inputs(request)
        if not news.breakers.get(decision.chosen.endpoint.id, CLOSED).is_unavailable(self.clock()):
            return inputs, decision
        try:
            return news, decide(request, news, now=request.received_at, draw=self.draw(), cache=self.cache)
        except NothingAvailable:
            return inputs, decision

    def explain(self, request: InvocationRequest) -> Decision:
        """The decision that `route` would act on now. Nothing is invoked, nothing logged."""
        inputs = self.inputs(request)
        return decide(within(inputs, request), inputs, now=request.received_at, draw=self.draw())

    def inputs(
        self, request: InvocationRequest, snapshot: Snapshot | None = None, *, calls: bool = False
    ) -> DecisionInputs:
        """What is decided with. `calls`: one of the endpoints will be called."""
        if snapshot is None:
            self.prefetch()
            snapshot = self.sources.snapshot()
        elif self.breaker_sync is not None:
            self.breaker_sync.prefetch()
        entry = snapshot.entry_at(request.function, request.received_at)  # a pin may be over
        if not entry.policy.admits(request.tenant):
            raise snapshot.unknown(request.function)
        if calls and self.tokens is not None:
            self.tokens.begin(entry.endpoints)
        states = self.sources.states(request.function)
        entry = self.quarantine.entry(entry, states)
        used = self.use.of(entry, states, request.received_at, self.region)
        model, arm = self._model_for(request, entry)
        return DecisionInputs(
            entry=entry,
            snapshot_version=snapshot.version,
            tariff=self.tariff.under(entry.prices, used),
            used=used,
            states=self.sources.states_for(request.function, states, request.tenant),
            breakers=self.breakers_of(entry, states, request.tenant),
            model=model,
            router_region=self.region,
            arm=arm,
        )

    def _model_for(self, request: InvocationRequest, entry: CatalogEntry) -> tuple[Model | None, ArmDraw | None]:
        """The champion; or during a trial the challenger, for its share of the requests."""
        model, trial = self.sources.model(), self.sources.trial(request.received_at)
        if trial is None or entry.policy.mode is not Mode.ROUTE:
            return model, None
        is_drawn = trial.is_drawn(request=request.invocation_id, tenant=request.tenant)
        arm = ArmDraw(
            run=trial.terms.salt,
            arm=CHALLENGER if is_drawn else CHAMPION,
            latency_weight=entry.policy.latency_weight,
        )
        return trial.model if is_drawn else model, arm

    def prefetch(self) -> None:
        """A request begins: start all first reads beside each other."""
        self.sources.prefetch()
        if self.breaker_sync is not None:
            self.breaker_sync.prefetch()
        if self.tokens is not None:
            self.tokens.begin()

    def refresh_breakers(self) -> None:
        """Start reading what others tell of breakers; it is awaited with the other reads."""
        if self.breaker_sync is not None:
            self.breaker_sync.refresh_in_background()

    def breakers_of(
        self, entry: CatalogEntry, states: Mapping[EndpointId, EndpointState], tenant: TenantId
    ) -> Mapping[EndpointId, Breaker]:
        """The breakers that hold for a tenant's requests, with what others told and all environments saw together."""
        dispatcher, caller = self.dispatcher, reported.tenant_hash(tenant)
        return effective_breakers(
            dispatcher.breakers, dispatcher.attribution, self.breaker_sync, entry, states, self.clock(), caller
        )

    def _failure(self, outcome: Outcome) -> RoutingError | None:
        """Told before the record is closed: what the caller gets and what is logged are one thing."""
        answer = outcome.answer
        if answer is None:
            return failure_of(outcome)
        if self.can_return(answer):
            return None
        return AnswerTooLarge(f"the function answered {len(answer.body)} bytes, more than can be returned")

    def _open(self, request: InvocationRequest) -> None:
        intent = OpenRecord(
            invocation_id=request.invocation_id,
            timestamp=request.received_at,
            request=recording.request_summary(request),
            deadline_at=request.deadline_at,
        )
        self.log.open(intent)

    def _finish(
        self,
        request: InvocationRequest,
        inputs: DecisionInputs,
        decision: Decision | None,
        outcome: Outcome,
        error: RoutingError | None,
        start: float,
        shadowed: ShadowSummary | None = None,
    ) -> RoutingResult:
        elapsed_ms = (self.stopwatch() - start) * 1000
        record = recording.record_of(request, inputs, decision, outcome, error=error, elapsed_ms=elapsed_ms)
        if shadowed is not None and self.shadowing is not None:
            record = self.shadowing().noted(record, shadowed, inputs.entry)
        if self.written:
            kept_ms = self.kept_ms.pop() if self.kept_ms else None
            told = replace(record.request, written_before=self.written.pop(), kept_before_ms=kept_ms)
            record = replace(record, request=told)
        written_s = self.stopwatch() if request.traced is not None else 0.0
        self.log.close(record)
        if request.traced is not None:
            self._note_write(request.traced, record, written_s, elapsed_ms)
        recording.count(self.metrics, record, lambda id: inputs.entry.endpoint(id).provider)
        recording.count_objectives(self.metrics, record, inputs.entry.policy.objectives)
        cookie = _affinity_cookie(request, inputs, decision, outcome)
        return RoutingResult(
            request=request, decision=decision, outcome=outcome, record=record, error=error, affinity_cookie=cookie
        )

    def _note_write(self, traced: Traced, record: InvocationRecord, began_s: float, elapsed_ms: float) -> None:
        took_ms = (self.stopwatch() - began_s) * 1000
        at = record.timestamp + timedelta(milliseconds=elapsed_ms)
        before = WrittenBefore(trace_id=traced.trace_id, invocation_id=record.invocation_id, at=at, took_ms=took_ms)
        self.written[:], self.kept_ms[:] = [before], []  # one at most

    def note_kept(self, invocation_id: InvocationId, took_ms: float) -> None:
        """What keeping an answer under its key took, after the record was written."""
        if self.written and self.written[0].invocation_id == invocation_id:
            self.kept_ms[:] = [took_ms]


def _affinity_cookie(
    request: InvocationRequest, inputs: DecisionInputs, decision: Decision | None, outcome: Outcome
) -> str | None:
    """The cookie that keeps a session where it was answered, unless it has one that says so already."""
    rules = inputs.entry.policy.affinity
    if rules is None or rules.cookie is None or decision is None or outcome.answer is None:
        return None
    if decision.reason in _NO_SESSION:  # where everybody is sent is no session's own place
        return None
    answered = outcome.attempts[-1].endpoint
    if decision.is_sticky and decision.chosen.endpoint.id == answered:
        return None
    return affinity.cookie_for(rules, answered, request)


_NO_SESSION = frozenset({Reason.POLICY, Reason.CONTROL})


def within(inputs: DecisionInputs, request: InvocationRequest) -> InvocationRequest:
    """The request with its deadline bounded by the policy's timeout."""
    latest: datetime = request.received_at + timedelta(milliseconds=inputs.entry.policy.timeout_ms)
    return replace(request, deadline_at=latest) if latest < request.deadline_at else request


def failure_of(outcome: Outcome) -> RoutingError:
    """What to tell the caller when no attempt was answered, and whose fault it was: the first attempt's, of those that
    may have run where any did."""
    error = _failure_of(outcome)
    ran = [attempt for attempt in outcome.attempts if attempt.may_have_run] or list(outcome.attempts)
    error.verdict = ran[0].verdict if ran else Fault.FISO
    return error


def _failure_of(outcome: Outcome) -> RoutingError:
    trail = "; ".join(f"{a.endpoint}: {a.failure} ({a.detail})" for a in outcome.attempts) or "no attempt was made"
    if outcome.deadline_passed:
        return DeadlinePassed(f"the deadline passed: {trail}", unknown_outcome=outcome.may_have_run)
    if outcome.is_unknown and not outcome.may_repeat:
        return UnknownOutcome(f"it may have run and must not be run again: {trail}")
    if outcome.may_have_run:
        return EveryAttemptFailed(f"every attempt failed: {trail}")
    if outcome.attempts and (
        outcome.attempts[-1].failure in CALLERS_FAULT or all(each.verdict is Fault.CALLER for each in outcome.attempts)
    ):
        return RejectedByProvider(f"a cloud refused the request: {trail}")
    return NothingAvailable(f"no attempt can have run: {trail}")
