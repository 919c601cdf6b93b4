"""Dialling: a host's name becomes a connection, to public addresses only.

The name is looked up once, every number of the answer must be public, and the connection goes to one of these very
numbers, so a name that answers otherwise the next time gains nothing. TLS and the Host header keep the name. No proxy
of the environment plays a part.
"""

import socket
from collections.abc import Callable, Sequence
from threading import Thread
from time import monotonic
from typing import Any, TypeAlias

from fiso.domain.address import is_loopback, is_public

Lookup: TypeAlias = Callable[[str, int, float], Sequence[str]]
"""The numbers of a host's name, for a port, within seconds; `OSError` when there are none."""
Connect: TypeAlias = Callable[[tuple[str, int], float], socket.socket]


class ForbiddenNumber(OSError):
    """The name stands for an address that must not be called. Nothing was sent."""


def system_lookup(
    host: str, port: int, timeout_s: float, *, resolve: Callable[..., Sequence[Any]] = socket.getaddrinfo
) -> Sequence[str]:
    """As the machine resolves it. The system's own call knows no limit, so it runs beside, and is left behind late."""
    found: list[str] = []
    failed: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            answers = resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failed.append(error)
        else:
            found.extend(str(answer[4][0]) for answer in answers)

    asking = Thread(target=ask, daemon=True, name="lookup")
    asking.start()
    asking.join(timeout_s)
    if failed:
        raise OSError(f"no address for {host[:253]!r}") from failed[0]
    if not found:
        raise TimeoutError(f"no address for {host[:253]!r} within {timeout_s:.1f} s")
    return tuple(found)


def connect_to(number: tuple[str, int], timeout_s: float) -> socket.socket:
    return socket.create_connection(number, timeout_s)


class PublicDial:
    """Opens connections for `HttpTransport`. `allow_loopback` lets this machine be called too, on the local stage."""

    def __init__(
        self, *, allow_loopback: bool = False, lookup: Lookup = system_lookup, connect: Connect = connect_to
    ) -> None:
        self._allow_loopback, self._lookup, self._connect = allow_loopback, lookup, connect

    def __call__(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection within `timeout_s`. `ForbiddenNumber` if any number of the name is not public."""
        limit = monotonic() + timeout_s
        numbers = self._lookup(host, port, timeout_s)
        # All of them, not the one that is dialled: a name that mixes public numbers with private ones is an attempt
        # (docs/decisions/0012-where-endpoints-may-be.md).
        for number in numbers:
            if not (is_public(number) or (self._allow_loopback and is_loopback(number))):
                raise ForbiddenNumber(f"{host[:253]!r} stands for {number}, which is not public")
        failed: OSError = OSError(f"no address for {host[:253]!r}")
        for number in dict.fromkeys(numbers):
            try:
                return self._connect((number, port), max(0.001, limit - monotonic()))
            except OSError as error:
                failed = error
        raise failed
