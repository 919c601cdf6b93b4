"""Clouds that answer nonsense: a typed failure and the next cloud, or an honest 502; never a 500, never much memory."""

import gzip
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.policy import Idempotent
from fiso.domain.request import InvocationRequest
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError
from fiso_client.core.transport import HttpTransport
from tests.builders import an_endpoint, an_entry
from tests.functional.orchestrator_rig import Rig, http_event, problem_of
from tests.functional.test_http_transport import Serve, read_request, server

MIB = 2**20
JSON = "content-type: application/json\r\n"


def answering(head: str, body: bytes, *, announced: int | None = None, status: int = 200) -> Serve:
    """One answer, with a content-length that may be another than the body's."""
    length = len(body) if announced is None else announced

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        try:
            connection.sendall(f"HTTP/1.1 {status} OK\r\n{head}content-length: {length}\r\n\r\n".encode() + body)
        except OSError:
            return

    return serve


def flooding(mebibytes: int) -> Serve:
    """A body without end, or nearly."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(mebibytes * 16):
                connection.sendall(bytes(MIB // 16))
        except OSError:
            return

    return serve


MODES: dict[str, Serve] = {
    "truncated JSON": answering(JSON, b'{"words": {"a": 1'),
    "HTML that calls itself JSON": answering(JSON, b"<html>Your app is up and running</html>"),
    "HTML where JSON is asked for": answering("content-type: text/html\r\n", b"<html></html>"),
    "less than announced": answering(JSON, b"{}", announced=100),
    "more than announced": answering(JSON, b'{"words": {}}', announced=5),
    "100 MB announced": answering(JSON, b"{}", announced=100 * MIB),
    "100 MB": flooding(100),
    "bad UTF-8": answering(JSON, b'{"word": "\xff\xfe"}'),
    "a gzip bomb as JSON": answering(JSON, gzip.compress(bytes(32 * MIB))),
    "a header of 64 kB": answering(f"{JSON}x-large: {'v' * 64_000}\r\n", b"{}"),
    "300 headers": answering(JSON + "x-many: v\r\n" * 300, b"{}"),
    "an impossible status": answering(JSON, b"{}", status=999),
}


def calling(*addresses: tuple[Provider, str], idempotent: Idempotent) -> Rig:
    """The orchestrator with its genuine HTTP caller."""
    transport = HttpTransport()
    http = HttpCaller(transport, clock=ManualClock(), allow_loopback=True)
    clouds = ByProvider({Provider.AZURE: http, Provider.GCP: http})

    def respond(endpoint: Endpoint, request: InvocationRequest, timeout_ms: float) -> FunctionAnswer | ProviderError:
        if endpoint.address == "good":
            return OK
        try:
            return clouds.call(endpoint, request, timeout_ms=timeout_ms)
        except ProviderError as error:
            return error
        finally:
            transport.close()

    endpoints = [an_endpoint(provider, address=address) for provider, address in addresses]
    return Rig(respond, an_entry(*endpoints, idempotent=idempotent))


EVENT = http_event(accept="application/json")


@pytest.mark.parametrize("serve", MODES.values(), ids=MODES.keys())
def test_it_is_a_typed_failure_and_an_honest_502(serve: Serve) -> None:
    with server(serve) as url:
        rig = calling((Provider.AZURE, url), idempotent=Idempotent.YES)
        response = rig.send(EVENT)
    assert (response["statusCode"], problem_of(response)["status"]) == (502, 502)
    assert [attempt.failure for attempt in rig.only_record.attempts] == ["broken"]


@pytest.mark.parametrize("serve", MODES.values(), ids=MODES.keys())
def test_a_repeatable_request_goes_to_the_next_cloud(serve: Serve) -> None:
    with server(serve) as url:
        rig = calling((Provider.AZURE, url), (Provider.GCP, "good"), idempotent=Idempotent.YES)
        response = rig.send(EVENT)
    assert (response["statusCode"], response["headers"]["x-fiso-provider"]) == (200, "gcp")
    assert [attempt.failure for attempt in rig.only_record.attempts] == ["broken", None]


def test_a_request_that_may_have_run_is_not_run_again() -> None:
    with server(MODES["truncated JSON"]) as url:
        rig = calling((Provider.AZURE, url), idempotent=Idempotent.NO)
        assert rig.send(EVENT)["statusCode"] == 504
    assert len(rig.caller.calls) == 1


def test_a_body_that_drips_ends_with_the_deadline() -> None:
    release = Event()

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX: ")
        while not release.wait(0.02):
            try:
                connection.sendall(b".")
            except OSError:
                return

    with server(drip) as url:
        rig = calling((Provider.AZURE, url), idempotent=Idempotent.YES)
        response = rig.send(http_event(x_fiso_timeout_ms="300"))
        release.set()
    assert response["statusCode"] in (502, 504)
    assert [attempt.failure for attempt in rig.only_record.attempts] == ["timed_out"]


@contextmanager
def peak_bytes() -> Iterator[Callable[[], int]]:
    """What is allocated at most, from now on."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", ["100 MB", "100 MB announced", "a gzip bomb as JSON", "a header of 64 kB"])
def test_memory_stays_far_below_what_was_sent(mode: str) -> None:
    with server(MODES[mode]) as url:
        rig = calling((Provider.AZURE, url), idempotent=Idempotent.YES)
        with peak_bytes() as peak:
            rig.send(EVENT)
            assert peak() < 20 * MIB
