"""Failures: the exact ways in which one call fails, whose fault it is, and the error that says so.

Two questions decide what may follow a failure: can the function have run, and whose fault was it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fiso_client.core.redaction import redact


class FisoError(Exception):
    """Root of everything FISO and its client raise on purpose."""


class Failure(StrEnum):
    """How an attempt failed. The tables below answer the two questions for each."""

    UNREACHABLE = "unreachable"  # DNS, connect refused or timed out, TLS
    THROTTLED = "throttled"  # 429 and its kin
    REFUSED = "refused"  # the provider let nobody through to the function: configuration
    NOT_STARTED = "not_started"  # the provider says that it could not start the function
    TIMED_OUT = "timed_out"  # sent, no answer in time
    BROKEN = "broken"  # reset mid-answer, truncated, or not what the protocol promises
    PROVIDER_FAULT = "provider_fault"  # 5xx of the provider itself
    FUNCTION_TIMED_OUT = "function_timed_out"  # the provider says that it stopped the function
    REJECTED = "rejected"  # 400, 413, 415: the request itself
    OVERTAKEN = "overtaken"  # given up: a hedge that began later was answered first
    NOT_NEEDED = "not_needed"  # a hedge, given up: the call it was to hedge was answered


class Fault(StrEnum):
    """Whose fault an attempt's end is: its verdict."""

    CALLER = "caller"  # the request itself
    FUNCTION = "function"  # the function's own code, the same on every cloud
    COPY = "copy"  # this copy alone: its siblings do better
    PROVIDER = "provider"  # the cloud, in this region
    NETWORK = "network"  # no way there, or it broke on the way
    THROTTLE = "throttle"  # too much at once
    CONFIGURATION = "configuration"  # the operator's: address, permission, secret
    FISO = "fiso"  # the router's own


NEVER_RAN = frozenset({Failure.UNREACHABLE, Failure.THROTTLED, Failure.REFUSED, Failure.NOT_STARTED, Failure.REJECTED})
CALLERS_FAULT = frozenset({Failure.REJECTED})
GIVEN_UP = frozenset({Failure.OVERTAKEN, Failure.NOT_NEEDED})
"""The losers of a hedge: no failures of anybody, nothing is known of how they ended."""
UNCLEAR = frozenset({Failure.TIMED_OUT, Failure.BROKEN, Failure.PROVIDER_FAULT, Failure.FUNCTION_TIMED_OUT})
"""Failures that the request or the function can have caused as well as the provider; nobody knows what became of the
first three."""
UNKNOWN_OUTCOME = UNCLEAR - {Failure.FUNCTION_TIMED_OUT}
USUAL_FAULT: Mapping[Failure, Fault] = {
    Failure.UNREACHABLE: Fault.NETWORK,
    Failure.THROTTLED: Fault.THROTTLE,
    Failure.REFUSED: Fault.CONFIGURATION,
    Failure.NOT_STARTED: Fault.PROVIDER,
    Failure.TIMED_OUT: Fault.COPY,
    Failure.BROKEN: Fault.COPY,
    Failure.PROVIDER_FAULT: Fault.PROVIDER,
    Failure.FUNCTION_TIMED_OUT: Fault.FUNCTION,
    Failure.REJECTED: Fault.CALLER,
    Failure.OVERTAKEN: Fault.COPY,
    Failure.NOT_NEEDED: Fault.FISO,
}
"""Whose fault a failure is where nothing says more: no vendor's error name, no sibling that fares otherwise."""


def is_no_copys(failure: Failure, verdict: Fault) -> bool:
    """Whether a failure says nothing of the copy that was asked: the request or the function itself brought it about,
    as it would elsewhere. A function that was stopped may have been slow on this copy alone."""
    if failure is Failure.FUNCTION_TIMED_OUT:
        return False
    return failure in CALLERS_FAULT or verdict in (Fault.CALLER, Fault.FUNCTION)


def may_follow(failure: Failure, *, on: Collection[str], may_repeat: bool) -> bool:
    """Whether another copy may be tried after a failure. `on` is the policy's `fail_over_on`: what may have run is not
    repeated unless that is declared safe, and what is the caller's own would fail anywhere."""
    if failure in CALLERS_FAULT:
        return False
    return "not_run" in on if failure in NEVER_RAN else may_repeat and "lost" in on


@dataclass(frozen=True, slots=True)
class Meaning:
    """How an attempt failed, and whose fault that is."""

    failure: Failure
    fault: Fault


class ProviderError(FisoError):
    """One attempt failed. `detail` is the evidence, redacted: a provider may have had a part in it, and it is logged
    and answered. `retry_after_s` is the provider's own wish, where it stated one; `status` what was answered in the
    function's place. `verdict` is whose fault it is, as far as this one attempt can tell."""

    def __init__(
        self,
        failure: Failure,
        detail: str,
        *,
        retry_after_s: float | None = None,
        status: int | None = None,
        verdict: Fault | None = None,
    ) -> None:
        self.detail = redact(detail)
        super().__init__(self.detail)
        self.failure = failure
        self.retry_after_s = retry_after_s
        self.status = status
        self.verdict = verdict or USUAL_FAULT[failure]
