"""The client itself: a lease, a call, a failover where that is safe, and a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from random import random
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from fiso_client.api import FisoApi, Headers
from fiso_client.calling import Answer, Caller, HttpCaller, Request, speaks_http
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.attribution import Attribution, Copy
from fiso_client.core.breaker import CLOSED, Breaker
from fiso_client.core.conduct import COUNTED
from fiso_client.core.failures import NEVER_RAN, Failure, Fault, ProviderError, is_no_copys, may_follow
from fiso_client.core.scoping import scoped_key
from fiso_client.core.stopwatch import Stopwatch
from fiso_client.core.transport import HttpTransport
from fiso_client.invoking import LEAST_ATTEMPT_S, NoAnswer, invoke
from fiso_client.leases import Leases
from fiso_client.regions import Regions
from fiso_client.reporting import Pace, Reporter, Tally
from fiso_client.target import DEFAULT_TIMEOUT_S, Held, Target

LONGEST_EVIDENCE = 160
"""Characters of what is reported of a failure."""
LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of a function's answer; the router itself returns 6 MB at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a client behaves. All times in seconds.

    `grace_s` is how long at most a lease that is over still serves while FISO cannot be reached, where that is less
    than the policy's `lease_outage_s`; `retry_s` how long FISO is left alone after it gave no lease; `fallback` the
    targets per function when nothing else is left; `callers` how to reach a provider's targets where HTTP does not
    (`aws`: Lambda's Invoke API by your own SDK). `background` False sends outcomes only by `flush` and `close`,
    as a client on Lambda should, whose threads are frozen between requests.
    """

    fiso_timeout_s: float = 3.0
    grace_s: float | None = None
    retry_s: float = 2.0
    fallback: Mapping[str, Sequence[Target]] = field(default_factory=dict)
    callers: Mapping[str, Caller] = field(default_factory=dict)
    pace: Pace = Pace()  # noqa: RUF009 - a frozen value
    background: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One call, timed; exactly one of answer and error is set."""

    target: Target
    started_at: float
    latency_ms: float
    idle_ms: float | None
    answer: FunctionAnswer | None = None
    error: ProviderError | None = None

    @property
    def failure(self) -> Failure | None:
        return self.error.failure if self.error else None


class Client:
    """Calls functions by leases. Safe to use from several threads; close it, or use it as a context manager.

    Make one per process: calls under a lease are numbered, and a forked copy would use the same numbers again.
    `fiso_url` is FISO's base URL, or those of several regions, the preferred one first. `headers` identifies the caller
    to FISO, `target_headers` to a target (function key, identity token).
    """

    def __init__(
        self,
        fiso_url: str | Sequence[str],
        *,
        headers: Headers = lambda *_: {},
        target_headers: Callable[[Target], Mapping[str, str]] = lambda _: {},
        options: Options | None = None,
        stopwatch: Callable[[], float] | None = None,
    ) -> None:
        self._options = options or Options()
        # Leases and outcomes age while the process is frozen or its machine sleeps, too.
        self._stopwatch = stopwatch = stopwatch or Stopwatch()
        self._transport = HttpTransport(stopwatch=stopwatch, largest=LARGEST_ANSWER)
        self._http = HttpCaller(self._transport, target_headers)
        timeout_s = self._options.fiso_timeout_s
        urls = [fiso_url] if isinstance(fiso_url, str) else fiso_url
        apis = tuple(
            FisoApi(url=url.rstrip("/"), headers=headers, transport=self._transport, timeout_s=timeout_s)
            for url in urls
        )
        if not apis:
            raise ValueError("a client needs a base URL of FISO")
        self._regions = Regions(apis=apis, stopwatch=stopwatch)
        self._leases = Leases(
            regions=self._regions,
            fallback={function: tuple(targets) for function, targets in self._options.fallback.items()},
            grace_s=self._options.grace_s,
            retry_s=self._options.retry_s,
            patience_s=timeout_s * len(apis),
            stopwatch=stopwatch,
        )
        # One for each region, since a lease is reported where it came from: one that is away holds up no other.
        self._reporters = [
            Reporter(api, pace=self._options.pace, stopwatch=stopwatch, background=self._options.background)
            for api in apis
        ]
        self._lock = Lock()
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._attribution = Attribution()
        self._called_at: dict[tuple[str, str], float] = {}
        self._tenant = str(uuid4())
        """Until FISO has said what it is: nobody else's at any rate."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tally(self) -> Tally:
        """What became of reported outcomes so far."""
        return sum((reporter.tally for reporter in self._reporters), start=Tally())

    @property
    def waiting(self) -> int:
        """Outcomes that were not reported yet."""
        return sum(reporter.waiting for reporter in self._reporters)

    def call(self, function: str, request: Request, *, timeout_s: float | None = None) -> Answer:
        """The function's answer, its own errors included, within `timeout_s` and the policy's own limit in seconds.

        Both count from when a lease is in hand; the first call of a function may wait `fiso_timeout_s` for one.
        `NoAnswer` when no target gave one, `NoLease` when there was nobody to call, `FisoRefused` for a function that
        FISO does not know.
        """
        held = self._leases.of(function, len(request.body))
        called_at = self._stopwatch()
        limit = called_at + (held.timeout_s if timeout_s is None else min(held.timeout_s, timeout_s))
        attempts, deadline_passed = self._attempts(held, request, limit)
        if attempts and held.token is not None:
            self._reporters[held.region].add(
                held.token, _outcome(held, request, attempts, deadline_passed=deadline_passed)
            )
        last = attempts[-1] if attempts else None
        if last is None or last.answer is None:
            raise _no_answer(function, attempts, deadline_passed)
        is_stale = called_at >= held.expires_at
        return _answer(last.answer, last.target.id, len(attempts), is_stale=is_stale)

    def invoke(
        self, function: str, request: Request, *, timeout_s: float | None = None, may_repeat: bool = False
    ) -> Answer:
        """The function's answer through FISO, as one proxied request, within `timeout_s` (28 s).

        After what cannot have run the next region is tried; after what may have run only with `may_repeat`: say so
        where the function may run twice, or where a key that all regions hold (`second_store`) keeps it from doing so.
        Without it, a request with a key goes to the first region alone, which knows its keys.
        `NoAnswer` and `FisoRefused` as from `call`.
        """
        limit_s = DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
        return invoke(self._regions, function, request, timeout_s=limit_s, may_repeat=may_repeat)

    def flush(self) -> bool:
        """Report everything now; False if FISO did not take it, which then waits on."""
        taken = [reporter.flush() for reporter in self._reporters]  # each, also after one that is away
        return all(taken)

    def close(self) -> None:
        """Report what waits, and close connections."""
        for reporter in self._reporters:
            reporter.close()
        self._transport.close()

    def _attempts(self, held: Held, request: Request, limit: float) -> tuple[list[_Attempt], bool]:
        attempts: list[_Attempt] = []
        may_repeat = held.may_repeat(request.key, is_safe=request.is_safe)
        request = replace(request, may_repeat=may_repeat, idempotency_key=self._scoped(held, request.key))
        order = self._order(held)
        copies = {target.id: Copy(held.function, target.id, target.provider, target.region) for target in order}
        odd: list[tuple[_Attempt, str]] = []
        for position, target in enumerate(order):
            left_s = limit - self._stopwatch()
            if left_s < LEAST_ATTEMPT_S:
                return attempts, True
            others_left = len(order) - position - 1
            timeout_s = min(target.patience_s, left_s / (others_left + 1)) if may_repeat and others_left else left_s
            attempt = self._attempt(held, target, request, timeout_s)
            attempts.append(attempt)
            oddity, asks_another = self._judged(held, copies, attempt, may_repeat=may_repeat)
            if attempt.answer is not None and oddity is None:
                odd = []
                break
            if oddity is not None and attempt.answer is not None:
                odd.append((attempt, oddity))
            goes_on = asks_another
            if attempt.failure is not None:
                goes_on = may_follow(attempt.failure, on=held.fail_over_on, may_repeat=may_repeat)
            if not goes_on:
                break
        return self._ended(held, attempts, odd, limit)

    def _scoped(self, held: Held, key: str | None) -> str | None:
        """The key as the router would send it: of this caller's tenant, as FISO has named it."""
        self._tenant = held.tenant or self._tenant
        return None if key is None else scoped_key(self._tenant, held.function, key)

    def _ended(
        self, held: Held, attempts: list[_Attempt], odd: list[tuple[_Attempt, str]], limit: float
    ) -> tuple[list[_Attempt], bool]:
        """Of answers that all stand out, the first goes back."""
        if odd:
            first, oddity = odd[0]
            attempts = [*(attempt for attempt in attempts if attempt is not first), first]
            if len({said for _, said in odd}) < len(odd):
                ids = [attempt.target.id for attempt, _ in odd]
                with self._lock:
                    self._attribution.answered_alike(held.function, ids, oddity, datetime.now(UTC))
        is_answered = bool(attempts) and attempts[-1].answer is not None
        return attempts, not is_answered and self._stopwatch() >= limit

    def _judged(
        self, held: Held, copies: Mapping[str, Copy], attempt: _Attempt, *, may_repeat: bool
    ) -> tuple[str | None, bool]:
        """What about an attempt stands out, and whether another target is asked for that; by the router's own rules."""
        copy, now, answer = copies[attempt.target.id], datetime.now(UTC), attempt.answer
        with self._lock:
            if answer is None:
                is_callers = attempt.error is not None and attempt.error.verdict is Fault.CALLER
                oddity = attempt.failure.value if attempt.failure in COUNTED and not is_callers else None
            else:
                oddity = self._attribution.oddity(copy, copies, answer.status, answer.shape)
            status, on = answer.status if answer else None, held.fail_over_on
            asks_another = False
            if status is not None and oddity is not None and may_repeat:
                asks_another = self._attribution.asks_another(copy, copies, oddity, status=status, on=on, now=now)
            if answer is not None or oddity is not None:
                shape = answer.shape if answer else ""
                self._attribution.ended(copy, copies, oddity=oddity, shape=shape, now=now, status=status)
        return oddity, asks_another

    def _order(self, held: Held) -> list[Target]:
        """The targets that can be called from here, those behind an open breaker last."""
        now = datetime.now(UTC)
        callable_ = [target for target in held.targets if self._caller(target) is not None]
        with self._lock:
            own = {target.id: self._breakers.get((held.function, target.id), CLOSED) for target in callable_}
            breakers = self._attribution.held_back(held.function, list(own), own, now)
            is_out = {id: breaker.is_unavailable(now) for id, breaker in breakers.items()}
        return sorted(callable_, key=lambda target: is_out[target.id])

    def _caller(self, target: Target) -> Caller | None:
        given = self._options.callers.get(target.provider)
        return given or (self._http if speaks_http(target) else None)

    def _attempt(self, held: Held, target: Target, request: Request, timeout_s: float) -> _Attempt:
        caller, key = self._caller(target), (held.function, target.id)
        if caller is None:
            raise ValueError(f"nothing can call {target.id}")
        start = self._stopwatch()
        copy = Copy(held.function, target.id, target.provider, target.region)
        with self._lock:
            self._attribution.started(copy, datetime.now(UTC), timeout_s)
            before, self._called_at[key] = self._called_at.get(key), start
        answer, error = None, None
        began = monotonic()  # the time that a laptop slept is no latency
        try:
            answer = caller(target, request, timeout_s=timeout_s)
        except ProviderError as raised:
            error = raised
            if raised.failure is Failure.TIMED_OUT and timeout_s < target.patience_s:
                # less than a call of this target must be given: its end says nothing of it
                error = ProviderError(raised.failure, raised.detail, verdict=Fault.CALLER)
        latency_ms = (monotonic() - began) * 1000
        if answer is None or answer.status < 400:  # what a function refuses or fails at proves nothing of its copy
            self._note(key, error)
        return _Attempt(
            target=target,
            started_at=start,
            latency_ms=latency_ms,
            idle_ms=None if before is None else max(0.0, (start - before) * 1000),
            answer=answer,
            error=error,
        )

    def _note(self, key: tuple[str, str], error: ProviderError | None) -> None:
        now = datetime.now(UTC)
        with self._lock:
            known = self._breakers.get(key, CLOSED)
            if error is None:
                self._breakers[key] = known.after_success(now)
            elif error.failure is Failure.THROTTLED:
                self._breakers[key] = known.after_throttled(now, retry_after_s=error.retry_after_s)
            elif not is_no_copys(error.failure, error.verdict):
                is_refusal = error.failure is Failure.REFUSED
                self._breakers[key] = known.after_failure(
                    now,
                    cause=error.failure.value,
                    draw=random(),  # nosec B311 # spreads probes, keeps no secret
                    is_refusal=is_refusal,
                )


def _answer(answer: FunctionAnswer, endpoint: str, attempts: int, *, is_stale: bool) -> Answer:
    own = {own.name: getattr(answer, own.name) for own in fields(FunctionAnswer)}
    return Answer(**own, endpoint=endpoint, attempts=attempts, is_stale=is_stale)


def _no_answer(function: str, attempts: Sequence[_Attempt], deadline_passed: bool) -> NoAnswer:
    trail = "; ".join(f"{a.target.id}: {a.failure} ({a.error})" for a in attempts)
    may_have_run = any(attempt.failure not in NEVER_RAN for attempt in attempts)
    detail = f"{function}: {trail or 'none of its targets can be called from here in time'}"
    return NoAnswer(detail, may_have_run=may_have_run, deadline_passed=deadline_passed)


def _outcome(held: Held, request: Request, attempts: Sequence[_Attempt], *, deadline_passed: bool) -> dict[str, Any]:
    """What is reported. Times count from the lease's arrival, which is a little after its issue."""
    answer = attempts[-1].answer
    return {
        "number": next(held.numbers),
        "request_size_bytes": len(request.body),
        "response_size_bytes": len(answer.body) if answer else 0,
        "deadline_passed": deadline_passed,
        "attempts": [_attempt_row(held, attempt) for attempt in attempts],
    }


def _attempt_row(held: Held, attempt: _Attempt) -> dict[str, Any]:
    answer = attempt.answer
    row: dict[str, Any] = {
        "endpoint": attempt.target.id,
        "after_ms": (attempt.started_at - held.received_at) * 1000,
        "latency_ms": attempt.latency_ms,
        "status": answer.status if answer else None,
        "failure": attempt.failure.value if attempt.failure else None,
        "is_function_error": answer.is_function_error if answer else None,
        "cold_start": answer.cold if answer else None,
        "billed_ms": answer.billed_ms if answer else None,
        "idle_ms": attempt.idle_ms,
        "shape": answer.shape if answer else None,
        "evidence": attempt.error.detail[:LONGEST_EVIDENCE] if attempt.error else None,
    }
    return {name: value for name, value in row.items() if value is not None}
