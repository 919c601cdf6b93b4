"""What must not be repeated runs once: over every status, every error of Invoke and every way to break a connection.

Each request that the server takes counts as a run, but for those of which the vendor's own contract says that nothing
ran; these are listed here from botocore's model, apart from the table that the router reads.
"""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from struct import pack
from threading import Thread
from typing import TypeAlias

import botocore.session
import pytest

from fiso.domain.endpoint import Payload, Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import Rig
from fiso_client.core.failures import NEVER_RAN
from fiso_client.core.transport import HttpTransport
from tests.builders import an_entry
from tests.security.genuine_clouds import at, rig_over

Reply: TypeAlias = bytes | None
RESET, HANG_UP = None, b""
MAY_HAVE_RUN = {"ServiceException", "EFSIOException"}
"""Errors of Invoke that can come once the function runs, or of which the model does not say that it did not."""


@contextmanager
def counting(reply: Reply) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads a whole request, counts it, and replies or breaks off; its address and the requests."""
    taken: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(2)
                    taken.append(_request(connection))
                    if reply is None:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
                    else:
                        connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
        listener.shutdown(socket.SHUT_RDWR)


def _request(connection: socket.socket) -> bytes:
    seen = b""
    while b"\r\n\r\n" not in seen:
        more = connection.recv(65_536)
        if not more:
            raise OSError("no request")
        seen += more
    head, _, body = seen.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return seen


def runs(reply: Reply, *providers: Provider, **changes: object) -> tuple[int, Rig]:
    """How many copies were sent a request that must not be repeated, and by which rig."""
    with counting(reply) as (url, taken):
        endpoints = [at(url, provider, id=f"c{number}", **changes) for number, provider in enumerate(providers)]
        with rig_over(url, an_entry(*endpoints, idempotent=Idempotent.NO)) as rig:
            rig.invoke("word-count", body="{}", x_fiso_timeout_ms="2000")
            return len(taken), rig


HTTP = (Provider.AZURE, Provider.GCP, Provider.AZURE)


def reply_of(status: int, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_of_a_function(status: int) -> None:
    for headers, body in (("", b""), ("content-type: application/json\r\n", b'{"error": "x"}')):
        count, _ = runs(reply_of(status, headers, body), *HTTP)
        assert count == 1


@pytest.mark.parametrize("status", [100, 101, 102, 103, 150, 199])
def test_interim_statuses_that_nothing_follows(status: int) -> None:
    count, _ = runs(f"HTTP/1.1 {status} X\r\n\r\n".encode(), *HTTP)
    assert count == 1


GOOD = reply_of(200, "content-type: application/json\r\n", b'{"a": 1}')
BREAKS: dict[str, Reply] = {
    "reset": RESET,
    "hung up": HANG_UP,
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "half a body": GOOD[:-3],
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nabc",
    "a chunk without a size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nab",
    "a length that is no number": b"HTTP/1.1 200 OK\r\ncontent-length: 1e9\r\n\r\nab",
    "another answer behind it": GOOD + GOOD,
    "JSON that is not": reply_of(200, "content-type: application/json\r\n", b'{"a": '),
    "an impossible status": b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000,
}


@pytest.mark.parametrize("way", BREAKS)
def test_every_way_to_break_an_answer(way: str) -> None:
    count, _ = runs(BREAKS[way], *HTTP)
    assert count == 1


def errors_of_invoke() -> list[tuple[str, int]]:
    model = botocore.session.get_session().get_service_model("lambda").operation_model("Invoke")
    return [(shape.name, shape.metadata.get("error", {}).get("httpStatusCode", 400)) for shape in model.error_shapes]


@pytest.mark.parametrize("payload", list(Payload))
@pytest.mark.parametrize(("name", "status"), errors_of_invoke())
def test_every_error_of_invoke(name: str, status: int, payload: Payload) -> None:
    body = b'{"Message": "no", "Type": "User"}'
    headers = f"x-amzn-errortype: {name}\r\ncontent-type: application/json\r\n"
    count, rig = runs(reply_of(status, headers, body), *(Provider.AWS,) * 3, payload=payload)
    if name in MAY_HAVE_RUN:
        assert count == 1
    *before, _ = [attempt.failure for attempt in rig.only_record.attempts]
    assert set(before) <= NEVER_RAN


@pytest.mark.parametrize("status", [*range(300, 400), *range(500, 600)])
def test_every_status_of_invoke_without_a_name_that_is_known(status: int) -> None:
    count, _ = runs(reply_of(status, "x-amzn-errortype: SomethingNewException\r\n", b"{}"), *(Provider.AWS,) * 3)
    assert count == 1


@pytest.mark.parametrize("way", BREAKS)
def test_every_way_to_break_invokes_answer(way: str) -> None:
    count, _ = runs(BREAKS[way], *(Provider.AWS,) * 3)
    assert count == 1


def test_a_function_that_raised_ran() -> None:
    raised = reply_of(200, "x-amz-function-error: Unhandled\r\n", b'{"errorType": "KeyError", "errorMessage": "a"}')
    count, _ = runs(raised, *(Provider.AWS,) * 3)
    assert count == 1


def test_a_request_has_one_host_and_says_nothing_of_codings_by_itself() -> None:
    with counting(GOOD) as (url, taken), closing(HttpTransport()) as transport:
        headers = {"host": "dynamodb.us-east-1.amazonaws.com", "a": "b"}
        transport.send("POST", url, headers=headers, body=b"{}", timeout_s=2)
    (request,) = taken
    assert request.lower().count(b"\r\nhost: ") == 1
    assert b"accept-encoding" not in request.lower()
