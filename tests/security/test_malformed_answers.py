"""Clouds that answer nonsense: a typed failure and the next cloud, or an honest 502; never a 500, never much memory."""

import base64
import gzip
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import Rig, http_event
from tests.builders import an_endpoint, an_entry
from tests.edge import problem_of
from tests.functional.test_http_transport import Serve, read_request, server
from tests.security.genuine_clouds import at, rig_over

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


def resetting(connection: socket.socket) -> None:
    """Half an answer, then the connection is torn down."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


MODES: dict[str, Serve] = {
    "truncated JSON": answering(JSON, b'{"words": {"a": 1'),
    "HTML that calls itself JSON": answering(JSON, b"<html>Your app is up and running</html>"),
    "less than announced": answering(JSON, b"{}", announced=100),
    "more than announced": answering(JSON, b'{"words": {}}', announced=5),
    "100 MB announced": answering(JSON, b"{}", announced=100 * MIB),
    "100 MB": flooding(100),
    "bad UTF-8": answering(JSON, b'{"word": "\xff\xfe"}'),
    "a gzip bomb as JSON": answering(JSON, gzip.compress(bytes(32 * MIB))),
    "a header of 64 kB": answering(f"{JSON}x-large: {'v' * 64_000}\r\n", b"{}"),
    "300 headers": answering(JSON + "x-many: v\r\n" * 300, b"{}"),
    "a reset": resetting,
    "an impossible status": answering(JSON, b"{}", status=999),
}


@contextmanager
def at_a_cloud(serve: Serve, *others: Endpoint, idempotent: Idempotent = Idempotent.YES) -> Iterator[Rig]:
    """The orchestrator with its genuine HTTP caller, before a cloud that answers so."""
    with (
        server(serve) as url,
        rig_over(url, an_entry(at(url, Provider.AZURE), *others, idempotent=idempotent)) as rig,
    ):
        yield rig


EVENT = http_event(accept="application/json")


@pytest.mark.parametrize("serve", MODES.values(), ids=MODES.keys())
def test_it_is_a_typed_failure_and_an_honest_502(serve: Serve) -> None:
    with at_a_cloud(serve) as rig:
        response = rig.send(EVENT)
    assert (response["statusCode"], problem_of(response)["status"]) == (502, 502)
    assert [attempt.failure for attempt in rig.only_record.attempts] == ["broken"]


@pytest.mark.parametrize("serve", MODES.values(), ids=MODES.keys())
def test_a_repeatable_request_goes_to_the_next_cloud(serve: Serve) -> None:
    with at_a_cloud(serve, an_endpoint(Provider.GCP, address="good", memory_mb=8192)) as rig:
        response = rig.send(EVENT)
    assert (response["statusCode"], response["headers"]["x-fiso-provider"]) == (200, "gcp")
    assert [attempt.failure for attempt in rig.only_record.attempts] == ["broken", None]


@pytest.mark.parametrize(("idempotent", "status"), [(Idempotent.YES, 200), (Idempotent.NO, 504)])
def test_a_kept_connection_that_is_reset_costs_a_repeatable_request_nothing(
    idempotent: Idempotent, status: int
) -> None:
    def reset_at_the_second(connection: socket.socket) -> None:
        answering(JSON, b"{}")(connection)
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        server(reset_at_the_second, answering(JSON, b"{}")) as url,
        rig_over(url, an_entry(at(url, Provider.AZURE), idempotent=idempotent)) as rig,
    ):
        assert rig.send(EVENT)["statusCode"] == 200
        assert rig.send(EVENT)["statusCode"] == status


def test_a_request_that_may_have_run_is_not_run_again() -> None:
    with at_a_cloud(MODES["truncated JSON"], idempotent=Idempotent.NO) as rig:
        assert rig.send(EVENT)["statusCode"] == 504
        assert len(rig.caller.calls) == 1


@pytest.mark.parametrize("body", [b'{"words": ', b"<html></html>", b'"\xff\xfe"', gzip.compress(bytes(32 * MIB))])
def test_what_is_complete_as_http_and_does_not_call_itself_json_passes_as_it_is(body: bytes) -> None:
    with at_a_cloud(answering("content-type: application/octet-stream\r\n", body)) as rig:
        response = rig.send(http_event())
    assert response["statusCode"] == 200
    said = response["body"]
    assert (base64.b64decode(said) if response["isBase64Encoded"] else said.encode()) == body
    assert [attempt.failure for attempt in rig.only_record.attempts] == [None]


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

    with at_a_cloud(drip) as rig:
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
    with at_a_cloud(MODES[mode]) as rig, peak_bytes() as peak:
        rig.send(EVENT)
        assert peak() < 20 * MIB
