import gzip
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure, Fault
from fiso_client.core.stopwatch import Stopwatch
from fiso_client.core.transport import MAX_IDLE_S, HttpTransport, TransportError
from fiso_client.core.wire import MAX_BODY_BYTES

Serve = Callable[[socket.socket], object]
MANY = 1_500
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kept: yes\r\n\r\nok"


@contextmanager
def server(*connections: Serve) -> Iterator[str]:
    """Serves the given connections in order, one thread, then nobody. A client may hang up at any time."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def run() -> None:
            for serve in connections:
                with suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def read_request(connection: socket.socket) -> None:
    """Read one request, whose body is one byte."""
    seen = b""
    while b"\r\n\r\n" not in seen or seen.endswith(b"\r\n\r\n"):
        if not (piece := connection.recv(65_536)):
            raise ConnectionAbortedError
        seen += piece


def answering(*answers: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        for answer in answers:
            read_request(connection)
            connection.sendall(answer)

    return serve


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    used = HttpTransport()
    yield used
    used.close()


def send(transport: HttpTransport, url: str, timeout_s: float = 2.0) -> bytes:
    return transport.send("POST", f"{url}/path", headers={}, body=b"x", timeout_s=timeout_s).body


def fault_of(transport: HttpTransport, url: str, timeout_s: float = 2.0) -> Failure:
    with pytest.raises(TransportError) as raised:
        send(transport, url, timeout_s)
    return raised.value.failure


def test_a_connection_is_kept_for_the_next_request(transport: HttpTransport) -> None:
    with server(answering(ANSWER, ANSWER)) as url:
        assert [send(transport, url), send(transport, url)] == [b"ok", b"ok"]


@pytest.fixture
def many_open_files() -> Iterator[None]:
    """The next descriptors of this process are above 1023, as in a process with many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY and hard != resource.RLIM_INFINITY:
        pytest.skip(f"this machine lets a process open {hard} files, too few to try {MANY}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY), hard))
    with ExitStack() as opened:
        for _ in range(1_100):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_open_files")
def test_a_connection_is_kept_beside_a_thousand_open_files(transport: HttpTransport) -> None:
    with server(answering(ANSWER, ANSWER)) as url:
        assert [send(transport, url), send(transport, url)] == [b"ok", b"ok"]


def test_a_connection_that_the_other_side_closed_is_not_used_again(transport: HttpTransport) -> None:
    closed = threading.Event()

    def answer_and_close(connection: socket.socket) -> None:
        answering(ANSWER)(connection)
        connection.close()
        closed.set()

    with server(answer_and_close, answering(ANSWER)) as url:
        assert send(transport, url) == b"ok"
        assert closed.wait(5)
        assert send(transport, url) == b"ok"


def test_a_connection_that_was_kept_over_a_freeze_is_not_used_again() -> None:
    frozen_s, came_over_the_first = [0.0], list[bytes]()

    def answer_and_watch(connection: socket.socket) -> None:
        answering(ANSWER)(connection)
        came_over_the_first.append(connection.recv(65_536))

    stopwatch = Stopwatch(ticks=lambda: 0.0, wall=lambda: frozen_s[0])
    with closing(HttpTransport(stopwatch=stopwatch)) as transport, server(answer_and_watch, answering(ANSWER)) as url:
        assert send(transport, url) == b"ok"
        frozen_s[0] = MAX_IDLE_S + 1
        assert send(transport, url) == b"ok"
    assert came_over_the_first == [b""]


def test_nobody_there_means_that_nothing_was_sent(transport: HttpTransport) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    assert fault_of(transport, f"http://127.0.0.1:{port}") is Failure.UNREACHABLE


def test_silence_is_a_timeout(transport: HttpTransport) -> None:
    release = threading.Event()
    with server(lambda _: bool(release.wait(5))) as url:
        assert fault_of(transport, url, timeout_s=0.1) is Failure.TIMED_OUT
        release.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"a" * 64_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"X: a\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nbroken line\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=[
        "truncated",
        "closed",
        "not http",
        "header too long",
        "head too large",
        "200 headers",
        "two lengths",
        "negative length",
        "100 GB announced",
        "chunks end early",
        "a chunk without size",
        "a status of four digits",
        "a negative chunk",
        "a chunk of 0x5",
        "a chunk of 1_0",
        "a space before the colon",
        "a line without colon",
        "a carriage return in a header",
        "a NUL in a header",
        "a length with a sign",
        "another protocol",
    ],
)
def test_an_answer_that_is_not_whole_is_broken(transport: HttpTransport, answer: bytes) -> None:
    with server(answering(answer)) as url:
        assert fault_of(transport, url) is Failure.BROKEN


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
    ],
    ids=["head", "interim answers", "body", "body without length", "chunk's frame", "trailers"],
)
def test_whatever_drips_past_the_limit_is_a_timeout(transport: HttpTransport, head: bytes, piece: bytes) -> None:
    release = threading.Event()

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while not release.wait(0.02):
            try:
                connection.sendall(piece)
            except OSError:
                return

    with server(drip) as url:
        assert fault_of(transport, url, timeout_s=0.3) is Failure.TIMED_OUT
        release.set()


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"40\r\n" + b"x" * 64 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
    ],
    ids=["interim answers", "body without length", "small chunks", "trailers"],
)
def test_an_answer_without_end_is_broken(transport: HttpTransport, head: bytes, piece: bytes) -> None:
    def flood(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        try:
            while True:
                connection.sendall(piece * 10_000)
        except OSError:
            return

    with server(flood) as url:
        assert fault_of(transport, url, timeout_s=60) is Failure.BROKEN


def test_a_connection_with_more_on_it_than_the_answer_is_not_used_again(transport: HttpTransport) -> None:
    with server(answering(ANSWER + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"), answering(ANSWER)) as url:
        assert [send(transport, url), send(transport, url)] == [b"ok", b"ok"]


def test_a_compressed_answer_stays_as_small_as_it_came(transport: HttpTransport) -> None:
    bomb = gzip.compress(bytes(20 * 2**20))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with server(answering(head + bomb)) as url:
        assert send(transport, url) == bomb


def test_a_header_that_http_cannot_hold_means_that_nothing_was_sent(transport: HttpTransport) -> None:
    with server(answering(ANSWER)) as url, pytest.raises(TransportError) as raised:
        transport.send("POST", url, headers={"x": "\u0436"}, body=b"x", timeout_s=2)
    assert raised.value.failure is Failure.UNREACHABLE


def test_header_names_are_lower_case(transport: HttpTransport) -> None:
    with server(answering(ANSWER)) as url:
        answer = transport.send("POST", url, headers={}, body=b"x", timeout_s=2)
        assert answer.headers["x-kept"] == "yes"


def exchanged(transport: HttpTransport, url: str, method: str = "POST", **how: bool) -> HttpAnswer:
    return transport.send(method, url, headers={}, body=b"x", timeout_s=2, **how)


def test_repeated_headers_are_joined_and_cookies_are_not(transport: HttpTransport) -> None:
    lines = b"Cache-Control: no-store\r\nSet-Cookie: a=1; Path=/, x\r\nCache-Control: private\r\nSet-Cookie: b=2\r\n"
    with server(answering(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n")) as url:
        answer = exchanged(transport, url)
    assert answer.headers == {"cache-control": "no-store, private", "content-length": "0"}
    assert answer.cookies == ("a=1; Path=/, x", "b=2")


def test_a_folded_header_is_one_line(transport: HttpTransport) -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\nX-Long: a,\r\n\tb\r\nContent-Length: 0\r\n\r\n")) as url:
        assert exchanged(transport, url).headers["x-long"] == "a, b"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("POST", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
def test_an_answer_that_cannot_have_a_body_ends_with_its_head(
    transport: HttpTransport, method: str, head: bytes
) -> None:
    with server(answering(head, ANSWER), answering(ANSWER)) as url:
        assert exchanged(transport, url, method).body == b""
        assert exchanged(transport, url).body == b"ok"


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </a>; rel=preload"])
def test_interim_answers_are_passed_over(transport: HttpTransport, interim: bytes) -> None:
    with server(answering(b"HTTP/1.1 " + interim + b"\r\n\r\n" + ANSWER, ANSWER)) as url:
        answers = [exchanged(transport, url), exchanged(transport, url)]
    assert [(answer.status, answer.body, "link" in answer.headers) for answer in answers] == [(200, b"ok", False)] * 2


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"xchunked"])
def test_a_transfer_coding_that_is_not_understood_is_broken(transport: HttpTransport, coding: bytes) -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n")) as url:
        assert fault_of(transport, url) is Failure.BROKEN


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_a_request_without_a_body_announces_none(transport: HttpTransport, method: str) -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        seen.append(connection.recv(65_536))
        connection.sendall(ANSWER)

    with server(serve) as url:
        transport.send(method, f"{url}/a", headers={}, body=b"", timeout_s=2)
    assert seen[0].startswith(method.encode() + b" /a HTTP/1.1\r\n")
    assert b"content-length" not in seen[0].lower()


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n700000\r\n"],
    ids=["announced", "without length", "chunked"],
)
def test_an_answer_larger_than_can_be_returned_is_told_as_such(transport: HttpTransport, head: bytes) -> None:
    def flood(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        connection.sendall(bytes(MAX_BODY_BYTES + 1))
        connection.recv(1)

    with server(flood) as url, pytest.raises(TransportError) as raised:
        exchanged(transport, url)
    assert (raised.value.failure, raised.value.verdict, raised.value.status) == (Failure.BROKEN, Fault.FUNCTION, 200)
    assert "call it by a lease, or answer with a pre-signed URL" in raised.value.detail


def test_a_transport_may_read_larger_answers() -> None:
    body = bytes(MAX_BODY_BYTES + 1)
    with (
        closing(HttpTransport(largest=2 * MAX_BODY_BYTES)) as transport,
        server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as url,
    ):
        assert exchanged(transport, url).body == body


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 150 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.1 200 OK\r\nX: secret\rY: b\r\n\r\n", "a line of its head is no header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "ended 7 bytes early"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_in_words_of_ours(
    transport: HttpTransport, answer: bytes, said: str
) -> None:
    with server(answering(answer)) as url, pytest.raises(TransportError) as raised:
        exchanged(transport, url)
    assert said in raised.value.detail
    assert "secret" not in raised.value.detail


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x\n": "a"}, {"x": "\u0436"}])
def test_a_request_that_http_cannot_write_was_never_sent_and_is_the_callers(
    transport: HttpTransport, headers: dict[str, str]
) -> None:
    with server(answering(ANSWER)) as url, pytest.raises(TransportError) as raised:
        transport.send("POST", url, headers=headers, body=b"x", timeout_s=2)
    assert (raised.value.failure, raised.value.verdict) == (Failure.UNREACHABLE, Fault.CALLER)
