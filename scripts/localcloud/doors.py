"""Who may come in at a port of the local cloud: processes of its owner, under its own name, and no page but where pages
belong. Standard library only: the emulator, in an environment of its own, asks here as well.

A page of any site can send requests to loopback, and lead a browser there under a name of its own (DNS rebinding). The
first say so by `Origin` and `Sec-Fetch-Site` (Fetch Standard, 3.2; Fetch Metadata, 2), the second by `Host`. Another
user's process can say anything; but the kernel knows whose the other end of a connection is.
"""

import errno
import os
import re
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

HOST = "127.0.0.1"
_NAMED = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]):([0-9]{1,5})")
_FROM_FISO = "x-fiso-invocation-id"
"""On a request that FISO passes on with its caller's headers. No page can send it unasked, and nobody says yes here."""
_ROOT = 0

Address: TypeAlias = tuple[str, int]


class Door(StrEnum):
    """What a port is for."""

    CONTROL = "control"
    """Commands and functions: never a page."""
    FUNCTION = "function"
    """A cloud's function: FISO, with whatever its caller's browser had said."""
    PAGE = "page"
    """A page of the port's own, and what leads to it."""
    API = "api"
    """The product's own front door: pages as its policies say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request at the door; names of headers in lower case, values of one name joined with commas."""

    headers: Mapping[str, str]
    caller: Address | None
    port: int


def refusal(visit: Visit, door: Door, *, behind: Iterable[int] = (), is_signed: bool = False) -> str | None:
    """Why this visit ends here, in a line; None for one that may come in.

    `behind` are ports whose requests are passed on to this one as they are. A signed request was meant for whatever its
    `Host` says, so that one may name any port.
    """
    named = _NAMED.fullmatch(visit.headers.get("host", "").lower())
    if named is None or not (is_signed or int(named[1]) in {visit.port, *behind}):
        return "the request is for another host"
    if _is_foreign_page(visit.headers, door):
        return "pages have no business here"
    if visit.caller is None or not is_of_owner(visit.caller, (HOST, visit.port)):
        return "only processes of the user who started the local cloud may call it"
    return None


def _is_foreign_page(headers: Mapping[str, str], door: Door) -> bool:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    match door:
        case Door.API:
            return False
        case Door.PAGE:
            return origin is not None and origin != f"http://{headers.get('host')}"
        case Door.FUNCTION if headers.get(_FROM_FISO):
            return False
    return origin is not None or site is not None


def is_of_owner(caller: Address, own: Address) -> bool:
    """Whether the other end of a connection on loopback belongs to this process's user, or to root.

    An end that was closed has no owner any more, and counts as nobody's.
    """
    try:
        found = _asked_of_kernel(caller, own)
    except OSError:  # no sock_diag in this kernel or this sandbox
        found = _read_from_table(caller, own)
    return found is not None and found in {os.getuid(), _ROOT}


_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_HEADER, _REQUEST = struct.Struct("=IHHII"), struct.Struct("=BBBBI")
_ANSWER_TAIL = struct.Struct("=IIIII")  # expires, queues, user, inode: the end of inet_diag_msg
_TAIL_AT = _HEADER.size + 4 + 48


def _asked_of_kernel(caller: Address, own: Address) -> int | None:
    """The user, by sock_diag(7), in microseconds; None for no such socket or one without an owner."""
    ports = struct.pack(">HH", caller[1], own[1])
    sockets = ports + socket.inet_aton(caller[0]).ljust(16, b"\0") + socket.inet_aton(own[0]).ljust(16, b"\0")
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + sockets + bytes(4) + b"\xff" * 8
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body)
        answer = kernel.recv(8192)
    kind = _HEADER.unpack_from(answer)[1]
    if kind != _SOCK_DIAG_BY_FAMILY:
        _no_such_socket(answer)
        return None
    *_, user, inode = _ANSWER_TAIL.unpack_from(answer, _TAIL_AT)
    return int(user) if inode else None


def _no_such_socket(answer: bytes) -> None:
    """`OSError` where the kernel says anything else, as that it does not tell."""
    (error,) = struct.unpack_from("=i", answer, _HEADER.size)
    if -error != errno.ENOENT:
        raise OSError(-error, "sock_diag")


def _read_from_table(caller: Address, own: Address) -> int | None:
    ends = tuple(f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}" for host, port in (caller, own))
    with suppress(OSError):
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if (fields[1], fields[2]) == ends:
                return int(fields[7]) if fields[9] != "0" else None
    return None


Environ: TypeAlias = dict[str, Any]
Wsgi: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedWsgi:
    """A WSGI application behind its door."""

    application: Wsgi
    port: int
    door: Door
    behind: frozenset[int] = frozenset()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        named = {key[5:].replace("_", "-").lower(): str(v) for key, v in environ.items() if key.startswith("HTTP_")}
        caller = environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT")
        known = (str(caller[0]), int(caller[1])) if caller[0] and caller[1] else None
        why = refusal(Visit(headers=named, caller=known, port=self.port), self.door, behind=self.behind)
        if why is None:
            return self.application(environ, start_response)
        body = why.encode()
        headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
        start_response(f"{HTTPStatus.FORBIDDEN.value} {HTTPStatus.FORBIDDEN.phrase}", headers)
        return [body]
