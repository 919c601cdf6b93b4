"""Attempts: one call to one endpoint, and the exact way in which it failed.

Two questions decide what may follow a failure: can the function have run, and whose fault was it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fiso.domain.endpoint import EndpointId
from fiso.domain.errors import FisoError
from fiso.domain.redaction import shown
from fiso.domain.request import FunctionAnswer


class Failure(StrEnum):
    """How an attempt failed. The tables below answer the two questions for each."""

    UNREACHABLE = "unreachable"  # DNS, connect refused or timed out, TLS
    THROTTLED = "throttled"  # 429 and its kin
    REFUSED = "refused"  # 401, 403, 404 of the provider: configuration
    TIMED_OUT = "timed_out"  # sent, no answer in time
    BROKEN = "broken"  # reset mid-answer, truncated, or not what the protocol promises
    PROVIDER_FAULT = "provider_fault"  # 5xx of the provider itself
    FUNCTION_TIMED_OUT = "function_timed_out"  # the provider says that it stopped the function
    REJECTED = "rejected"  # 400, 413, 415: the request itself
    OVERTAKEN = "overtaken"  # given up: a hedge that began later was answered first
    NOT_NEEDED = "not_needed"  # a hedge, given up: the call it was to hedge was answered


NEVER_RAN = frozenset({Failure.UNREACHABLE, Failure.THROTTLED, Failure.REFUSED, Failure.REJECTED})
CALLERS_FAULT = frozenset({Failure.REJECTED})
GIVEN_UP = frozenset({Failure.OVERTAKEN, Failure.NOT_NEEDED})
"""The losers of a hedge: no failures of anybody, nothing is known of how they ended."""
UNCLEAR = frozenset({Failure.TIMED_OUT, Failure.BROKEN, Failure.PROVIDER_FAULT, Failure.FUNCTION_TIMED_OUT})
"""Failures that the request or the function can have caused as well as the provider; nobody knows what became of the
first three."""
UNKNOWN_OUTCOME = UNCLEAR - {Failure.FUNCTION_TIMED_OUT}


class ProviderError(FisoError):
    """One attempt failed. `detail` is redacted: a provider may have had a part in it, and it is logged and answered.
    `retry_after_s` is the provider's own wish, where it stated one."""

    def __init__(self, failure: Failure, detail: str, *, retry_after_s: float | None = None) -> None:
        self.detail = shown(detail)
        super().__init__(self.detail)
        self.failure = failure
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call, finished or given up. Exactly one of `answer` and `failure` is set.

    `expected_ms` is what was predicted of a call that was given up, by which its cost is estimated.
    """

    endpoint: EndpointId
    started_at: datetime
    latency_ms: float
    answer: FunctionAnswer | None = None
    failure: Failure | None = None
    detail: str = ""
    expected_ms: float | None = None
    is_hedge: bool = False

    def __post_init__(self) -> None:
        if (self.answer is None) == (self.failure is None):
            raise ValueError("an attempt has either an answer or a failure")

    @property
    def may_have_run(self) -> bool:
        """Whether the function can have had an effect."""
        return self.failure not in NEVER_RAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All attempts of a request, in the order in which they ended. `answer` is the last attempt's, when it has one.

    `waited_ms` is the time that the calls took; less than their sum where a hedge ran beside the first.
    `may_repeat` is whether what may have run could be run again.
    """

    attempts: tuple[Attempt, ...]
    deadline_passed: bool = False
    waited_ms: float = 0.0
    may_repeat: bool = False

    @property
    def answered_by(self) -> Attempt | None:
        """The attempt whose answer the caller gets, if any."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.answer is not None else None

    @property
    def may_have_run(self) -> bool:
        """Whether any attempt can have had an effect."""
        return any(attempt.may_have_run for attempt in self.attempts)

    @property
    def is_unknown(self) -> bool:
        """Whether nobody knows what became of an attempt that was not answered."""
        return any(attempt.failure in UNKNOWN_OUTCOME for attempt in self.attempts)
