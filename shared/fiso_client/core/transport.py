"""HTTP, one request at a time over kept-alive connections, inside an absolute time limit.

Sends a request a second time in one case only: a kept connection was dropped before any byte of an answer (RFC 9112,
9.3.1), and nothing had been sent yet or the request may be repeated.

Built on `http.client`: the orchestrator pays for every import at each cold start, and needs a limit per call, which the
vendors' SDKs do not have.
"""

import select
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Lock
from time import monotonic
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit
from weakref import finalize

from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure, Fault, ProviderError
from fiso_client.core.stopwatch import Stopwatch
from fiso_client.core.wire import (
    MAX_BODY_BYTES,
    BoundedResponse,
    Flawed,
    HeadTooLarge,
    Progress,
    TooLarge,
    left_s,
    read,
)

CONNECT_TIMEOUT_S = 0.5
MAX_IDLE_S = 20.0
MAX_IDLE_PER_HOST = 16


_DROPPED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class TransportError(ProviderError):
    """No complete answer: `UNREACHABLE` before any of the request was sent, `TIMED_OUT` while waiting, `BROKEN` within
    it. `is_stale`: the connection was dropped before any byte of an answer."""

    is_stale = False


Dial: TypeAlias = Callable[[str, int, float], socket.socket]
"""A TCP connection to a host and port within seconds; `OSError` when there is none."""


def dial_any(host: str, port: int, timeout_s: float) -> socket.socket:
    """To wherever the name leads: for addresses that the stage itself gives (AWS services), never a user's."""
    return socket.create_connection((host, port), timeout_s)


class _WritesOnce:
    """Head and body of a request in one write: two would be two packets, and two wake-ups of the other side."""

    _held: list[bytes] | None = None

    def dial_by(self, dial: Dial) -> None:
        """How the TCP connection is made; TLS still verifies the host's name (`http.client` has this place for it)."""

        def opened(address: tuple[str, int], timeout_s: float, _source: object) -> socket.socket:
            return dial(address[0], address[1], timeout_s)

        self._create_connection = opened

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = True) -> None:
        """Without the `accept-encoding: identity` that `http.client` adds of its own accord: a caller that says nothing
        of codings takes any (RFC 9110, 12.5.3)."""
        super().putrequest(method, url, skip_host=skip_host, skip_accept_encoding=True)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        """Hold what `http.client` writes, until `send_request` lets it go."""
        if self._held is None:
            super().send(data)  # type: ignore[misc]  # HTTPConnection's own
        else:
            self._held.append(data)

    def send_request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, limit: float, progress: Progress
    ) -> None:
        """One whole request. How much of it went out is in `progress`, also when it raises."""
        self._held = []
        self.request(method, target, body=body or None, headers=dict(headers))  # type: ignore[attr-defined]
        whole, self._held = memoryview(b"".join(self._held)), None
        sock: socket.socket = self.sock  # type: ignore[attr-defined]
        while progress.sent < len(whole):
            sock.settimeout(left_s(limit))
            progress.sent += sock.send(whole[progress.sent :])


class _PlainConnection(_WritesOnce, HTTPConnection):
    """http."""


class _TlsConnection(_WritesOnce, HTTPSConnection):
    """https."""


_Connection: TypeAlias = _PlainConnection | _TlsConnection
_Request: TypeAlias = tuple[str, str, Mapping[str, str], bytes]
"""Method, target, headers and body."""


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: _Connection
    since: float


def _let_go(idle: dict[tuple[str, str], list["_Idle"]]) -> None:
    for each in (each for waiting in idle.values() for each in waiting):
        each.connection.close()


class HttpTransport:
    """Keeps one pool of idle connections per origin. Safe to use from several threads.

    Follows no redirect, and knows no proxy. Of an answer's body at most `largest` bytes are read.
    What users registered is reached by `dialling.PublicDial` only.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        dial: Dial = dial_any,
        stopwatch: Callable[[], float] | None = None,
        largest: int = MAX_BODY_BYTES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connect_timeout_s, self._dial, self._largest, self._tls = connect_timeout_s, dial, largest, tls
        self._stopwatch = stopwatch or Stopwatch()
        self._idle: dict[tuple[str, str], list[_Idle]] = {}
        self._lock = Lock()
        finalize(self, _let_go, self._idle)  # what threads give back after `close` is closed with this transport

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        may_repeat: bool = False,
    ) -> HttpAnswer:
        """One exchange within `timeout_s`. `TransportError` when there is no complete answer.

        `may_repeat`: the request may have run and be sent again, as where its method is safe.
        """
        limit = monotonic() + timeout_s
        parts = urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

        def exchanged(connection: _Connection) -> HttpAnswer:
            return self._exchanged(origin, connection, (method, target, headers, body), limit)

        def on_a_fresh_one() -> HttpAnswer:
            return exchanged(self._connect(parts, max(0.0, limit - monotonic())))

        kept = self._take(origin)
        if kept is None:
            return on_a_fresh_one()
        try:
            return exchanged(kept)
        except TransportError as dropped:
            if not dropped.is_stale or not (may_repeat or dropped.failure is Failure.UNREACHABLE):
                raise
            try:
                return on_a_fresh_one()
            except TransportError as error:
                # That the second try was never sent does not say that the first one never ran.
                raise (dropped if error.failure is Failure.UNREACHABLE else error) from error

    def _exchanged(
        self, origin: tuple[str, str], connection: _Connection, request: _Request, limit: float
    ) -> HttpAnswer:
        progress, keep = Progress(), False
        try:
            response = _exchange(connection, request, limit, self._largest, progress)
            answer = read(response)
            keep = response.leaves_connection_usable
        except TimeoutError as error:
            raise TransportError(Failure.TIMED_OUT, "no answer in time") from error
        except TooLarge as error:
            raise _too_large(error, self._largest) from error
        except (OSError, HTTPException) as error:
            failure = Failure.BROKEN if progress.sent else Failure.UNREACHABLE
            broken = TransportError(
                failure, _kind(error), verdict=Fault.FUNCTION if isinstance(error, HeadTooLarge) else None
            )
            broken.is_stale = isinstance(error, _DROPPED) and not progress.received
            raise broken from error
        except ValueError as error:  # what `http.client` refuses to write, and text beyond Latin-1
            if progress.sent:
                raise TransportError(Failure.BROKEN, _kind(error)) from error
            raise TransportError(Failure.UNREACHABLE, "the request is not HTTP", verdict=Fault.CALLER) from error
        finally:
            if keep:
                self._give_back(origin, connection)
            else:
                connection.close()
        return answer

    def connect(self, url: str) -> None:
        """Have a connection there, for the first request to come. `TransportError` when there is none."""
        parts = urlsplit(url)
        self._give_back((parts.scheme, parts.netloc), self._connect(parts, self._connect_timeout_s))

    def close(self) -> None:
        """Close what is kept alive."""
        with self._lock:
            kept = [idle for waiting in self._idle.values() for idle in waiting]
            self._idle.clear()
        for idle in kept:
            idle.connection.close()

    def _connect(self, parts: SplitResult, timeout_s: float) -> _Connection:
        wait_s = min(self._connect_timeout_s, timeout_s)
        connection: _Connection | None = None
        try:
            connection = (
                _TlsConnection(parts.netloc, timeout=wait_s, context=self._tls or _tls())
                if parts.scheme == "https"
                else _PlainConnection(parts.netloc, timeout=wait_s)
            )
            connection.dial_by(self._dial)
            connection.connect()
        except (OSError, HTTPException, UnicodeError) as error:
            if connection is not None:
                connection.close()
            raise TransportError(Failure.UNREACHABLE, _kind(error)) from error
        return connection

    def _take(self, origin: tuple[str, str]) -> _Connection | None:
        """A kept connection that the other side has not closed."""
        while True:
            with self._lock:
                waiting = self._idle.get(origin)
                idle = waiting.pop() if waiting else None
            if idle is None:
                return None
            # A word of its closing need not have come through while this environment was frozen: age counts too.
            if self._stopwatch() - idle.since < MAX_IDLE_S and not _is_closed_by_peer(idle.connection):
                return idle.connection
            idle.connection.close()

    def _give_back(self, origin: tuple[str, str], connection: _Connection) -> None:
        with self._lock:
            waiting = self._idle.setdefault(origin, [])
            if len(waiting) < MAX_IDLE_PER_HOST:
                waiting.append(_Idle(connection, self._stopwatch()))
                return
        connection.close()


def _exchange(
    connection: _Connection, request: _Request, limit: float, largest: int, progress: Progress
) -> BoundedResponse:
    connection.send_request(*request, limit, progress)
    made = partial(BoundedResponse, limit=limit, largest=largest, progress=progress)
    connection.response_class = made  # type: ignore[assignment]  # any maker of one
    response: BoundedResponse = connection.getresponse()  # type: ignore[assignment]  # made by the line above
    return response


def _too_large(error: TooLarge, largest: int) -> TransportError:
    return TransportError(
        Failure.BROKEN,
        f"the function's answer has {error.size}, and {largest} can be returned: call it by a lease, or answer with a "
        "pre-signed URL",
        status=error.status,
        verdict=Fault.FUNCTION,
    )


def _kind(error: Exception) -> str:
    """The system's errors as they are. What `http.client` says repeats what the other side sent: its name only."""
    if isinstance(error, Flawed):
        return f"the answer is not HTTP: {error}"
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__


def _is_closed_by_peer(connection: _Connection) -> bool:
    """A kept connection with something to read before any request was sent has been closed, or is out of step."""
    if connection.sock is None:
        return True
    if isinstance(connection.sock, ssl.SSLSocket) and connection.sock.pending():
        return True  # deciphered already: the socket itself has nothing more
    ready = select.poll()  # `select.select` takes no descriptor above 1023
    ready.register(connection.sock, select.POLLIN)
    return bool(ready.poll(0))


_MAKING_TLS = Lock()


def _tls() -> ssl.SSLContext:
    with _MAKING_TLS:  # or each of the first connections, which are made at once, reads all authorities by itself
        return _made_tls()


@cache
def _made_tls() -> ssl.SSLContext:
    return ssl.create_default_context()
