"""The client reads endpoints' answers exactly as the orchestrator's own caller does."""

import pytest

from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.testing.clock import ManualClock
from fiso_client import calling
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.transport import HttpTransport
from fiso_client.target import Target
from tests.builders import a_request, an_endpoint
from tests.front_doors import EXAMPLES, Example
from tests.functional.lease_servers import serving


class Known:
    """An identity that any endpoint takes."""

    def headers(self, _endpoint: Endpoint, *, timeout_s: float) -> dict[str, str]:
        return {"x-functions-key": "k"}

    def invalidate(self, endpoint: Endpoint) -> None:
        """Nothing is kept."""


def by_orchestrator(endpoint: Endpoint) -> tuple[object, ...]:
    caller = HttpCaller(HttpTransport(), clock=ManualClock(), allow_loopback=True, identity=Known())
    try:
        answer = ByProvider({endpoint.provider: caller}).call(endpoint, a_request(), timeout_ms=2000)
    except ProviderError as error:
        return error.failure, error.retry_after_s, error.verdict, error.detail, error.status
    return answer.status, answer.body, answer.cold, answer.billed_ms, answer.is_function_error


def by_client(endpoint: Endpoint) -> tuple[object, ...]:
    target = Target(
        id=endpoint.id,
        provider=endpoint.provider,
        address=endpoint.address,
        authentication=endpoint.authentication,
    )
    try:
        answer = calling.HttpCaller(HttpTransport(), lambda _: {})(target, calling.Request(body=b"x"), timeout_s=2)
    except ProviderError as error:
        return error.failure, error.retry_after_s, error.verdict, error.detail, error.status
    return answer.status, answer.body, answer.cold, answer.billed_ms, answer.is_function_error


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 413, 429, 500, 501, 502, 503, 504])
@pytest.mark.parametrize("said", [{}, {"retry-after": "7", "x-fiso-cold": "1", "x-fiso-exec-ms": "12.5"}])
def test_the_same_answer_means_the_same(status: int, said: dict[str, str]) -> None:
    with serving(lambda *_: (status, said, b"answer")) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
        assert by_client(endpoint) == by_orchestrator(endpoint)


# The router itself calls functions on AWS by the Invoke API only.
@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if one.provider != "aws"], ids=lambda example: example.mark
)
def test_the_same_front_door_means_the_same(example: Example) -> None:
    with serving(lambda *_: (example.status, example.headers, example.body)) as server:
        endpoint = an_endpoint(
            Provider(example.provider), address=server.url, authentication=Authentication(example.authentication),
            secret_ref="arn:aws:secretsmanager:us-east-1:000000000000:secret:k"
            if example.authentication == "function_key" else None,
        )  # fmt: skip
        assert by_client(endpoint) == by_orchestrator(endpoint)
        assert by_client(endpoint)[0] is example.failure


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": ', b"<html>", b"\xff"])
def test_the_same_damage_means_the_same(body: bytes) -> None:
    with serving(lambda *_: (200, {"content-type": "application/json"}, body)) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
        assert by_client(endpoint) == by_orchestrator(endpoint)


def test_nobody_listening_means_the_same() -> None:
    with serving(lambda *_: (200, {}, b"")) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
    assert by_client(endpoint) == by_orchestrator(endpoint)
    assert by_client(endpoint)[0] is Failure.UNREACHABLE
