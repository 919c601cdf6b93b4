"""Lock: one run at a time per stage, held in the cloud itself by a conditional write. Imports no cloud.

A holder writes who it is and until when, and renews that while it works, so that a run that was killed does not hold it
for long: its lock is freed when its time is over, or at once where its process is seen to be gone.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, Self

from fiso_cli.errors import CommandError

LEASE = timedelta(seconds=60)
RENEW_S = 20.0


class Conflict(Exception):
    """The condition of a write or a delete did not hold: somebody else was quicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock. `process` and `began` (ticks since boot) name a process of `host` beyond reuse of its id."""

    who: str
    host: str
    process: int
    began: str
    until: datetime

    @classmethod
    def this_run(cls, now: datetime) -> Self:
        """This process, for one lease from now."""
        who = os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid())
        process = os.getpid()
        return cls(who=who, host=socket.gethostname(), process=process, began=_began(process), until=now + LEASE)

    @classmethod
    def read(cls, written: str) -> Self | None:
        """What `written` gives, back; None for anything else."""
        parts = written.split(" ")
        try:
            who, host, process, began, until = parts
            return cls(who=who, host=host, process=int(process), began=began, until=datetime.fromisoformat(until))
        except ValueError:
            return None

    def written(self) -> str:
        """One line of ASCII, as a cloud keeps it in a label, a blob or an object."""
        plain = [part.encode("ascii", "replace").decode().replace(" ", "_") for part in (self.who, self.host)]
        return " ".join([*plain, str(self.process), self.began, self.until.isoformat(timespec="seconds")])

    def is_gone(self, now: datetime) -> bool:
        """Whether its time is over, or its process on this very machine is."""
        is_here = self.host == socket.gethostname() and self.began != "-"
        return now >= self.until or (is_here and _began(self.process) != self.began)


@dataclass(frozen=True, slots=True)
class Held:
    """A lock as it stands: `version` is the condition under which it may be written over or deleted."""

    holder: Holder | None
    version: str


class LockStore(Protocol):
    """One lock in a cloud. All conditions are the cloud's own (an ETag, a generation, a lease)."""

    def read(self) -> Held | None:
        """None when nobody holds it."""

    def write(self, holder: Holder, over: str | None) -> str:
        """Take it (None: only where nobody has it) or renew it; the new version. Raises `Conflict`."""

    def delete(self, version: str) -> None:
        """Free it. Raises `Conflict` where it has moved on."""


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def held(
    store: LockStore, *, now: Callable[[], datetime] = _now, renew_s: float = RENEW_S
) -> Iterator[Callable[[], None]]:
    """Hold the lock meanwhile. `CommandError` that names who has it; what is yielded raises it once that is lost."""
    version = _taken(store, now)
    renewal = _Renewal(store, version, now, renew_s)
    renewal.thread.start()
    try:
        yield renewal.check
    finally:
        version = renewal.stop()
        with suppress(Conflict):
            store.delete(version)


def _taken(store: LockStore, now: Callable[[], datetime]) -> str:
    for _ in range(3):
        found = store.read()
        if found is not None and found.holder is not None and not found.holder.is_gone(now()):
            raise CommandError(_busy(found.holder))
        try:
            if found is not None:
                if found.holder is None:  # somebody who has not yet said who
                    raise CommandError(_busy(None))
                store.delete(found.version)
            return store.write(Holder.this_run(now()), None)
        except Conflict:
            continue
    raise CommandError(_busy(None))


def _busy(holder: Holder | None) -> str:
    if holder is None:
        return "another run holds this stage's lock since just now: try again in a minute"
    until = holder.until.strftime("%H:%M:%S UTC")
    return f"{holder.who} on {holder.host} (process {holder.process}) is at this stage, its lock holds until {until}"


class _Renewal:
    """Renews in a thread of its own, since one step may take minutes."""

    def __init__(self, store: LockStore, version: str, now: Callable[[], datetime], every_s: float) -> None:
        self._store, self._version, self._now, self._every_s = store, version, now, every_s
        self._over, self._is_lost = threading.Event(), False
        self.thread = threading.Thread(target=self._renew, name="lock", daemon=True)

    def check(self) -> None:
        """`CommandError` after somebody else took over what was not renewed in time."""
        if self._is_lost:
            raise CommandError("another run took this stage's lock over, as it was not renewed in time: run it again")

    def stop(self) -> str:
        """The version that is held at the end."""
        self._over.set()
        self.thread.join(timeout=30)
        return self._version

    def _renew(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._version = self._store.write(Holder.this_run(self._now()), self._version)
            except Conflict:
                self._is_lost = True
                return
            except CommandError:
                continue  # a cloud that is away for a moment: the next time


def _began(process: int) -> str:
    """When the process began, in ticks since boot; `-` where that cannot be said, or where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "-"
