"""AWS for the client, without an SDK: Lambda functions by the Invoke API, and FISO's own API signed for IAM.

    session = boto3.Session()
    credentials = session.get_credentials().get_frozen_credentials
    options = Options(callers={"aws": LambdaFunctions(credentials)})
    with Client(url, headers=signed(credentials, "us-east-1"), options=options) as fiso:
        fiso.call("word-count", Request(body=b"one two two", content_type="text/plain"))

A leased call is sent and read by the code that the router uses itself, the bill in its log tail included. `boto3` is
only one source of credentials; anything that gives the three strings serves.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from fiso_client.api import Headers
from fiso_client.calling import Request
from fiso_client.core.answers import FunctionAnswer, path_below
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.grammar import is_lambda_function, is_region
from fiso_client.core.lambda_api import invoke, read_invocation
from fiso_client.core.lambda_event import EventRequest, checked, http_event
from fiso_client.core.signing import AwsEndpoint, SignedService, SigningKeys, public_url, sign
from fiso_client.core.transport import HttpTransport
from fiso_client.target import Target


def _utc_now() -> datetime:
    return datetime.now(UTC)


def public_address(region: str) -> str:
    """Where Lambda's API is in a region."""
    return public_url("lambda", region)


@dataclass(frozen=True, slots=True)
class LambdaFunctions:
    """A `Caller` for targets whose address is a Lambda function's ARN or name. `address` is that of Lambda's API."""

    credentials: Callable[[], SigningKeys]
    transport: HttpTransport = field(default_factory=HttpTransport)
    address: Callable[[str], str] = public_address

    def __call__(self, target: Target, request: Request, *, timeout_s: float) -> FunctionAnswer:
        """One Invoke within `timeout_s` seconds; `ProviderError` when the function gave no answer."""
        if not is_region(target.region) or not is_lambda_function(target.address, target.region):
            raise ProviderError(Failure.REFUSED, f"{target.id} is no Lambda function in a region of AWS")
        is_event = target.payload == "event"
        payload = checked(request.body) if is_event else _http_event(target, request, timeout_s)
        answer = invoke(
            self._service(target.region), target.address, payload, timeout_s=timeout_s, may_repeat=request.may_repeat
        )
        read = read_invocation(answer, is_event=is_event, method=request.method, sent=request.body)
        return replace(read, is_head=request.method == "HEAD")

    def close(self) -> None:
        """Close connections; the client that calls by it does not own it."""
        self.transport.close()

    def _service(self, region: str) -> SignedService:
        return SignedService(
            endpoint=AwsEndpoint(service="lambda", region=region, url=self.address(region)),
            credentials=self.credentials(),
            transport=self.transport,
            clock=_utc_now,
        )


FUNCTION_URL = ".lambda-url."
"""In the host of a function URL, for which another service signs."""


def signed(credentials: Callable[[], SigningKeys], region: str | Mapping[str, str]) -> Headers:
    """Headers that identify the caller to FISO behind API Gateway's IAM authorizer, or to its function URL. A client of
    several regions names the region of each base URL."""
    regions = {"": region} if isinstance(region, str) else region
    endpoints = {
        base.rstrip("/"): AwsEndpoint(service="execute-api", region=named, url="") for base, named in regions.items()
    }

    def headers(method: str, url: str, body: bytes) -> Mapping[str, str]:
        endpoint = next(
            (found for base, found in endpoints.items() if url.startswith(f"{base}/" if base else "")), None
        )
        if endpoint is None:
            raise ValueError(f"no region is named for {url}")
        digest = hashlib.sha256(body).hexdigest()
        if FUNCTION_URL in url.partition("//")[2].partition("/")[0]:
            endpoint = replace(endpoint, service="lambda")
        return sign(method, url, {}, digest, endpoint, credentials(), _utc_now())

    return headers


def _http_event(target: Target, request: Request, timeout_s: float) -> bytes:
    headers = request.sent_headers(timeout_s)
    return http_event(
        EventRequest(
            method=request.method,
            path=path_below(target.path, request.path_suffix),
            query=request.query,
            headers=headers,
            body=request.body,
            request_id=str(uuid4()),
            received_at=_utc_now(),
            function=target.address,
            source_ip="127.0.0.1",
            host=headers.get("host", "localhost"),
        )
    )
