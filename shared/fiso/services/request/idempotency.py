"""Idempotent routing: a request with a key is run once, and every repetition of it gets the first answer.

claim the key -> run -> keep the answer. Imported when the first key is seen; a request without one never comes here.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeVar

from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import (
    AllowanceSpent,
    IdempotencyUnavailable,
    KeyInUse,
    KeyReused,
    RequestError,
    RoutingError,
    StoreError,
    StoreUnavailable,
    WriteConflict,
)
from fiso.domain.idempotency import Entry, KeptAnswer, Verdict, claim_of, judge
from fiso.domain.policy import OnKeyStoreLoss, Policy
from fiso.domain.request import InvocationId, InvocationRequest
from fiso.ports import Clock, IdempotencyKeys, Metrics

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came of running a request. Where nothing can have run, the answer is not kept and the key is free again.
    `unkept` is kept in place of an answer for which its tenant has no room left."""

    answer: KeptAnswer
    may_have_run: bool
    unkept: KeptAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedAnswer:
    """What a caller gets, and from which invocation. `is_replay`: an earlier request got it already; `is_unkeyed`: no
    key protected it."""

    answer: KeptAnswer
    invocation_id: InvocationId
    is_replay: bool
    is_unkeyed: bool = False


Run = Callable[[InvocationRequest], RunResult]
"""Routes a request. A `RequestError` or `RoutingError` that it raises says that nothing was run."""
Unknown = Callable[[InvocationId], KeptAnswer]
"""The answer for an invocation of which nobody knows what became."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRouting:
    """Answers requests that carry a key. `policy_of` raises `UnknownFunction`, before a key is claimed. `quorum` holds
    the keys of functions that ask for a `second_store`; without it they are held like all others. `note_kept` is told
    what keeping an answer took, in milliseconds."""

    keys: IdempotencyKeys
    policy_of: Callable[[FunctionName], Policy]
    clock: Clock
    metrics: Metrics
    quorum: Callable[[], IdempotencyKeys] | None = None
    stopwatch: Callable[[], float] = perf_counter
    note_kept: Callable[[InvocationId, float], object] = lambda _id, _ms: None

    def answer(self, request: InvocationRequest, *, run: Run, unknown: Unknown) -> KeyedAnswer:
        """Run it, or give the answer that stands. `KeyInUse`, `KeyReused`, or `IdempotencyUnavailable`; in all three
        cases nothing was run."""
        policy = self.policy_of(request.function)
        if policy.on_key_store_loss is OnKeyStoreLoss.SECOND_STORE and self.quorum is not None:
            held_by_most = replace(self, keys=self.quorum(), quorum=None)
            return held_by_most.answer(request, run=run, unknown=unknown)
        may_repeat = policy.lets_repeat(request.idempotency_key, is_safe=request.is_safe)
        claim = claim_of(request, now=self.clock(), timeout_ms=policy.timeout_ms)
        over: InvocationId | None = None
        began_s = self.stopwatch()
        while True:
            try:
                standing = _insist(lambda: self.keys.claim(claim, over=over))  # noqa: B023 - called here and now
            except StoreError as error:
                if over is None and policy.on_key_store_loss is OnKeyStoreLoss.RUN_ONCE_UNKEYED:
                    return self._run_unkeyed(claim, request, run)
                self._release(claim)  # it may have been written after all
                # Without a claim nothing is run: going on would break the promise exactly when the caller relies on it
                # (docs/decisions/0009-idempotency-keys.md).
                raise IdempotencyUnavailable(
                    "the store of idempotency keys is unavailable and nothing was run; repeat with the same key"
                ) from error
            if standing is None:
                claimed_ms = (self.stopwatch() - began_s) * 1000
                return self._run(claim, replace(request, claimed_ms=claimed_ms), run)
            verdict = judge(standing, claim, now=self.clock(), may_repeat=may_repeat)
            # The claim is taken over by a second conditional put that names whom it replaces, so of many that find the
            # dead one exactly one wins, and the others see the winner's claim.
            if verdict is not Verdict.TAKE_OVER or standing.invocation_id == over:
                return self._settled(standing, verdict, unknown)
            over = standing.invocation_id

    def _run(self, claim: Entry, request: InvocationRequest, run: Run) -> KeyedAnswer:
        try:
            ran = run(request)
        except (RequestError, RoutingError):
            self._release(claim)
            raise
        if not ran.may_have_run:
            self._release(claim)
        else:
            began_s = self.stopwatch()
            overtaken = self._complete(replace(claim, answer=ran.answer), ran.unkept)
            self.note_kept(claim.invocation_id, (self.stopwatch() - began_s) * 1000)
            if overtaken is not None:
                return overtaken
        return KeyedAnswer(answer=ran.answer, invocation_id=claim.invocation_id, is_replay=False)

    def _run_unkeyed(self, claim: Entry, request: InvocationRequest, run: Run) -> KeyedAnswer:
        """Run it, as the policy has chosen. The claim may stand after all, or the store be back: then the answer is
        kept, for repetitions to come."""
        logger.warning("%s runs unprotected, the table of idempotency keys does not answer", claim.invocation_id)
        self.metrics.add("IdempotencyUnprotected", 1, "Count")
        try:
            ran = run(replace(request, is_unkeyed=True))
        except (RequestError, RoutingError):
            self._release(claim)
            raise
        if ran.may_have_run:
            self._keep_late(claim, ran)
        else:
            self._release(claim)
        return KeyedAnswer(answer=ran.answer, invocation_id=claim.invocation_id, is_replay=False, is_unkeyed=True)

    def _keep_late(self, claim: Entry, ran: RunResult) -> None:
        try:
            standing = self.keys.claim(claim)
        except StoreError:
            return
        if standing is None:
            self._complete(replace(claim, answer=ran.answer), ran.unkept)
        else:
            logger.warning("the key of %s was used before: it may have run again", claim.invocation_id)

    def _complete(self, entry: Entry, unkept: KeptAnswer | None = None) -> KeyedAnswer | None:
        """Keep the answer. Another one's answer when this claim was taken for dead meanwhile: all get the same."""
        try:
            _insist(lambda: self.keys.complete(entry))
        except WriteConflict:
            return self._of_another(entry)
        except AllowanceSpent as error:
            logger.warning("the answer of %s is not kept: %s", entry.invocation_id, error)
            self.metrics.add("IdempotentAnswerNotKept", 1, "Count")
            return self._complete(replace(entry, answer=unkept)) if unkept is not None else None
        except StoreError as error:
            logger.error("the answer of %s is not kept, its key stays claimed: %s", entry.invocation_id, error)
            self.metrics.add("IdempotentAnswerNotKept", 1, "Count")
        return None

    def _of_another(self, entry: Entry) -> KeyedAnswer:
        logger.warning("the claim of %s was taken over", entry.invocation_id)
        try:
            standing = _insist(lambda: self.keys.find(entry.id))
        except StoreError as error:
            raise IdempotencyUnavailable("another request took this key over; ask again with the same key") from error
        if standing is None or standing.answer is None:
            raise KeyInUse("another request took this key over", retry_after_s=1)
        return _replay(standing, standing.answer)

    def _settled(self, standing: Entry, verdict: Verdict, unknown: Unknown) -> KeyedAnswer:
        """What a request gets that does not run."""
        if verdict is Verdict.OTHER_PAYLOAD:
            raise KeyReused("this idempotency key was used with another request; take a new key for a new request")
        if verdict is Verdict.REPLAY and standing.answer is not None:
            self.metrics.add("IdempotentReplay", 1, "Count")
            return _replay(standing, standing.answer)
        if verdict is Verdict.UNKNOWN_OUTCOME:
            return self._close_as_unknown(replace(standing, answer=unknown(standing.invocation_id)))
        wait_s = standing.retry_after_s(self.clock())
        raise KeyInUse("a request with this idempotency key is still running", retry_after_s=wait_s)

    def _close_as_unknown(self, entry: Entry) -> KeyedAnswer:
        """The first to find a dead claim says so for all; nothing is run."""
        overtaken = self._complete(entry)
        if overtaken is not None:
            return overtaken
        if entry.answer is None:
            raise ValueError("an unknown outcome has an answer that says so")
        return KeyedAnswer(answer=entry.answer, invocation_id=entry.invocation_id, is_replay=False)

    def _release(self, claim: Entry) -> None:
        """Free the key: nothing ran. Where that fails, the key's outcome is unknown until it expires."""
        try:
            self.keys.release(claim)
        except StoreError as error:
            logger.warning("the key of %s is not released: %s", claim.invocation_id, error)


def _replay(standing: Entry, answer: KeptAnswer) -> KeyedAnswer:
    return KeyedAnswer(answer=answer, invocation_id=standing.invocation_id, is_replay=True)


def _insist(store: Callable[[], T]) -> T:
    """Ask once more when the store fails: every call survives being repeated, and a lost answer costs less so."""
    try:
        return store()
    except StoreUnavailable:
        return store()
