"""Processes as `/proc` tells them. A pid alone is never trusted: a process is its pid and the tick it started at.

Linux only. Reads `/proc`, spawns and signals; knows nothing of components.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_POLL_S = 0.02
_CHILDREN: dict[int, "subprocess.Popen[bytes]"] = {}
"""Children of this very process: they must be waited for, or they stay as zombies as long as it lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of one boot; a recycled pid is another process."""

    pid: int
    started_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stat:
    parent: int
    session: int
    started_ticks: int


def identify(pid: int) -> Process | None:
    """The process that has this pid now, or None."""
    child = _CHILDREN.get(pid)
    if child is not None and child.poll() is not None:
        del _CHILDREN[pid]
    stat = _stat(pid)
    return None if stat is None else Process(pid=pid, started_ticks=stat.started_ticks, boot_id=_boot_id())


def is_running(process: Process) -> bool:
    """Whether exactly this process still runs."""
    return identify(process.pid) == process


def spawn(command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path) -> Process:
    """Start a process in its own session with its output appended to `log`. `OSError` when it cannot be."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    _CHILDREN[child.pid] = child
    # the kernel keeps even an exited child's entry until it is waited for, so its start is always there to read
    stat = _read_stat(child.pid)
    if stat is None:
        raise ProcessLookupError(f"process {child.pid} vanished")
    return Process(pid=child.pid, started_ticks=stat.started_ticks, boot_id=_boot_id())


def send(process: Process, number: signal.Signals) -> None:
    """Signal this process and no other; one that is gone is left alone."""
    try:
        handle = os.pidfd_open(process.pid)
    except (ProcessLookupError, PermissionError):
        return
    try:
        if is_running(process):  # checked with the handle open: from here on the pid cannot change its meaning
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def wait_until_gone(processes: Iterable[Process], timeout_s: float) -> list[Process]:
    """Wait for all to end; the ones still running when time is up."""
    left, deadline = list(processes), time.monotonic() + timeout_s
    while left := [process for process in left if is_running(process)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    return left


def kill(processes: Collection[Process], timeout_s: float = 5.0) -> list[Process]:
    """End processes without asking; the ones that would not go."""
    for process in processes:
        send(process, signal.SIGKILL)
    return wait_until_gone(processes, timeout_s)


def family(process: Process) -> list[Process]:
    """The others of its session and its descendants in any session, while it runs."""
    if not is_running(process):
        return []
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None}
    found = {pid for pid, stat in stats.items() if stat.session == process.pid} | {process.pid}
    grown = True
    while grown:
        children = {pid for pid, stat in stats.items() if stat.parent in found} - found
        found |= children
        grown = bool(children)
    found -= {process.pid, os.getpid()}
    return [Process(pid=pid, started_ticks=stats[pid].started_ticks, boot_id=_boot_id()) for pid in sorted(found)]


def with_variable(name: str, value: str) -> list[Process]:
    """Every process that was started with this environment variable, this one excepted."""
    wanted = os.fsencode(f"{name}={value}")
    return _matching(lambda pid: wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"))


def working_in(folder: Path) -> list[Process]:
    """Every process whose current folder this is, this one excepted."""
    wanted = str(folder.resolve())
    return _matching(lambda pid: os.readlink(_PROC / str(pid) / "cwd") == wanted)


def command_of(pid: int) -> str:
    """Its command line, as short as a message allows; empty when it cannot be read."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    text = " ".join(word.decode(errors="replace") for word in words)
    return text if len(text) <= 60 else text[:57] + "..."


def _matching(matches: Callable[[int], bool]) -> list[Process]:
    found = []
    for pid in _pids():
        with suppress(OSError):  # gone meanwhile, or another user's
            if pid != os.getpid() and matches(pid) and (process := identify(pid)) is not None:
                found.append(process)
    return found


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir(_PROC) if entry.isdigit())


def _stat(pid: int) -> _Stat | None:
    """What `/proc` says of a running process; None for none and for a zombie, which runs no more."""
    return _read_stat(pid, zombies=False)


def _read_stat(pid: int, *, zombies: bool = True) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks and parentheses
    if fields[0] in "ZX" and not zombies:
        return None
    return _Stat(parent=int(fields[1]), session=int(fields[3]), started_ticks=int(fields[19]))


@cache
def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
