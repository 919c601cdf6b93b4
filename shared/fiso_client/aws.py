"""AWS for the client, without an SDK: Lambda functions by the Invoke API, and FISO's own API signed for IAM.

    session = boto3.Session()
    credentials = session.get_credentials().get_frozen_credentials
    options = Options(callers={"aws": LambdaFunctions(credentials)})
    with Client(url, headers=signed(credentials, "us-east-1"), options=options) as fiso:
        fiso.call("word-count", Request(body=b"one two two", content_type="text/plain"))

Both are FISO's own code for the same calls, so a leased call is read like a proxied one, the bill in its log tail
included. `boto3` is only one source of credentials; anything that gives the three strings serves.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Payload, Provider
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso_client.api import Headers
from fiso_client.calling import TRANSPORT_FAILURES, Answer, Request
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService, sign
from fiso_client.core.transport import HttpTransport, TransportError
from fiso_client.target import Target


class GivenCredentials(Protocol):
    """What an SDK calls frozen credentials."""

    @property
    def access_key(self) -> str: ...

    @property
    def secret_key(self) -> str: ...

    @property
    def token(self) -> str | None: ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


def public_address(region: str) -> str:
    """Where Lambda's API is in a region."""
    return f"https://lambda.{region}.amazonaws.com"


@dataclass(frozen=True, slots=True)
class LambdaFunctions:
    """A `Caller` for targets whose address is a Lambda function's ARN or name. `address` is that of Lambda's API."""

    credentials: Callable[[], GivenCredentials]
    transport: HttpTransport = field(default_factory=HttpTransport)
    address: Callable[[str], str] = public_address

    def __call__(self, target: Target, request: Request, *, timeout_s: float) -> Answer:
        """One Invoke."""
        caller = LambdaCaller(self._service, clock=_utc_now)
        endpoint = Endpoint(
            id=EndpointId(target.id),
            provider=Provider.AWS,
            region=target.region,
            memory_mb=1,  # not part of a call
            address=target.address,
            path=target.path,
            payload=Payload(target.payload),
        )
        try:
            answer = caller.call(endpoint, _invocation(request, timeout_s), timeout_ms=timeout_s * 1000)
        except TransportError as error:
            raise ProviderError(TRANSPORT_FAILURES[error.fault], error.detail) from error
        return _answer(answer)

    def close(self) -> None:
        """Close connections; the client that calls by it does not own it."""
        self.transport.close()

    def _service(self, region: str) -> SignedService:
        return SignedService(
            endpoint=AwsEndpoint(service="lambda", region=region, url=self.address(region)),
            credentials=_own(self.credentials()),
            transport=self.transport,
            clock=_utc_now,
        )


def signed(credentials: Callable[[], GivenCredentials], region: str) -> Headers:
    """Headers that identify the caller to FISO behind API Gateway's IAM authorizer."""
    endpoint = AwsEndpoint(service="execute-api", region=region, url="")

    def headers(method: str, url: str, body: bytes) -> Mapping[str, str]:
        digest = hashlib.sha256(body).hexdigest()
        return sign(method, url, {}, digest, endpoint, _own(credentials()), _utc_now())

    return headers


def _own(given: GivenCredentials) -> Credentials:
    return Credentials(access_key=given.access_key, secret_key=given.secret_key, token=given.token)


def _invocation(request: Request, timeout_s: float) -> InvocationRequest:
    now = _utc_now()
    return InvocationRequest(
        invocation_id=InvocationId(str(uuid4())),
        function=FunctionName(""),  # the address names it
        tenant=TenantId(""),
        received_at=now,
        deadline_at=now + timedelta(seconds=timeout_s),
        body=request.body,
        content_type=request.content_type,
        query=request.query,
        path_suffix=request.path_suffix,
        accept=request.headers.get("accept"),
        traceparent=request.headers.get("traceparent"),
        idempotency_key=request.idempotency_key,
    )


def _answer(answer: FunctionAnswer) -> Answer:
    return Answer(
        status=answer.status,
        body=answer.body,
        headers=answer.headers,
        cold=answer.cold,
        billed_ms=answer.billed_ms,
        is_function_error=answer.is_function_error,
    )
