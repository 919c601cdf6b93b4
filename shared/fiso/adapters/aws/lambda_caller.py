"""AWS functions, called through the Lambda Invoke API."""

from collections.abc import Callable

from fiso.adapters.http.callers import request_headers, returned_answer
from fiso.domain.address import AddressRules, check_endpoint
from fiso.domain.endpoint import Endpoint, Payload
from fiso.domain.errors import BadAddress
from fiso.domain.request import InvocationRequest
from fiso.ports import Clock
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.lambda_api import invoke, read_invocation
from fiso_client.core.lambda_event import EventRequest, checked, http_event
from fiso_client.core.signing import SignedService

_RULES = AddressRules()
"""Functions have no host, so that no stage allows more of them than another."""


class LambdaCaller:
    """`service` gives the signed Invoke API of a region."""

    def __init__(self, service: Callable[[str], SignedService], *, clock: Clock) -> None:
        self._service, self._clock = service, clock

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        try:
            # At each call as well: what was published before a rule was tightened must not outlive it, and the region
            # becomes part of a host that gets a signed request.
            check_endpoint(endpoint, _RULES)
        except BadAddress as error:
            raise ProviderError(Failure.REFUSED, f"the address {error}") from error
        is_event = endpoint.payload is Payload.EVENT
        payload = checked(request.body) if is_event else self._http_event(endpoint, request)
        answer = invoke(
            self._service(endpoint.region),
            endpoint.address,
            payload,
            timeout_s=timeout_ms / 1000,
            may_repeat=request.may_repeat,
        )
        read = read_invocation(answer, is_event=is_event, method=request.method, sent=request.body)
        return returned_answer(read, is_head=request.method == "HEAD")

    def _http_event(self, endpoint: Endpoint, request: InvocationRequest) -> bytes:
        return http_event(
            EventRequest(
                method=request.method,
                path=endpoint.path + request.path_suffix,
                query=request.query,
                headers=request_headers(request, self._clock()),
                body=request.body,
                request_id=request.invocation_id,
                received_at=request.received_at,
                function=endpoint.address,
                source_ip=request.source_ip,
                host=request.host,
                protocol=request.protocol,
            )
        )
