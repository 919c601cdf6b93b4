"""Calling: one request to one target, once. HTTP is built in; other ways (Lambda's Invoke API) are the user's own.

Reads statuses as FISO's own callers do: the same answer counts as the same failure, proxied or leased.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlsplit

from fiso_client.core.content import flaw_of
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.transport import HttpAnswer, HttpTransport, TransportError, TransportFault
from fiso_client.target import Target

LONGEST_RUN_MS = 900_000.0
TRANSPORT_FAILURES = {
    TransportFault.NOT_SENT: Failure.UNREACHABLE,
    TransportFault.TIMED_OUT: Failure.TIMED_OUT,
    TransportFault.BROKEN: Failure.BROKEN,
}
_STATUS_FAILURES = {
    401: Failure.REFUSED,
    403: Failure.REFUSED,
    429: Failure.THROTTLED,
    502: Failure.PROVIDER_FAULT,
    503: Failure.PROVIDER_FAULT,
    504: Failure.PROVIDER_FAULT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a function is asked. `headers` are sent as they are, beside the content type."""

    body: bytes = b""
    content_type: str = "application/json"
    query: str = ""
    path_suffix: str = ""
    idempotency_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a function answered. `cold` and `billed_ms` are None where nobody says.

    `endpoint` is who answered, `attempts` how many were called, `is_stale` whether by a lease that was over, or by the
    configured fallback; the caller leaves these three alone.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cold: bool | None = None
    billed_ms: float | None = None
    is_function_error: bool = False
    endpoint: str = ""
    attempts: int = 0
    is_stale: bool = False


class Caller(Protocol):
    """The seam to a cloud: one call, never repeated. `ProviderError` says how it failed; others are not caught."""

    def __call__(self, target: Target, request: Request, *, timeout_s: float) -> Answer: ...


@dataclass(frozen=True, slots=True)
class HttpCaller:
    """A POST to the target's address. `headers` gives what identifies the caller to it: a function key, a token."""

    transport: HttpTransport
    headers: Callable[[Target], Mapping[str, str]]

    def __call__(self, target: Target, request: Request, *, timeout_s: float) -> Answer:
        """The function's answer, its own errors included."""
        suffix = "/" + quote(request.path_suffix.lstrip("/"), safe="/-_.~") if request.path_suffix else ""
        url = target.address.rstrip("/") + target.path + suffix + (f"?{request.query}" if request.query else "")
        headers = {"content-type": request.content_type, "x-fiso-deadline-ms": str(int(timeout_s * 1000))}
        if request.idempotency_key is not None:
            headers["idempotency-key"] = request.idempotency_key
        headers |= {**request.headers, **self.headers(target)}
        try:
            answer = self.transport.send("POST", url, headers=headers, body=request.body, timeout_s=timeout_s)
        except TransportError as error:
            raise ProviderError(TRANSPORT_FAILURES[error.fault], error.detail) from error
        if failure := _STATUS_FAILURES.get(answer.status):
            raise ProviderError(failure, f"status {answer.status}", retry_after_s=_retry_after_s(answer))
        if flaw := flaw_of(answer.status, answer.headers, answer.body, accept=request.headers.get("accept")):
            raise ProviderError(Failure.BROKEN, flaw)
        return _answer(answer)


def speaks_http(target: Target) -> bool:
    """Whether a target can be called by HTTP from here: https, or http on this machine."""
    parts = urlsplit(target.address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"))


def _answer(answer: HttpAnswer) -> Answer:
    return Answer(
        status=answer.status,
        body=answer.body,
        headers=answer.headers,
        cold={"1": True, "0": False}.get(answer.headers.get("x-fiso-cold", "")),
        billed_ms=_billed_ms(answer.headers.get("x-fiso-exec-ms", "")),
        is_function_error=answer.status >= 500,
    )


def _billed_ms(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= LONGEST_RUN_MS else None


def _retry_after_s(answer: HttpAnswer) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None
