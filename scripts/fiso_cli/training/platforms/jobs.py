"""Jobs: an order on its way through a platform. Knows no vendor.

A job's name follows from what is trained and with what, so that a command that was killed finds its job again by
looking at the cloud, and the same order is not paid twice. One that failed keeps its name for ever; the next
command takes the next number.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from fiso.domain.errors import ModelRefused
from fiso.learning import job as files_of
from fiso.ports import ModelFiles
from fiso_cli.errors import CommandError

PREFIX = "fiso-prediction-training"
"""The brief's."""
ATTEMPTS = 20
LOG_LINES = 20
EVERY_S = 10.0
SPARE_S = 600.0
"""Beyond the job's own limit: until a machine is there, and until its output is."""


class State(StrEnum):
    """Where a job is."""

    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a platform says of a job: its own word for where it is, and why it failed."""

    state: State
    word: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked of a platform. `longest_s` ends it there as well."""

    name: str
    files: Mapping[str, bytes]
    image: str
    machine: str
    longest_s: int
    is_spot: bool = False


class Platform(Protocol):
    """One vendor. Every call survives being repeated; refusals leave as `CommandError` in one line."""

    def look(self, name: str) -> Seen | None:
        """The job; None where there is none of that name."""
        ...

    def submit(self, job: Job) -> None:
        """Put the input where the job reads it, then begin it. One that exists already is no error."""
        ...

    def stop(self, name: str) -> None:
        """Have it end; nothing where it has."""
        ...

    def last_lines(self, name: str, most: int) -> Sequence[str]:
        """The newest lines that it wrote; none where they cannot be read."""
        ...

    def results(self, name: str) -> Mapping[str, bytes]:
        """The files in its output folder."""
        ...


def named(files: Mapping[str, bytes], *, image: str, machine: str) -> str:
    """`fiso-prediction-training-<digest>`: at most 63 characters with its number, as SageMaker takes."""
    found = sha256(f"{image}\0{machine}".encode())
    for name in sorted(files):
        found.update(sha256(files[name]).digest())
    return f"{PREFIX}-{found.hexdigest()[:16]}"


def limited(longest_s: int, *, most_usd: float | None, hourly_usd: float | None) -> int:
    """How long a job may run so that it costs no more than it may."""
    if most_usd is None:
        return longest_s
    if hourly_usd is None or not hourly_usd > 0:
        raise CommandError("--most-usd needs --hourly-usd, what the machine costs an hour by your price list")
    seconds = min(longest_s, int(most_usd / hourly_usd * 3600))
    if seconds < 60:
        raise CommandError(f"{most_usd} USD pay {seconds} s of this machine: less than a training takes")
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of an order."""

    name: str
    files: ModelFiles
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Carries an order through a platform. `say` hears of each change."""

    platform: Platform
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def run(self, job: Job) -> Run:
        """The verified model. `CommandError` with the platform's reason and its last lines where there is none."""
        current, seen = self._found(job)
        if seen is None:
            self.say(f"{current.name}: submitted")
            self.platform.submit(current)
        else:
            self.say(f"{current.name}: found again, {seen.word}")
        self._followed(current)
        try:
            order = files_of.order_in(job.files[files_of.SETTINGS])
            files = files_of.opened(self.platform.results(current.name), order)
        except ModelRefused as error:
            raise CommandError(f"{current.name}: what came back is not registered: {error}") from error
        return Run(name=current.name, files=files, resumed=seen is not None)

    def _found(self, job: Job) -> tuple[Job, Seen | None]:
        """The newest attempt that has not failed; else the next one, not begun yet."""
        for number in range(1, ATTEMPTS + 1):
            current = replace(job, name=f"{job.name}-{number}")
            seen = self.platform.look(current.name)
            if seen is None or seen.state in {State.UNDER_WAY, State.DONE}:
                return current, seen
        raise CommandError(f"{job.name} failed {ATTEMPTS} times: see why, then train with other rows or another image")

    def _followed(self, job: Job) -> None:
        ends_at, told = self.clock() + job.longest_s + SPARE_S, ""
        while True:
            seen = self.platform.look(job.name)
            word = seen.word if seen is not None else "not to be seen yet"
            if word != told:
                self.say(f"{job.name}: {word}")
                told = word
            if seen is not None and seen.state is State.DONE:
                return
            if seen is not None and seen.state is not State.UNDER_WAY:
                raise self._ended(job.name, seen)
            if self.clock() >= ends_at:
                self.platform.stop(job.name)
                raise CommandError(f"{job.name}: not done within {job.longest_s} s, stopped")
            self.sleep(EVERY_S)

    def _ended(self, name: str, seen: Seen) -> CommandError:
        lines = self.platform.last_lines(name, LOG_LINES)
        said = "".join(f"\n  {line[:200]}" for line in lines)
        return CommandError(f"{name} {seen.state.value}: {seen.reason or seen.word}{said}")
