"""Calling: one request to one target, once. HTTP is built in, Lambda's Invoke API stands in `aws`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from fiso_client.core.answers import METHOD_OVERRIDES, Asked, FunctionAnswer, path_below, read_http
from fiso_client.core.grammar import url_of
from fiso_client.core.transport import HttpTransport
from fiso_client.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a function is asked. `headers` (names in lower case) are sent as they are, beside the content type.

    `query` and `path_suffix` are percent-encoded already. An `idempotency_key` is what lets a request that may have
    run go to another target, where the function deduplicates on it; the client sends it scoped (`core.scoping`).
    `may_repeat` the client sets itself, by the lease.
    """

    method: str = "POST"
    body: bytes = b""
    content_type: str = "application/json"
    query: str = ""
    path_suffix: str = ""
    idempotency_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    may_repeat: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether its method changes nothing by definition (RFC 9110, 9.2.1), and no header asks for another."""
        return self.method in ("GET", "HEAD", "OPTIONS") and METHOD_OVERRIDES.isdisjoint(self.headers)

    def sent_headers(self, timeout_s: float) -> dict[str, str]:
        """All that the function sees, the milliseconds that it has left among them."""
        headers = {"content-type": self.content_type} if self.body or not self.is_safe else {}
        headers["x-fiso-deadline-ms"] = str(int(timeout_s * 1000))
        headers |= self.headers
        if self.idempotency_key is not None:
            headers["idempotency-key"] = self.idempotency_key
        return headers

    @property
    def key(self) -> str | None:
        """Its idempotency key, where a header names it as well."""
        return self.idempotency_key or self.headers.get("idempotency-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(FunctionAnswer):
    """What a function answered, its own errors included (`is_function_error`).

    `endpoint` is who answered, `attempts` how many were called, `is_stale` whether by a lease that was over, or by the
    configured fallback.
    """

    endpoint: str = ""
    attempts: int = 0
    is_stale: bool = False


class Caller(Protocol):
    """The seam to a cloud: one call, never repeated. `ProviderError` says how it failed; others are not caught."""

    def __call__(self, target: Target, request: Request, *, timeout_s: float) -> FunctionAnswer: ...


@dataclass(frozen=True, slots=True)
class HttpCaller:
    """HTTP to the target's address. `headers` gives what identifies the caller to it: a function key, a token."""

    transport: HttpTransport
    headers: Callable[[Target], Mapping[str, str]]

    def __call__(self, target: Target, request: Request, *, timeout_s: float) -> FunctionAnswer:
        """The function's answer, its own errors included."""
        url = target.address.rstrip("/") + path_below(target.path, request.path_suffix)
        url += f"?{request.query}" if request.query else ""
        headers = {**request.sent_headers(timeout_s), **self.headers(target)}
        answer = self.transport.send(
            request.method, url, headers=headers, body=request.body, timeout_s=timeout_s, may_repeat=request.may_repeat
        )
        asked = Asked(
            provider=target.provider,
            authentication=target.authentication,
            headers=request.headers,
            path=request.path_suffix,
            query=request.query,
            body=request.body,
        )
        return replace(read_http(answer, asked), is_head=request.method == "HEAD")


def speaks_http(target: Target) -> bool:
    """Whether a target can be called by HTTP from here: https, or http on this machine."""
    url = url_of(target.address)
    return url is not None and (url.scheme == "https" or url.host in ("127.0.0.1", "[::1]", "localhost"))
