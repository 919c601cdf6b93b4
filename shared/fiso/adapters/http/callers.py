"""Callers: one request to one endpoint on its own cloud, and which headers pass through FISO both ways.

AWS goes through the Lambda Invoke API (`lambda_caller`), Azure and Google through HTTP. Exactly one call each; the only
retry loop is `services.dispatch`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from time import monotonic
from types import MappingProxyType
from typing import Protocol

from fiso.domain.address import AddressRules, check_endpoint
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.domain.errors import BadAddress
from fiso.domain.headers import cookies_of, of_answer
from fiso.domain.request import InvocationRequest
from fiso.ports import Clock, FunctionCaller
from fiso_client.core.answers import Asked, FunctionAnswer, read_http
from fiso_client.core.failures import Failure, Fault, ProviderError
from fiso_client.core.scoping import scoped_key
from fiso_client.core.transport import HttpTransport


class ByProvider:
    def __init__(self, callers: Mapping[Provider, FunctionCaller]) -> None:
        self._callers = callers

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        return self._callers[endpoint.provider].call(endpoint, request, timeout_ms=timeout_ms)


class Identity(Protocol):
    """Who FISO is to endpoints with one way of authentication."""

    def headers(self, endpoint: Endpoint, *, timeout_s: float) -> Mapping[str, str]:
        """Headers to send along; `ProviderError` that never ran when they cannot be had."""
        ...

    def replaced(self, endpoint: Endpoint, refused: Mapping[str, str], *, timeout_s: float) -> Mapping[str, str] | None:
        """Other headers, where the endpoint did not take these; None where there are none to try. Errors as above."""
        ...


class HttpCaller:
    """Azure and Google functions: method, path and body as sent, to the endpoint's address.

    `own_hosts` are the stage's beside the providers', or `rules` says at each call where endpoints may be. The
    transport should dial public addresses only (`dialling.PublicDial`): the address is checked here, the number behind
    its name there. Endpoints that ask for an identity which is not among `identities` are not called.
    """

    def __init__(
        self,
        transport: HttpTransport,
        *,
        clock: Clock,
        allow_loopback: bool,
        own_hosts: frozenset[str] = frozenset(),
        identities: Mapping[Authentication, Identity] = MappingProxyType({}),
        rules: Callable[[], AddressRules] | None = None,
    ) -> None:
        self._transport, self._clock, self._identities = transport, clock, identities
        fixed = AddressRules(own_hosts=own_hosts, allow_loopback=allow_loopback)
        self._rules = rules or (lambda: fixed)

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One request. `ProviderError` when the provider answered in the function's place, or nobody did."""
        try:
            # Checked at each call as well: what was published before a rule was tightened must not outlive it
            # (docs/decisions/0012-where-endpoints-may-be.md).
            check_endpoint(endpoint, self._rules())
        except BadAddress as error:
            raise ProviderError(Failure.REFUSED, f"the address {error}") from error
        url = endpoint.address.rstrip("/") + endpoint.path + request.path_suffix
        url += f"?{request.query}" if request.query else ""
        end_s, identity = monotonic() + timeout_ms / 1000, self._identity_for(endpoint)
        shown = identity.headers(endpoint, timeout_s=_left_s(end_s)) if identity else {}
        try:
            return self._asked(endpoint, url, request, shown, end_s)
        except ProviderError as error:
            # A token was revoked, or a key rotated: the function's door says so, which is before the function.
            if error.status != 401 or error.failure is not Failure.REFUSED or identity is None:
                raise
            again = identity.replaced(endpoint, shown, timeout_s=_left_s(end_s))
            if again is None:
                raise
        return self._asked(endpoint, url, request, again, end_s)

    def _asked(
        self, endpoint: Endpoint, url: str, request: InvocationRequest, shown: Mapping[str, str], end_s: float
    ) -> FunctionAnswer:
        headers = on_the_wire(request_headers(request, self._clock()), shown, endpoint.authentication)
        answer = self._transport.send(
            request.method,
            url,
            headers=headers,
            body=request.body,
            timeout_s=_left_s(end_s),
            may_repeat=request.may_repeat,
        )
        asked = Asked(
            provider=endpoint.provider,
            authentication=endpoint.authentication,
            headers=request.headers,
            path=request.path_suffix,
            query=request.query,
            body=request.body,
        )
        return returned_answer(read_http(answer, asked), is_head=request.method == "HEAD")

    def _identity_for(self, endpoint: Endpoint) -> Identity | None:
        if endpoint.authentication is Authentication.NONE:
            return None
        identity = self._identities.get(endpoint.authentication)
        if identity is None:
            raise ProviderError(
                Failure.REFUSED, f"this stage has no identity for authentication {endpoint.authentication}"
            )
        return identity


def _left_s(end_s: float) -> float:
    return max(0.0, end_s - monotonic())


GOOGLES_OWN = "x-serverless-authorization"
MOVED = "x-forwarded-authorization"
"""Where the caller's own `authorization` goes that FISO's takes the place of: App Service looks there alone."""
LARGEST_RETURNED_HEADERS = 8 * 1024
"""Of all names and values that reach the caller: API Gateway's own limit is 10 KB, and FISO adds some."""


def request_headers(request: InvocationRequest, now: datetime) -> dict[str, str]:
    left_ms = max(0, int((request.deadline_at - now).total_seconds() * 1000))
    headers = {
        **request.headers,
        "x-fiso-invocation-id": request.invocation_id,
        "x-fiso-deadline-ms": str(left_ms),
    }
    if request.idempotency_key:
        headers["idempotency-key"] = scoped_key(request.tenant, request.function, request.idempotency_key)
    return headers


def on_the_wire(
    headers: Mapping[str, str], identity: Mapping[str, str], authentication: Authentication = Authentication.NONE
) -> dict[str, str]:
    """Headers as HTTP can carry them, with what identifies FISO to the endpoint. Bytes beyond ASCII go as they came.

    Google takes FISO's token from `x-serverless-authorization` where the function is to have one of its own in
    `authorization`, and looks at nothing else then; so the caller's must not stand there.
    """
    sent = {name: value if value.isascii() else _in_bytes(value) for name, value in headers.items()}
    if not identity:
        return sent
    sent.pop(GOOGLES_OWN, None)
    if authentication is Authentication.ENTRA and "authorization" in sent:
        return {**sent, MOVED: sent["authorization"], **identity}
    if "authorization" in identity and "authorization" in sent:
        return {**sent, **identity, "authorization": sent["authorization"], GOOGLES_OWN: identity["authorization"]}
    return {**sent, **identity}


def _in_bytes(value: str) -> str:
    """A value that `http.client`, which writes Latin-1, writes as it was sent."""
    try:
        value.encode("latin-1")
        return value
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace").decode("latin-1")


def returned_answer(answer: FunctionAnswer, *, is_head: bool = False) -> FunctionAnswer:
    """The answer as it goes on to the caller. `ProviderError` when its headers are larger than any gateway returns."""
    passed = of_answer(answer.headers, is_head=is_head)
    given = (answer.headers["set-cookie"], *answer.cookies) if "set-cookie" in answer.headers else answer.cookies
    cookies = cookies_of(given)
    size = sum(map(len, passed)) + sum(map(len, passed.values())) + sum(map(len, cookies))
    if size > LARGEST_RETURNED_HEADERS:
        detail = f"the answer's headers are larger than {LARGEST_RETURNED_HEADERS} bytes"
        raise ProviderError(Failure.BROKEN, detail, status=answer.status, verdict=Fault.FUNCTION)
    return replace(answer, headers=passed, cookies=cookies, is_head=is_head)
