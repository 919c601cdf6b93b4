"""Answers off the wire: read whole, inside a limit of time and of bytes, or not at all.

Nothing is decompressed: a body stays as it came.
"""

from contextlib import closing
from http.client import HTTPException, HTTPResponse
from io import BufferedReader, RawIOBase
from socket import socket
from time import monotonic
from typing import Any

from fiso_client.core.answers import HttpAnswer

MAX_BODY_BYTES = 6 * 1024 * 1024
MAX_HEAD_BYTES = 32 * 1024
"""Of all header names and values. Lambda's log tail, the longest that is known, takes 6 KB."""
MAX_WIRE_BYTES = 2 * MAX_BODY_BYTES
"""Of everything that is read: head, interim answers, body, and the frames of a chunked one."""
_CHUNK = 65_536


class _Wire(RawIOBase):
    """What the other side sends, up to an absolute limit of time and MAX_WIRE_BYTES, in however small pieces it comes.

    A socket's own timeout starts anew with each piece, so a head that drips would outlive every deadline.
    """

    def __init__(self, sock: socket, limit: float) -> None:
        self._sock, self._limit = sock, limit
        self._raw = sock.makefile("rb", buffering=0)
        self._left = MAX_WIRE_BYTES
        self._is_over = False

    def readable(self) -> bool:
        """Always."""
        return True

    def end(self) -> None:
        """Nothing more is waited for."""
        self._is_over = True

    def readinto(self, buffer: Any) -> int | None:
        """What is there, or waits for it. `TimeoutError` past the limit, `HTTPException` past the bytes."""
        if self._is_over:
            return None
        self._sock.settimeout(left_s(self._limit))
        count = self._raw.readinto(buffer) or 0
        self._left -= count
        if self._left < 0:
            raise HTTPException(f"more than {MAX_WIRE_BYTES} bytes on the wire")
        return count

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class _Buffer(BufferedReader):
    """Reads ahead; says when it is closed whether more had come than was asked for."""

    has_surplus = False

    def __init__(self, wire: _Wire) -> None:
        super().__init__(wire)
        self._wire = wire

    def close(self) -> None:
        """Look at what was read ahead, without waiting for more."""
        if not self.closed:
            self._wire.end()
            self.has_surplus = bool(self.peek(1))
        super().close()


class BoundedResponse(HTTPResponse):
    """An answer that is read through a `_Wire`."""

    def __init__(self, sock: socket, debuglevel: int = 0, method: str | None = None, *, limit: float) -> None:
        super().__init__(sock, debuglevel, method)
        self.fp.close()
        self.fp = self._buffer = _Buffer(_Wire(sock, limit))

    @property
    def leaves_connection_usable(self) -> bool:
        """Once closed: whether the next answer would begin where this one ended."""
        return not self.will_close and not self._buffer.has_surplus


def read(response: BoundedResponse) -> HttpAnswer:
    """The whole answer, its connection free again. `HTTPException` when it is too large, or not what it announced."""
    with closing(response):
        return HttpAnswer(status=response.status, headers=_headers(response), body=_body(response))


def _body(response: BoundedResponse) -> bytes:
    if response.length is not None and response.length > MAX_BODY_BYTES:
        raise HTTPException(f"the answer announces {response.length} bytes, more than {MAX_BODY_BYTES}")
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(f"the answer is larger than {MAX_BODY_BYTES} bytes")
    if response.length:
        raise HTTPException(f"the answer ended {response.length} bytes early")
    return bytes(body)


def _headers(response: HTTPResponse) -> dict[str, str]:
    pairs = response.getheaders()
    if sum(len(name) + len(value) for name, value in pairs) > MAX_HEAD_BYTES:
        raise HTTPException(f"the answer's headers are larger than {MAX_HEAD_BYTES} bytes")
    lengths = {value.strip() for name, value in pairs if name.lower() == "content-length"}
    if len(lengths) > 1 or not all(length.isascii() and length.isdecimal() for length in lengths):
        raise HTTPException("the answer's content-length is no number, or is several")
    return {name.lower(): value for name, value in pairs}


def left_s(limit: float) -> float:
    """Seconds until a limit on the monotonic clock; `TimeoutError` when it has passed."""
    left = limit - monotonic()
    if left <= 0:
        raise TimeoutError
    return left
