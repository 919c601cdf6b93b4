"""Attempts: one call to one endpoint, and all of a request's together. How one fails is `fiso_client.core.failures`."""

from dataclasses import dataclass
from datetime import datetime

from fiso.domain.endpoint import EndpointId
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import NEVER_RAN, UNKNOWN_OUTCOME, Failure, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call, finished or given up. Exactly one of `answer` and `failure` is set.

    `verdict` is whose fault it is that this was no good answer, None where it was one: an answer has one as well when
    it is an error, and then `detail` is the evidence. `expected_ms` is what was predicted of a call that was given up,
    by which its cost is estimated.
    """

    endpoint: EndpointId
    started_at: datetime
    latency_ms: float
    answer: FunctionAnswer | None = None
    failure: Failure | None = None
    verdict: Fault | None = None
    detail: str = ""
    expected_ms: float | None = None
    is_hedge: bool = False

    def __post_init__(self) -> None:
        if (self.answer is None) == (self.failure is None):
            raise ValueError("an attempt has either an answer or a failure")

    @property
    def may_have_run(self) -> bool:
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
    def answer(self) -> FunctionAnswer | None:
        return self.attempts[-1].answer if self.attempts else None

    @property
    def may_have_run(self) -> bool:
        return any(attempt.may_have_run for attempt in self.attempts)

    @property
    def is_unknown(self) -> bool:
        return any(attempt.failure in UNKNOWN_OUTCOME for attempt in self.attempts)
