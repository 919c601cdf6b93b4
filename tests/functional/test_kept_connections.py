"""Kept connections: when one is used again, when replaced, and that no answer ever goes to another request."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fiso_client.core.failures import Failure
from fiso_client.core.transport import HttpTransport, TransportError
from tests.certificates import self_signed
from tests.functional.test_http_transport import ANSWER, Serve, answering, exchanged, read_request, server


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport()) as used:
        yield used


def dropping(after: bytes = b"") -> Serve:
    """Answers once; the second request on the connection gets `after`, then a reset."""

    def serve(connection: socket.socket) -> None:
        answering(ANSWER)(connection)
        read_request(connection)
        connection.sendall(after)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return serve


def test_a_kept_connection_that_is_reset_is_replaced_where_the_request_may_be_repeated(
    transport: HttpTransport,
) -> None:
    with server(dropping(), answering(ANSWER)) as url:
        assert exchanged(transport, url, may_repeat=True).body == b"ok"
        assert exchanged(transport, url, may_repeat=True).body == b"ok"


@pytest.mark.parametrize(("after", "may_repeat"), [(b"", False), (b"HTTP/1.1 2", True)])
def test_what_may_have_run_or_was_answered_in_part_is_not_sent_again(
    transport: HttpTransport, after: bytes, may_repeat: bool
) -> None:
    with server(dropping(after), answering(ANSWER)) as url:
        exchanged(transport, url)
        with pytest.raises(TransportError) as raised:
            exchanged(transport, url, may_repeat=may_repeat)
    assert raised.value.failure is Failure.BROKEN


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n12345",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["switched", "304 with a body", "204 with a body", "two lengths"],
)
def test_after_an_answer_that_says_two_things_the_next_one_is_its_own(transport: HttpTransport, first: bytes) -> None:
    with server(answering(first, ANSWER), answering(ANSWER)) as url:
        before = exchanged(transport, url)
        assert exchanged(transport, url).body == b"ok"
    assert before.body in (b"", b"hello")
    assert before.body == b"" or "content-length" not in before.headers


def test_a_second_reset_ends_it(transport: HttpTransport) -> None:
    def reset(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(dropping(), reset, answering(ANSWER)) as url:
        exchanged(transport, url)
        with pytest.raises(TransportError) as raised:
            exchanged(transport, url, may_repeat=True)
    assert raised.value.failure is Failure.BROKEN


def test_of_what_was_sent_once_nobody_says_that_it_never_ran(transport: HttpTransport) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def run() -> None:
            connection, _ = listener.accept()
            listener.close()
            with connection:
                dropping()(connection)

        threading.Thread(target=run, daemon=True).start()
        exchanged(transport, url)
        with pytest.raises(TransportError) as raised:
            exchanged(transport, url, may_repeat=True)
    assert raised.value.failure is Failure.BROKEN


def test_answers_out_of_step_in_one_tls_record_are_never_given_to_the_next_request(tmp_path: Path) -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 8151\r\n\r\n"
    padded = head + bytes(8192 - len(head))  # as much as is read ahead at once: the rest stays deciphered in OpenSSL
    assert len(padded) - len(head) == 8151
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))

    def over_tls(serve: Serve) -> Serve:
        def run(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                serve(secured)

        return run

    for first in (ANSWER + forged, padded + forged):
        with (
            closing(HttpTransport(tls=ssl.create_default_context(cafile=tmp_path / "cert.pem"))) as transport,
            server(over_tls(answering(first, ANSWER)), over_tls(answering(ANSWER))) as url,
        ):
            secure = url.replace("http://127.0.0.1", "https://localhost")
            exchanged(transport, secure)
            assert exchanged(transport, secure).body == b"ok"
