"""One invocation of a function and what came of it. Standard library only."""

import uuid
from dataclasses import dataclass, field


def new_request_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a caller wants done: the payload is valid JSON, already checked."""

    payload: bytes
    request_id: str = field(default_factory=new_request_id)
    invoked_arn: str | None = None
    trace_id: str | None = None
    client_context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationResult:
    """The function's answer, or its error under `error` (`Unhandled`), with the end of its log (at most 4 KB)."""

    request_id: str
    payload: bytes
    version: str
    log_tail: bytes
    error: str | None = None


class ThrottledError(Exception):
    """No execution environment may be used now. `reason` is the word AWS uses in its 429."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


FUNCTION_LIMIT = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_LIMIT = "ConcurrentInvocationLimitExceeded"
