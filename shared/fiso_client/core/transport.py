"""HTTP, one request at a time over kept-alive connections, inside an absolute time limit. Never retries.

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

from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.stopwatch import Stopwatch
from fiso_client.core.wire import BoundedResponse, left_s, read

CONNECT_TIMEOUT_S = 0.5
MAX_IDLE_S = 20.0
MAX_IDLE_PER_HOST = 16


class TransportError(ProviderError):
    """No complete answer: `UNREACHABLE` before the request was sent, `TIMED_OUT` while waiting, `BROKEN` within it."""


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

    def send(self, data: Any) -> None:
        """Hold what `http.client` writes, until `send_request` lets it go."""
        if self._held is None:
            super().send(data)  # type: ignore[misc]  # HTTPConnection's own
        else:
            self._held.append(data)

    def send_request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """One whole request."""
        self._held = []
        self.request(method, target, body=body, headers=dict(headers))  # type: ignore[attr-defined]
        whole, self._held = b"".join(self._held), None
        self.send(whole)


class _PlainConnection(_WritesOnce, HTTPConnection):
    """http."""


class _TlsConnection(_WritesOnce, HTTPSConnection):
    """https."""


_Connection: TypeAlias = _PlainConnection | _TlsConnection


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: _Connection
    since: float


class HttpTransport:
    """Keeps one pool of idle connections per origin. Safe to use from several threads.

    Follows no redirect, and knows no proxy. What users registered is reached by `dialling.PublicDial` only.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        dial: Dial = dial_any,
        stopwatch: Callable[[], float] | None = None,
    ) -> None:
        self._connect_timeout_s, self._dial = connect_timeout_s, dial
        self._stopwatch = stopwatch or Stopwatch()
        self._idle: dict[tuple[str, str], list[_Idle]] = {}
        self._lock = Lock()

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float) -> HttpAnswer:
        """One exchange within `timeout_s`. `TransportError` when there is no complete answer."""
        limit = monotonic() + timeout_s
        parts = urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        connection = self._take(origin) or self._connect(parts, timeout_s)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        keep = False
        try:
            response = _exchange(connection, method, target, headers, body, limit)
            answer = read(response)
            keep = response.leaves_connection_usable
        except TimeoutError as error:
            raise TransportError(Failure.TIMED_OUT, f"no answer within {timeout_s:.3f} s") from error
        except UnicodeEncodeError as error:
            raise TransportError(Failure.UNREACHABLE, f"the request is not HTTP: {error.reason}") from error
        except (OSError, HTTPException) as error:
            raise TransportError(Failure.BROKEN, _kind(error)) from error
        finally:
            if keep:
                self._give_back(origin, connection)
            else:
                connection.close()
        return answer

    def close(self) -> None:
        """Close what is kept alive."""
        with self._lock:
            kept, self._idle = self._idle, {}
        for idle in (idle for waiting in kept.values() for idle in waiting):
            idle.connection.close()

    def _connect(self, parts: SplitResult, timeout_s: float) -> _Connection:
        wait_s = min(self._connect_timeout_s, timeout_s)
        connection: _Connection | None = None
        try:
            connection = (
                _TlsConnection(parts.netloc, timeout=wait_s, context=_tls())
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
    connection: _Connection, method: str, target: str, headers: Mapping[str, str], body: bytes, limit: float
) -> BoundedResponse:
    if connection.sock is not None:
        connection.sock.settimeout(left_s(limit))  # of the whole sending
    connection.send_request(method, target, headers, body)
    connection.response_class = partial(BoundedResponse, limit=limit)  # type: ignore[assignment]  # any maker of one
    response: BoundedResponse = connection.getresponse()  # type: ignore[assignment]  # made by the line above
    return response


def _kind(error: Exception) -> str:
    """The system's errors as they are. What `http.client` says repeats what the other side sent: its name only."""
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__


def _is_closed_by_peer(connection: _Connection) -> bool:
    """A kept connection with something to read before any request was sent has been closed, or is out of step."""
    if connection.sock is None:
        return True
    ready = select.poll()  # `select.select` takes no descriptor above 1023
    ready.register(connection.sock, select.POLLIN)
    return bool(ready.poll(0))


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
