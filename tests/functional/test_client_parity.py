"""The client reads endpoints' answers exactly as the orchestrator's own caller does."""

import pytest

from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.domain.endpoint import Endpoint, Provider
from fiso.testing.clock import ManualClock
from fiso_client import calling
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.transport import HttpTransport
from fiso_client.target import Target
from tests.builders import a_request, an_endpoint
from tests.functional.lease_servers import serving


def by_orchestrator(endpoint: Endpoint) -> object:
    caller = HttpCaller(HttpTransport(), clock=ManualClock(), allow_loopback=True)
    try:
        answer = ByProvider({Provider.GCP: caller}).call(endpoint, a_request(), timeout_ms=2000)
    except ProviderError as error:
        return error.failure, error.retry_after_s
    return answer.status, answer.body, answer.cold, answer.billed_ms, answer.is_function_error


def by_client(endpoint: Endpoint) -> object:
    target = Target(id=endpoint.id, provider="gcp", address=endpoint.address)
    try:
        answer = calling.HttpCaller(HttpTransport(), lambda _: {})(target, calling.Request(body=b"x"), timeout_s=2)
    except ProviderError as error:
        return error.failure, error.retry_after_s
    return answer.status, answer.body, answer.cold, answer.billed_ms, answer.is_function_error


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 413, 429, 500, 501, 502, 503, 504])
@pytest.mark.parametrize("said", [{}, {"retry-after": "7", "x-fiso-cold": "1", "x-fiso-exec-ms": "12.5"}])
def test_the_same_answer_means_the_same(status: int, said: dict[str, str]) -> None:
    with serving(lambda *_: (status, said, b"answer")) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
        assert by_client(endpoint) == by_orchestrator(endpoint)


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": ', b"<html>", b"\xff"])
def test_the_same_damage_means_the_same(body: bytes) -> None:
    with serving(lambda *_: (200, {"content-type": "application/json"}, body)) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
        assert by_client(endpoint) == by_orchestrator(endpoint)


def test_nobody_listening_means_the_same() -> None:
    with serving(lambda *_: (200, {}, b"")) as server:
        endpoint = an_endpoint(Provider.GCP, address=server.url)
    assert by_client(endpoint) == by_orchestrator(endpoint) == (Failure.UNREACHABLE, None)
