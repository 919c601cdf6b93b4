"""Ports of this machine: which are taken, and by whom. Loopback only."""

import os
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import HOST, PORTS_NEEDED

_LISTENING = "0A"
_STEP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who listens on a port; the pid is None where another user's process hides it. Nobody does where a connection from
    here has the port."""

    pid: int | None
    command: str
    listens: bool = True

    def __str__(self) -> str:
        if not self.listens:
            return "a connection that begins at it, or did until now"
        return f"pid {self.pid} ({self.command})" if self.pid else "another user's process"


def is_free(port: int) -> bool:
    """Whether a server could listen here now."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: connections that ended do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def require_free(ports: Iterable[int], *, base_port: int) -> None:
    """`CommandError` for the first port in use, with its holder and a base port that would do."""
    for port in ports:
        if not is_free(port):
            found, other = holder(port), free_base(base_port)
            way = "stop it or set" if found.listens else "wait a minute or set"
            raise CommandError(f"port {port} is in use by {found}: {way} FISO_LOCAL_PORT={other}")


def holder(port: int) -> Holder:
    """Who listens on a port."""
    inodes = _listening_inodes(port)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and not inodes.isdisjoint(_sockets(entry)):
            return Holder(pid=int(entry), command=_command_of(int(entry)))
    return Holder(pid=None, command="", listens=bool(inodes))


def free_base(base_port: int) -> int:
    """Another base port that would do: none of those that connections of this machine begin at, while it has others."""
    candidates = list(range(base_port + _STEP, 65536 - PORTS_NEEDED, _STEP))
    handed_out = _handed_out()
    candidates.sort(key=lambda base: base < handed_out.stop and base + PORTS_NEEDED > handed_out.start)
    for candidate in candidates:
        if all(is_free(port) for port in range(candidate, candidate + PORTS_NEEDED)):
            return candidate
    return base_port + _STEP


def _handed_out() -> range:
    """The ports that the system gives to connections (ip(7), ip_local_port_range)."""
    with suppress(OSError, ValueError):
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
        return range(first, last + 1)
    return range(0)


def _command_of(pid: int) -> str:
    """Its command line, as short as a message allows; empty when it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    text = " ".join(word.decode(errors="replace") for word in words)
    return text if len(text) <= 60 else text[:57] + "..."


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def _sockets(pid: str) -> set[str]:
    found = set()
    with suppress(OSError):  # gone meanwhile, or another user's
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor.path))
                if match:
                    found.add(match[1])
    return found
