"""A share of one processor for a process, as Lambda gives it by memory: of each 20 ms it runs a part.

By the kernel's own quota where this user may make a control group, otherwise by stopping and continuing the process.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

PERIOD_US = 20_000
ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
"""Of control groups, version 1 and 2."""
AHEAD = {"cpu.shares": "100000", "cpu.weight": "10000"}
"""What else runs on this machine is in nobody's way."""

Place = Callable[[int], None]
"""Puts a process there."""


@contextmanager
def processor_shares(share: float) -> Iterator[tuple[Place, Place]]:
    """Gives what places a process ahead of all others, and what limits it to the share of a processor. What was placed
    ends before the block does."""
    groups = _group("whole"), _group("share", quota_us=round(PERIOD_US * share))
    over = Event()

    def alternate(pid: int) -> None:
        Thread(target=_take_turns, args=(pid, share, over), daemon=True).start()

    try:
        ahead, limited = groups
        yield _place_in(ahead) if ahead else lambda _: None, _place_in(limited) if limited else alternate
    finally:
        over.set()
        for group in filter(None, groups):
            with suppress(OSError):
                group.rmdir()


def _place_in(group: Path) -> Place:
    return lambda pid: _write(group / "cgroup.procs", str(pid))


def _group(name: str, *, quota_us: int | None = None) -> Path | None:
    for root in ROOTS:
        group = root / f"fiso-{name}-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for file, weight in AHEAD.items():
                if (group / file).exists():
                    _write(group / file, weight)
            if quota_us is not None:
                _limit(group, quota_us)
        except OSError:
            group.rmdir()
            continue
        return group
    return None


def _limit(group: Path, quota_us: int) -> None:
    if (group / "cpu.max").exists():
        _write(group / "cpu.max", f"{quota_us} {PERIOD_US}")
        return
    _write(group / "cpu.cfs_period_us", str(PERIOD_US))
    _write(group / "cpu.cfs_quota_us", str(quota_us))


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def _take_turns(pid: int, share: float, over: Event) -> None:
    period_s = PERIOD_US / 1e6
    with suppress(ProcessLookupError):
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(period_s * (1 - share))
            os.kill(pid, signal.SIGCONT)
            time.sleep(period_s * share)
