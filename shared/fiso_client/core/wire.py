"""Answers off the wire: read whole, inside a limit of time and of bytes, or not at all.

Nothing is decompressed: a body stays as it came.
"""

import re
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, LineTooLong
from io import BufferedReader, RawIOBase
from socket import socket
from time import monotonic
from typing import Any

from fiso_client.core.answers import HttpAnswer, add_header

MAX_BODY_BYTES = 6_291_556
"""What Lambda returns at most, and so what FISO can pass on (AWS Lambda quotas, invocation payload)."""
MAX_HEAD_BYTES = 32 * 1024
"""Of all header names and values. Lambda's log tail, the longest that is known, takes 6 KB."""
WIRE_FACTOR = 2
"""Of everything that is read (head, interim answers, body, and the frames of a chunked one), in largest bodies."""
_CHUNK = 65_536
_MOST_LINE = 65_536
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Flawed(HTTPException):
    """Not what the protocol promises, in words of our own: nothing of the answer is repeated."""


class HeadTooLarge(Flawed):
    """More, or longer, headers than are read: no matter of this copy alone."""


class TooLarge(HTTPException):
    """The answer is larger than what is read of one; the rest was not read. `status` is its own."""

    def __init__(self, status: int, size: str) -> None:
        super().__init__(size)
        self.status, self.size = status, size


@dataclass(slots=True)
class Progress:
    """How far an exchange has come, in bytes."""

    sent: int = 0
    received: int = 0


class _Wire(RawIOBase):
    """What the other side sends, up to an absolute limit of time and of bytes, in however small pieces it comes.

    A socket's own timeout starts anew with each piece, so a head that drips would outlive every deadline.
    """

    def __init__(self, sock: socket, limit: float, most: int, progress: Progress) -> None:
        self._sock, self._limit, self._most, self._progress = sock, limit, most, progress
        self._raw = sock.makefile("rb", buffering=0)
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
        self._progress.received += count
        if self._progress.received > self._most:
            raise Flawed(f"more than {self._most} bytes on the wire")
        return count

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class _Buffer(BufferedReader):
    """Reads ahead; says when it is closed whether more had come than was asked for."""

    has_surplus = has_stray = False
    """`has_stray`: a line held a carriage return of its own or a NUL, by which one header could pose as two."""

    def __init__(self, wire: _Wire) -> None:
        super().__init__(wire)
        self._wire = wire

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line."""
        line = super().readline(size)
        if b"\r" in line[:-2] or b"\0" in line:
            self.has_stray = True
        return line

    def close(self) -> None:
        """Look at what was read ahead, without waiting for more."""
        if not self.closed:
            self._wire.end()
            self.has_surplus = bool(self.peek(1))
        super().close()


class BoundedResponse(HTTPResponse):
    """An answer that is read through a `_Wire`: at most `largest` bytes of body."""

    def __init__(
        self,
        sock: socket,
        debuglevel: int = 0,
        method: str | None = None,
        *,
        limit: float,
        largest: int,
        progress: Progress,
    ) -> None:
        super().__init__(sock, debuglevel, method)
        self.largest, self._asked_by = largest, method
        self.fp.close()
        self.fp = self._buffer = _Buffer(_Wire(sock, limit, WIRE_FACTOR * largest, progress))

    def begin(self) -> None:
        """The head. An answer that cannot have a body ends here, whatever its head says of one (RFC 9112, 6.3)."""
        try:
            super().begin()
        except LineTooLong as error:
            raise HeadTooLarge(f"a line of its head is longer than {_MOST_LINE} bytes") from error
        except HTTPException as error:
            raise HeadTooLarge("it has more than 100 headers") if "100 headers" in str(error) else error from error
        if self._buffer.has_stray or self.headers.defects:
            raise Flawed("a line of its head is no header")
        coding = self.headers.get("transfer-encoding")
        says_two_things = coding is not None and (self.status in (204, 304) or "content-length" in self.headers)
        if self.status == 101 or says_two_things:
            self.will_close = True  # nobody asked to switch; what follows here is not to be read as the next answer
        if self._asked_by == "HEAD" or self.status in (204, 304):
            self.chunked, self.length = False, 0
        elif coding is not None and coding.strip().lower() != "chunked":
            raise Flawed("its transfer coding is not chunked")

    def _get_chunk_left(self) -> int | None:
        """A chunk's data ends with a line break and nothing else (RFC 9112, 7.1); `http.client` leaves out two bytes,
        whatever they are."""
        if self.chunk_left == 0:
            if self.fp.read(2) != b"\r\n":
                raise Flawed("a chunk is longer than it says")
            self.chunk_left = None
        left: int | None = super()._get_chunk_left()  # type: ignore[misc]  # not in its stub
        return left

    def _read_next_chunk_size(self) -> int:
        """Hexadecimal digits and nothing else (RFC 9112, 7.1); `int` takes signs and underscores as well."""
        line = self.fp.readline(_MOST_LINE + 1)
        size = line.partition(b";")[0].strip()
        if len(line) > _MOST_LINE or not _CHUNK_SIZE.fullmatch(size):
            raise Flawed("the size of a chunk is no number")
        return int(size, 16)

    def _read_status(self) -> tuple[str, int, str]:
        """The final answer's status line: interim ones (1xx) are passed over, not only 100 as `http.client` does."""
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in its stub
        while 100 <= status < 200 and status != 101:  # nobody asked to switch protocols
            while (line := self.fp.readline(_MOST_LINE + 1)).strip():
                if len(line) > _MOST_LINE:
                    raise Flawed("a line of an interim answer is too long")
            version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, status, reason

    @property
    def leaves_connection_usable(self) -> bool:
        """Once closed: whether the next answer would begin where this one ended."""
        return not self.will_close and not self._buffer.has_surplus


def read(response: BoundedResponse) -> HttpAnswer:
    """The whole answer, its connection free again. `HTTPException` when it is too large, or not what it announced."""
    with closing(response):
        headers, cookies = _headers(response)
        return HttpAnswer(status=response.status, headers=headers, cookies=cookies, body=_body(response))


def _body(response: BoundedResponse) -> bytes:
    if response.length is not None and response.length > response.largest:
        raise TooLarge(response.status, f"{response.length} bytes")
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > response.largest:
            raise TooLarge(response.status, f"more than {response.largest} bytes")
    if response.length:
        raise Flawed(f"it ended {response.length} bytes early")
    return bytes(body)


def _headers(response: HTTPResponse) -> tuple[dict[str, str], tuple[str, ...]]:
    """Names in lower case, repeated ones joined (RFC 9110, 5.3), and the cookies, which cannot be."""
    pairs = response.getheaders()
    if sum(len(name) + len(value) for name, value in pairs) > MAX_HEAD_BYTES:
        raise HeadTooLarge(f"its headers are larger than {MAX_HEAD_BYTES} bytes")
    headers: dict[str, str] = {}
    cookies: list[str] = []
    lengths = set()
    for given, value in pairs:
        name = given.lower()
        if "\n" in value:  # folded over several lines (RFC 9112, 5.2)
            value = " ".join(line.strip() for line in value.splitlines())
        if name == "set-cookie":
            cookies.append(value)
            continue
        if name == "content-length":
            lengths.add(value.strip())
        add_header(headers, name, value)
    if len(lengths) > 1 or not all(length.isascii() and length.isdecimal() for length in lengths):
        raise Flawed("its content-length is no number, or is several")
    if "transfer-encoding" in headers:
        headers.pop("content-length", None)  # the coding counts (RFC 9112, 6.3)
    return headers, tuple(cookies)


def left_s(limit: float) -> float:
    """Seconds until a limit on the monotonic clock; `TimeoutError` when it has passed."""
    left = limit - monotonic()
    if left <= 0:
        raise TimeoutError
    return left
