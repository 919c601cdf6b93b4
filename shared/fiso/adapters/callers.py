"""Callers: one request to one endpoint on its own cloud, and the table that reads HTTP clouds' failures.

AWS goes through the Lambda Invoke API (`lambda_caller`), Azure and Google through HTTP. Exactly one call each; the only
retry loop is `services.dispatch`.
"""

from collections.abc import Mapping

from fiso.adapters.http_transport import HttpAnswer, HttpTransport, TransportError, TransportFault
from fiso.adapters.passing import function_answer, passed_headers, path_suffix, retry_after_s
from fiso.domain.attempt import Failure, ProviderError
from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.request import FunctionAnswer, InvocationRequest
from fiso.ports import Clock, FunctionCaller

_TRANSPORT_FAILURES = {
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
"""Statuses that are the provider's own failure; every other one is the function's answer."""


class ByProvider:
    """Sends each request the way of its endpoint's cloud."""

    def __init__(self, callers: Mapping[Provider, FunctionCaller]) -> None:
        self._callers = callers

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """The function's answer; `ProviderError` when there is none."""
        try:
            return self._callers[endpoint.provider].call(endpoint, request, timeout_ms=timeout_ms)
        except TransportError as error:
            raise ProviderError(_TRANSPORT_FAILURES[error.fault], error.detail) from error


class HttpCaller:
    """Azure and Google functions: the body as sent, by POST to the endpoint's address."""

    def __init__(self, transport: HttpTransport, *, clock: Clock, allow_loopback: bool) -> None:
        self._transport, self._clock, self._allow_loopback = (transport, clock, allow_loopback)

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One POST. Statuses of `_STATUS_FAILURES` raise, everything else is the function's answer."""
        if not (endpoint.address.startswith("https://") or self._allow_loopback):
            raise ProviderError(Failure.REFUSED, "the address is not https")
        url = endpoint.address.rstrip("/") + endpoint.path + path_suffix(request)
        url += f"?{request.query}" if request.query else ""
        headers = passed_headers(request, self._clock())
        answer = self._transport.send("POST", url, headers=headers, body=request.body, timeout_s=timeout_ms / 1000)
        _raise_for_status(answer)
        return function_answer(answer, accept=request.accept)


def _raise_for_status(answer: HttpAnswer) -> None:
    failure = _STATUS_FAILURES.get(answer.status)
    if failure is not None:
        raise ProviderError(failure, f"status {answer.status}", retry_after_s=retry_after_s(answer.headers))
