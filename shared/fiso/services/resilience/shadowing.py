"""Shadowing: a sampled share of requests is answered by a sibling as well, and the two answers are compared.

Only requests that may be run again, never one that is deduplicated by its key (the second copy would be answered from
the store, or be refused), and none with a large body. The sibling's call begins beside the real one and its answer is
waited for a bounded time after the real one, since Lambda freezes what is left to run; nobody gets it, and neither a
breaker nor a latency learns of it. Of two that differ a third copy, where there is one, says which is the odd one.
Errors are no differences: whose fault they are is judged elsewhere.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from fiso.billing.tariff import Tariff
from fiso.domain.attempt import Outcome
from fiso.domain.catalog import CatalogEntry
from fiso.domain.decision import Decision, RankedCandidate, Reason
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.equivalence import LARGEST_PARSED, Comparable, Difference, Ignored, agreement, first_difference
from fiso.domain.policy import Idempotent, Policy, Shadow
from fiso.domain.record import InvocationRecord, ShadowOutcome, ShadowSummary
from fiso.domain.request import InvocationRequest
from fiso.ports import Metrics
from fiso.services.resilience.dispatch import Dispatcher
from fiso.services.resilience.executors import AttemptExecutor, Running
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import NEVER_RAN, ProviderError

LARGEST_BODY = 64 * 1024
"""Bytes of a request that is shadowed."""
LONGEST_S = 5.0
"""A shadow call is given up by its own time-out; nobody waits that long."""
THIRD_S = 1.0
"""How long a caller may wait for the third copy, which is asked only when two differ."""
MINUTE_S = 60.0
MOST_RUNNING = 4
"""Shadow calls under way at once. They share threads with the real ones, which a silent sibling must not use up."""
MARK = "x-fiso-shadow"
"""Tells a function that nobody gets this answer."""

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Shadowing:
    """Begins shadow calls, within each function's budget. Belongs to one execution environment; `draw` gives uniform
    numbers in [0, 1)."""

    dispatcher: Dispatcher
    metrics: Metrics
    draw: Callable[[], float]
    begun: dict[FunctionName, deque[float]] = field(default_factory=dict)
    """When the calls of the last minute began."""
    running: list[Running] = field(default_factory=list)

    def begin(
        self, request: InvocationRequest, decision: Decision, policy: Policy, tariff: Tariff
    ) -> "ShadowedRequest | None":
        """Call a sibling of the chosen endpoint, if this request is drawn; None where it is not. `tariff` prices it."""
        calls, shadow = self.dispatcher.concurrent, policy.shadow
        if calls is None or self.draw() >= shadow.share or not may_shadow(request, decision, policy):
            return None
        siblings = [candidate for candidate in decision.ranking[1:] if not candidate.is_deprioritised]
        if not siblings or not self.may_call(request.function, shadow):
            return None
        first = siblings.pop(int(self.draw() * len(siblings)))
        others = [*siblings, decision.chosen]
        return ShadowedRequest(self, calls, request, shadow, tariff=tariff, first=first, others=others)

    def may_call(self, function: FunctionName, shadow: Shadow) -> bool:
        """Whether the budget has a call left, which is then spent, and not too many are still under way."""
        if self._under_way() >= MOST_RUNNING:
            return False
        recent = self.begun.setdefault(function, deque())
        now_s = self.dispatcher.stopwatch()
        while recent and now_s - recent[0] >= MINUTE_S:
            recent.popleft()
        if len(recent) >= shadow.per_minute:
            return False
        recent.append(now_s)
        return True

    def started(self, running: Running) -> Running:
        """Note a call that is under way."""
        self.running.append(running)
        return running

    def _under_way(self) -> int:
        left = [running for running in self.running if not running.done()]
        if left and self.dispatcher.concurrent is not None:
            self.dispatcher.concurrent.wait(left, 0.0)
        self.running = [running for running in left if not running.done()]
        return len(self.running)

    def noted(self, record: InvocationRecord, summary: ShadowSummary, entry: CatalogEntry) -> InvocationRecord:
        """The record with what the shadow call came to, its cost included. Counted by the sibling's provider; a
        difference by the odd one's."""
        provider = entry.endpoint(summary.endpoint).provider.value
        if summary.outcome is ShadowOutcome.UNFINISHED:
            self.metrics.add("ShadowUnfinished", 1, "Count", provider=provider)
        else:
            self.metrics.add("ShadowCompared", 1, "Count", provider=provider)
        if summary.outcome is ShadowOutcome.DIFFERS:
            odd = entry.endpoint(summary.odd).provider.value if summary.odd else "undecided"
            self.metrics.add("ShadowDiffered", 1, "Count", provider=odd)
        cost_usd = record.result.cost_usd
        whole_usd = None if cost_usd is None else cost_usd + (summary.cost_usd or 0.0)
        return replace(record, shadow=summary, result=replace(record.result, cost_usd=whole_usd))


class ShadowedRequest:
    """One request with its call beside, from the beginning to the comparison."""

    def __init__(
        self,
        shadowing: Shadowing,
        calls: AttemptExecutor,
        request: InvocationRequest,
        shadow: Shadow,
        *,
        tariff: Tariff,
        first: RankedCandidate,
        others: list[RankedCandidate],
    ) -> None:
        self._shadowing, self._calls, self._shadow, self._tariff = shadowing, calls, shadow, tariff
        self._request = replace(request, headers={**request.headers, MARK: "1"}, may_repeat=True)
        self._first, self._others = first, others
        self._third: RankedCandidate | None = None
        self._ignored = Ignored(pointers=shadow.ignore, headers=shadow.ignore_headers)
        self._cost_usd = 0.0
        self._running = self._begin(first)

    def end(self, outcome: Outcome) -> ShadowSummary:
        """Wait for the sibling's answer, not for long, and compare it with the real one."""
        answered = outcome.attempts[-1].endpoint if outcome.attempts else None
        real, why = _fair(outcome.answer)
        shadowed: FunctionAnswer | None = None
        if real is not None and answered == self._first.endpoint.id:
            why = "the sibling answered itself"
        elif real is not None:
            shadowed, why = self._answer(self._first, self._running, self._shadow.wait_ms / 1000)
        if real is None or shadowed is None or answered is None:
            return self._summary(ShadowOutcome.UNFINISHED, why)
        copies = {
            answered: Comparable(real, self._ignored),
            self._first.endpoint.id: Comparable(shadowed, self._ignored),
        }
        one, other = copies.values()
        found = first_difference(one, other, self._ignored)
        if found is None:
            return self._summary(ShadowOutcome.EQUAL)
        if max(len(real.body), len(shadowed.body)) > LARGEST_PARSED and found.place.startswith("body"):
            return self._summary(ShadowOutcome.UNFINISHED, "the body is too large")
        return self._decided(copies, found)

    def _decided(self, copies: dict[EndpointId, Comparable], found: Difference) -> ShadowSummary:
        """Two copies differ: ask a third one."""
        third = next((each for each in self._others if self._may_be_third(each, copies)), None)
        if third is None or not self._shadowing.may_call(self._request.function, self._shadow):
            return self._summary(ShadowOutcome.DIFFERS, found.place)
        answer, _ = self._answer(third, self._begin(third), THIRD_S)
        if answer is None:
            return self._summary(ShadowOutcome.DIFFERS, found.place)
        self._third = third
        asked = [*copies.items(), (third.endpoint.id, Comparable(answer, self._ignored))]
        odd = agreement(dict(asked), self._ignored).odd
        return self._summary(ShadowOutcome.DIFFERS, found.place, odd=EndpointId(odd[0]) if odd else None)

    def _may_be_third(self, candidate: RankedCandidate, copies: dict[EndpointId, Comparable]) -> bool:
        return candidate.endpoint.id not in copies and not candidate.is_deprioritised

    def _begin(self, candidate: RankedCandidate) -> Running:
        timeout_s = max(0.0, min(LONGEST_S, self._left_s()))
        caller = self._shadowing.dispatcher.caller
        call = partial(caller.call, candidate.endpoint, self._request, timeout_ms=timeout_s * 1000)
        return self._shadowing.started(self._calls.begin(call))

    def _answer(self, candidate: RankedCandidate, running: Running, wait_s: float) -> tuple[FunctionAnswer | None, str]:
        """The answer of a copy, or why there is none that can be compared; what it costs is noted either way."""
        self._calls.wait([running], max(0.0, min(wait_s, self._left_s())))
        error = running.exception() if running.done() else None
        answer = running.result() if running.done() and error is None else None
        if not (isinstance(error, ProviderError) and error.failure in NEVER_RAN):
            self._cost_usd += self._price(candidate, answer)
        if isinstance(error, ProviderError):
            return None, error.failure.value
        if error is not None:  # the real answer is there and must not be lost for this
            logger.error("a shadow call failed unexpectedly", exc_info=error)
            return None, "error"
        return _fair(answer) if answer is not None else (None, "no answer in time")

    def _price(self, candidate: RankedCandidate, answer: FunctionAnswer | None) -> float:
        """By what the provider billed, else by what was predicted: no function's word makes its shadows cheaper."""
        billed_ms = answer.billed_ms if answer and not answer.is_own_word else None
        predicted_ms = candidate.prediction.latency_ms
        is_cold = answer is not None and answer.cold is True
        usd = self._tariff.cost_usd(candidate.endpoint, predicted_ms, billed_ms=billed_ms, is_cold=is_cold)
        return usd or 0.0

    def _left_s(self) -> float:
        return (self._request.deadline_at - self._shadowing.dispatcher.clock()).total_seconds()

    def _summary(
        self, outcome: ShadowOutcome, place: str | None = None, *, odd: EndpointId | None = None
    ) -> ShadowSummary:
        return ShadowSummary(
            endpoint=self._first.endpoint.id,
            outcome=outcome,
            place=place,
            third=self._third.endpoint.id if self._third else None,
            odd=odd,
            cost_usd=self._cost_usd,
        )


def may_shadow(request: InvocationRequest, decision: Decision, policy: Policy) -> bool:
    """Whether a request may be run a second time on another copy at once, and is worth it. Control blocks stay as they
    are: a second copy would warm what they measure."""
    may_run_twice = policy.idempotent is Idempotent.YES or (request.is_safe and policy.repeats_safe_methods)
    return may_run_twice and len(request.body) <= LARGEST_BODY and decision.reason is not Reason.CONTROL


def _fair(answer: FunctionAnswer | None) -> tuple[FunctionAnswer | None, str]:
    """An answer that can be compared: no error of the server's, which is judged as an error."""
    if answer is None:
        return None, "no answer"
    if answer.is_function_error or answer.status >= 500 or answer.status == 429:
        return None, f"status {answer.status}"
    return answer, ""
