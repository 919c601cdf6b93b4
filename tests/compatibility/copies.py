"""Copies on raw sockets: what they answer is given in bytes, and what they were sent is kept in bytes."""

import base64
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from struct import pack
from threading import Thread
from typing import Any

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso.testing.rig import Rig, http_event
from tests.builders import an_entry
from tests.security.genuine_clouds import at, rig_over

RESET = b"<reset>"
"""Instead of an answer: the connection is torn down."""
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
Reply = bytes | Callable[[bytes], bytes]


@dataclass(slots=True)
class Copy:
    """A server's address, and the requests that it took, whole."""

    url: str
    requests: list[bytes] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The last request's line and headers."""
        return self.requests[-1].partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def line(self) -> str:
        return self.head.partition("\r\n")[0]

    @property
    def headers(self) -> dict[str, str]:
        """Of the last request; a name that stands on two lines is a failed test."""
        pairs = [line.partition(": ")[::2] for line in self.head.split("\r\n")[1:]]
        names = [name.lower() for name, _ in pairs]
        assert len(set(names)) == len(names), names
        return dict(zip(names, (value for _, value in pairs), strict=True))

    @property
    def body(self) -> bytes:
        return self.requests[-1].partition(b"\r\n\r\n")[2]


def answer(status: int, body: bytes = b"", *lines: str) -> bytes:
    """A whole answer with a length."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", *lines, f"content-length: {len(body)}"))
    return head.encode("latin-1") + b"\r\n" + body


@contextmanager
def copy_of(*replies: Reply, hangs_up: bool = False) -> Iterator[Copy]:
    """A server that answers requests in order, over kept connections; the last reply stands for all that follow."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        copy = Copy(f"http://127.0.0.1:{listener.getsockname()[1]}")
        waiting = list(replies)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    Thread(target=_speak, args=(listener.accept()[0], copy, waiting, hangs_up), daemon=True).start()

        Thread(target=serve, daemon=True).start()
        yield copy
        listener.shutdown(socket.SHUT_RDWR)


def _speak(connection: socket.socket, copy: Copy, waiting: list[Reply], hangs_up: bool) -> None:
    with connection, suppress(OSError):
        connection.settimeout(5)
        while request := _request(connection):
            copy.requests.append(request)
            reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            said = reply if isinstance(reply, bytes) else reply(request)
            if said == RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
                return
            connection.sendall(said)
            if hangs_up:
                return


def _request(connection: socket.socket) -> bytes:
    seen = b""
    while b"\r\n\r\n" not in seen:
        if not (more := connection.recv(65_536)):
            return b""
        seen += more
    head = seen.partition(b"\r\n\r\n")[0]
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(seen) < len(head) + 4 + length:
        seen += connection.recv(65_536)
    return seen


@contextmanager
def behind_fiso(
    copy: Copy, *providers: Provider, idempotent: Idempotent = Idempotent.NO, settings: Any = None, **policy: Any
) -> Iterator[Rig]:
    """The handler with its genuine callers, in front of one copy (or several at one address)."""
    copies = [at(copy.url, provider, id=f"c{n}") for n, provider in enumerate(providers or (Provider.AZURE,))]
    given = {} if settings is None else {"settings": settings}
    with rig_over(copy.url, an_entry(*copies, idempotent=idempotent, **policy), **given) as rig:
        yield rig


def sent(copy: Copy, event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """One event through FISO to a copy; the response."""
    with behind_fiso(copy, **changes) as rig:
        return rig.send(event)


def event(method: str = "GET", suffix: str = "", body: str | bytes = "", **parts: Any) -> dict[str, Any]:
    """An HTTP API's event for the function, with raw parts of it: `query`, `cookies`, `headers`."""
    made = http_event(method, f"/v1/invoke/word-count{suffix}", body)
    made["rawQueryString"] = parts.get("query", "")
    made["headers"] = {} if not body else {"content-type": "application/json"}
    made["headers"] |= parts.get("headers", {})
    made["requestContext"]["http"] |= {"sourceIp": "198.51.100.9", "protocol": "HTTP/1.1"}
    if "cookies" in parts:
        made["cookies"] = parts["cookies"]
    return made


def body_of(response: dict[str, Any]) -> bytes:
    text: str = response["body"]
    return base64.b64decode(text) if response.get("isBase64Encoded") else text.encode()


def problem(response: dict[str, Any]) -> bool:
    return bool(response["headers"]["content-type"] == "application/problem+json")


def ids(cases: Sequence[Any]) -> list[str]:
    return [case[0] for case in cases]
