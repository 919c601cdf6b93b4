"""Answers that are out of step, drawn by seed: right and wrong framing, what is too much behind it, and in which pieces
it comes. Each byte that could be taken for another request's answer carries the number of its own request.

What comes once the next request is on its way cannot be told from its answer by anybody (RFC 9112, 9.3.2): each request
here begins when all that the one before brought has come.
"""

import random
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Annotated

import typer

from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.domain.endpoint import Provider
from fiso.testing.clock import ManualClock
from fiso_cli.rendering import Output, Table, figure, text
from fiso_client.calling import HttpCaller as ClientsCaller
from fiso_client.calling import Request
from fiso_client.core.failures import ProviderError
from fiso_client.core.transport import HttpTransport
from fiso_client.target import Target
from tests.builders import a_request, an_endpoint
from tests.certificates import self_signed

READ_AHEAD = 8192
"""What is read of a connection at once: what comes just behind such a border was seen by nobody yet."""
TIMEOUT_S = 5.0
MARK = re.compile(r"nonce-([0-9]+)-")
Ask = Callable[[str, int], tuple[Mapping[str, str], bytes] | None]
"""One request by method and number: headers and body of its answer, or None where it failed."""


@dataclass(slots=True, kw_only=True)
class Script:
    """What the server sends for one request. `body`: the only right one, None where the framing itself is a lie;
    `is_right`: a client must take it."""

    method: str
    pieces: list[bytes]
    body: bytes | None
    is_right: bool
    closes: bool
    later_s: float


@dataclass(slots=True, kw_only=True)
class Seen:
    """What came of it. `foreign`: requests whose answer held bytes of another one; `wrong`: another body than the
    framing says; `refused`: a right answer that was not taken."""

    answers: int = 0
    connections: int = 0
    foreign: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


def script_of(seed: int, number: int) -> Script:
    """The answer to one request: a framing, a surplus, and a delivery, each drawn."""
    draw = random.Random(f"{seed} {number}")
    method = draw.choices(["GET", "POST", "HEAD"], [4, 4, 1])[0]
    framings = _RIGHT if draw.random() < 0.6 else _ODD
    framing = framings[draw.choice(sorted(framings))](draw, _own(draw, number))
    if method == "HEAD":
        framing = _Framing(framing.whole, b"" if framing.is_right else None, is_right=False)
    whole, surplus = framing.whole, _surplus(draw, number)
    if framing.is_right and draw.random() < 0.3 and not framing.closes:
        whole = _up_to_the_border(whole)
    closes = framing.closes or draw.random() < 0.1
    later_s = draw.choice([0.0, 0.0, 0.0003]) if surplus else 0.0
    pieces = _cut(draw, whole) if later_s else _cut(draw, whole + surplus)
    if later_s:
        pieces.append(surplus)
    body = framing.body
    if framing.closes and surplus and framing.is_right:
        body = None  # what ends with the connection holds all that comes
    return Script(method=method, pieces=pieces, body=body, is_right=framing.is_right, closes=closes, later_s=later_s)


@dataclass(frozen=True, slots=True)
class _Framing:
    whole: bytes
    body: bytes | None
    is_right: bool = True
    closes: bool = False


def _own(draw: random.Random, number: int) -> bytes:
    return f"nonce-{number}-".encode() + b"x" * draw.choice([0, 1, 5, 300, 9_000])


def _surplus(draw: random.Random, number: int) -> bytes:
    """More than the answer: most of it would pass for an answer to the next request."""
    if draw.random() < 0.5:
        return b""
    poison = f"nonce-{number}-surplus".encode()
    whole = _answer(poison)
    return draw.choice(
        [
            whole,
            whole * 3,
            whole[: draw.randrange(1, len(whole))],
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" + whole,
            b"\r\n" + whole,
            b"\n\n",
            b"0\r\n\r\n" + whole,
            poison,
            b"HTTP/1.1 304 Not Modified\r\nX-A: " + poison + b"\r\n\r\n",
            _answer(poison + b"y" * 20_000),
        ]
    )


def _answer(body: bytes, *lines: bytes, status: bytes = b"200 OK", end: bytes = b"\r\n") -> bytes:
    given = lines or (b"Content-Length: %d" % len(body),)
    return b"HTTP/1.1 " + end.join((status, b"Content-Type: text/plain", *given)) + 2 * end + body


def _chunked(draw: random.Random, body: bytes, *, last: bytes = b"0\r\n\r\n") -> bytes:
    sizes = [min(len(body), draw.randrange(1, 4_000)) for _ in range(draw.randrange(0, 3))]
    chunks, rest = [], body
    for size in (*sizes, len(body)):
        piece, rest = rest[:size], rest[size:]
        extension = draw.choice([b"", b"", b";a=b", b' ; q="x"'])
        if piece:
            chunks.append(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece))
    return b"".join(chunks) + last


def _coded(coding: bytes, sent: bytes, *more: bytes) -> bytes:
    return _answer(sent, b"Transfer-Encoding: " + coding, *more)


def _lying(draw: random.Random, own: bytes) -> _Framing:
    """A length that is not the body's: less leaves a rest, more takes in what comes behind."""
    length = max(0, len(own) + draw.choice([-40, -1, 1, 30, 200]))
    return _Framing(_answer(own, b"Content-Length: %d" % length), None, is_right=False, closes=length > len(own))


def _broken_chunks(draw: random.Random, own: bytes) -> _Framing:
    sent = draw.choice(
        [
            b"zz\r\n" + own + b"\r\n0\r\n\r\n",
            b"-1\r\n" + own + b"\r\n0\r\n\r\n",
            b"0x5\r\n" + own + b"\r\n0\r\n\r\n",
            b"%x\r\n%s0\r\n\r\n" % (len(own), own),
            b"%x\r\n%sXX0\r\n\r\n" % (len(own), own),
            b"%x\r\n%s\r\n0\r\n\r\n" % (max(1, len(own) - 3), own),
            b"%x\r\n%s\r\n" % (len(own) + 400, own),
            b"ffffffffffffffffff\r\n" + own,
            b"\r\n" + own + b"\r\n0\r\n\r\n",
            b"%x\n%s\n0\n\n" % (len(own), own),
            b"%x \t\r\n%s\r\n00\r\nX-T: a\r\n" % (len(own), own),
            b"5;" + b"a" * 70_000 + b"\r\n" + own,
        ]
    )
    return _Framing(_coded(b"chunked", sent), None, is_right=False, closes=True)


def _two_framings(draw: random.Random, own: bytes) -> _Framing:
    chunked, length = _chunked(draw, own), b"Content-Length: %d" % draw.choice([0, 3, len(own)])
    coding = draw.choice([b"chunked", b"Chunked", b"gzip, chunked", b"chunked, identity", b"xchunked", b" chunked "])
    lines = [b"Transfer-Encoding: " + coding, length]
    draw.shuffle(lines)
    return _Framing(_answer(chunked, *lines), None, is_right=False, closes=draw.random() < 0.5)


def _several_lengths(draw: random.Random, own: bytes) -> _Framing:
    size = len(own)
    values = draw.choice(
        [(b"%d", b"%d"), (b"%d", b"1"), (b"1", b"%d"), (b"%d, %d",), (b"+%d",), (b"%d.0",), (b"0x%x",)]
    )
    lines = [
        b"Content-Length: " + (value.replace(b"%d", b"%d" % size).replace(b"%x", b"%x" % size)) for value in values
    ]
    return _Framing(_answer(own, *lines), None, is_right=False, closes=draw.random() < 0.5)


def _odd_heads(draw: random.Random, own: bytes) -> _Framing:
    """Heads that parsers read in more than one way."""
    size, whole = len(own), _chunked(draw, own)
    sent = draw.choice(
        [
            _answer(own, end=b"\n"),
            _answer(own, b"Content-Length: %d" % size, b"X-A: a", b" folded: b"),
            _answer(own, b"Content-Length:", b" %d" % size),
            _answer(own, b"Content-Length : %d" % size),
            _answer(own, b" Content-Length: 1", b"Content-Length: %d" % size),
            _answer(own, b"X-A: a\rContent-Length: 0", b"Content-Length: %d" % size),
            _answer(own, b"X-A: \0", b"Content-Length: %d" % size),
            _answer(own, b"Content-Length: %d" % size, b"no colon"),
            _answer(whole, b"Transfer-Encoding:", b" chunked"),
            _answer(whole, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
            _answer(own, b"Content-Length: %d" % size, status=b"200"),
            _answer(own, b"Content-Length: %d" % size).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
            _answer(own, b"Content-Length: %d" % size).replace(b"HTTP/1.1", b"HTTP/1.9", 1),
            b"\r\n" + _answer(own),
        ]
    )
    return _Framing(sent, None, is_right=False, closes=True)


def _without_body(draw: random.Random, own: bytes) -> _Framing:
    """Answers that have no body by their status, whatever they say and send."""
    status = draw.choice([b"204 No Content", b"304 Not Modified"])
    line = draw.choice([b"X-A: a", b"Content-Length: %d" % len(own), b"Transfer-Encoding: chunked"])
    return _Framing(_answer(draw.choice([b"", own]), line, status=status), b"", is_right=False)


def _interim(draw: random.Random, own: bytes) -> _Framing:
    first = draw.choice([b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Odd"])
    head = b"HTTP/1.1 " + first + b"\r\n" + draw.choice([b"", b"Link: </x>\r\n", b"Content-Length: 7\r\n"]) + b"\r\n"
    return _Framing(head * draw.randrange(1, 4) + _answer(own), own)


def _switched(_: random.Random, own: bytes) -> _Framing:
    return _Framing(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + _answer(own), None, is_right=False)


def _trailers(draw: random.Random, own: bytes) -> _Framing:
    end = b"0\r\n" + draw.choice([b"X-T: a\r\n", b"Content-Length: 3\r\nX-T: b\r\n"]) + b"\r\n"
    return _Framing(_coded(b"chunked", _chunked(draw, own, last=end)), own)


_RIGHT: Mapping[str, Callable[[random.Random, bytes], _Framing]] = {
    "length": lambda _, own: _Framing(_answer(own), own),
    "length, said last": lambda _, own: _Framing(_answer(own, b"X-A: a", b"content-length:%d" % len(own)), own),
    "length, then closed": lambda _, own: _Framing(
        _answer(own, b"Connection: close", b"Content-Length: %d" % len(own)), own
    ),
    "empty": lambda _, own: _Framing(_answer(b"", b"Content-Length: 0", b"X-Own: " + own[:30]), b""),
    "chunked": lambda draw, own: _Framing(_coded(b"chunked", _chunked(draw, own)), own),
    "trailers": _trailers,
    "until closed": lambda _, own: _Framing(_answer(own, b"X-A: a"), own, closes=True),
    "interim": _interim,
}
_ODD: Mapping[str, Callable[[random.Random, bytes], _Framing]] = {
    "without body": _without_body,
    "lying length": _lying,
    "broken chunks": _broken_chunks,
    "two framings": _two_framings,
    "several lengths": _several_lengths,
    "odd heads": _odd_heads,
    "switched": _switched,
}


def _up_to_the_border(whole: bytes) -> bytes:
    """As long as what is read at once, by a header that fills it up."""
    missing = -len(whole) % READ_AHEAD
    status, _, rest = whole.partition(b"\r\nContent-Type")
    filler = b"\r\nX-Fill: "
    return status + filler + b"f" * (missing - len(filler)) + b"\r\nContent-Type" + rest if missing > 9 else whole


def _cut(draw: random.Random, data: bytes) -> list[bytes]:
    """In one piece mostly, which TLS sends as one record where it fits."""
    at = sorted(draw.randrange(len(data) + 1) for _ in range(draw.choice([0, 0, 0, 1, 2, 4])))
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True) if start < end]


class Server:
    """Answers by the scripts of a seed, one connection after another. `sent` is let go once all of an answer is out."""

    def __init__(self, listener: socket.socket, seed: int, tls: ssl.SSLContext | None) -> None:
        self._listener, self._seed, self._tls = listener, seed, tls
        self.connections, self.sent = 0, threading.Semaphore(0)

    def run(self) -> None:
        """Until nobody listens any more."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError), connection:
                if self._tls is None:
                    self._serve(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as secured:
                        self._serve(secured)

    def _serve(self, connection: socket.socket) -> None:
        while (number := _number_of(connection)) is not None:
            script = script_of(self._seed, number)
            try:
                for piece in script.pieces:
                    if piece is script.pieces[-1] and script.later_s:
                        sleep(script.later_s)
                    connection.sendall(piece)
                if script.closes:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
            finally:
                self.sent.release()


def _number_of(connection: socket.socket) -> int | None:
    seen = b""
    while b"\r\n\r\n" not in seen:
        if not (piece := connection.recv(65_536)):
            return None
        seen += piece
    return int(seen.split(b" ", 2)[1].rpartition(b"/")[2])


@contextmanager
def serving(seed: int, tls: ssl.SSLContext | None) -> Iterator[tuple[Server, str]]:
    """The server, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, seed, tls)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        host = "http://127.0.0.1" if tls is None else "https://localhost"
        yield server, f"{host}:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(1)


def tried(server: Server, ask: Ask, *, seed: int, requests: int) -> Seen:
    """So many requests, one after another, each once all of the answer before is out."""
    seen = Seen()
    for number in range(requests):
        script = script_of(seed, number)
        answer = ask(script.method, number)
        server.sent.acquire(timeout=1)
        if answer is None:
            if script.is_right:
                seen.refused.append(number)
            continue
        seen.answers += 1
        headers, body = answer
        told = Counter(MARK.findall("".join(headers.values()) + body.decode("latin-1")))
        if set(told) - {str(number)}:
            seen.foreign.append(number)
        elif script.body is not None and body != script.body:
            seen.wrong.append(number)
    seen.connections = server.connections
    return seen


def through_fiso(transport: HttpTransport, url: str) -> Ask:
    """As the orchestrator calls a copy."""
    clock = ManualClock()
    caller = HttpCaller(transport, clock=clock, allow_loopback=True)
    endpoint = an_endpoint(Provider.AZURE, address=url)

    def ask(method: str, number: int) -> tuple[Mapping[str, str], bytes] | None:
        deadline_at = clock() + timedelta(seconds=TIMEOUT_S)
        request = a_request(method=method, path_suffix=f"/{number}", body=b"", deadline_at=deadline_at)
        with suppress(ProviderError):
            answer = caller.call(endpoint, request, timeout_ms=TIMEOUT_S * 1000)
            return answer.headers, answer.body
        return None

    return ask


def through_the_client(transport: HttpTransport, url: str) -> Ask:
    """As an application does by a lease."""
    caller = ClientsCaller(transport, lambda _: {})
    target = Target(id="copy", provider="azure", address=url)

    def ask(method: str, number: int) -> tuple[Mapping[str, str], bytes] | None:
        with suppress(ProviderError):
            answer = caller(target, Request(method=method, path_suffix=f"/{number}"), timeout_s=TIMEOUT_S)
            return answer.headers, answer.body
        return None

    return ask


WAYS: Mapping[str, tuple[Callable[[HttpTransport, str], Ask], bool]] = {
    "fiso, plain": (through_fiso, False),
    "fiso, tls": (through_fiso, True),
    "client, plain": (through_the_client, False),
    "client, tls": (through_the_client, True),
}


def run(way: str, *, seed: int, requests: int) -> Seen:
    """So many answers through one of WAYS."""
    through, is_tls = WAYS[way]
    with TemporaryDirectory() as folder:
        server_tls = client_tls = None
        if is_tls:
            certificate = self_signed(Path(folder))
            server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server_tls.load_cert_chain(certificate)
            client_tls = ssl.create_default_context(cafile=certificate)
        with (
            closing(HttpTransport(dial=PublicDial(allow_loopback=True), tls=client_tls)) as transport,
            serving(seed, server_tls) as (server, url),
        ):
            return tried(server, through(transport, url), seed=seed, requests=requests)


def desync(
    *,
    seed: Annotated[int, typer.Option("--seed", help="Which answers are drawn.")] = 1,
    answers: Annotated[int, typer.Option("--answers", min=1, help="How many, in each of the four ways.")] = 10_000,
) -> Output:
    """Answers out of step over kept connections; exits 1 if a byte of one reaches another request.

    \b
    python -m tests.lab desync --seed 7
    """
    found = {way: run(way, seed=seed, requests=answers) for way in WAYS}
    rows = [
        {
            "way": way,
            "answers": seen.answers,
            "connections": seen.connections,
            "foreign": len(seen.foreign),
            "wrong": len(seen.wrong),
            "refused": len(seen.refused),
        }
        for way, seen in found.items()
    ]
    columns = [
        text("way"),
        figure("answers"),
        figure("connections"),
        figure("foreign"),
        figure("wrong"),
        figure("refused"),
    ]
    is_met = not any(seen.foreign or seen.wrong or seen.refused for seen in found.values())
    return Output(
        document={"seed": seed, "ways": rows}, shown=[Table(columns=columns, rows=rows)], exit_code=0 if is_met else 1
    )
