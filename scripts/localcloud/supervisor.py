"""The supervisor: one local cloud's components up, down and told apart, from any shell, whatever a crash left behind.

It stays nowhere: each command finds the processes through their records and leaves them running on their own.
"""

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from fiso_cli.errors import CommandError
from localcloud.supervision import ports, processes, stopping
from localcloud.supervision.component import Component, stop_waves
from localcloud.supervision.processes import Process
from localcloud.supervision.records import Record, RecordFolder
from localcloud.supervision.startup import Startup

OWNER_VARIABLE = "FISO_LOCAL_OWNER"
"""Names the state directory in every component's environment, so that what a crash orphaned is found again."""
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
_LOCK_PATIENCE_S = 60.0
_START_TIMEOUT_S = 60.0


class Health(StrEnum):
    """How a component is."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    CRASHED = "crashed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """One component now; pid and since are None unless it runs."""

    name: str
    port: int
    pid: int | None
    since: datetime | None
    health: Health


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Starts and stops `components` with their files under `state`. `base_port` only serves to suggest another."""

    state: Path
    base_port: int
    components: tuple[Component, ...]
    clock: Callable[[], datetime] = _utc_now
    start_timeout_s: float = _START_TIMEOUT_S

    @property
    def records(self) -> RecordFolder:
        """What is known to run."""
        return RecordFolder(path=self.state / "run")

    @property
    def log_dir(self) -> Path:
        """What the components said, one file each."""
        return self.state / "logs"

    def up(self) -> list[str]:
        """Bring all components up and return the names that had to be started; the others were well already.

        `CommandError` for a taken port or a component that does not come up; then nothing started here is left.
        """
        with self._alone():
            well = self._cleared()
            missing = [component for component in self.components if component.name not in well]
            needed = [port for component in missing for port in component.ports]
            ports.require_free(needed, base_port=self.base_port)
            Startup(
                records=self.records,
                log_dir=self.log_dir,
                base_environment=self._environment(),
                waves=stop_waves(self.components),
                clock=self.clock,
                timeout_s=self.start_timeout_s,
                well=well,
            ).run(missing)
            return [component.name for component in missing]

    def down(self) -> list[str]:
        """Stop everything that was started for this state directory; the names of those that had to be killed."""
        if not self.state.exists():
            return []
        with self._alone():
            killed = stopping.stop(self._living().values(), self.records)
            self._end_strays({})
            for name in self.records.all():
                self.records.remove(name)
            return killed

    def status(self) -> list[ComponentStatus]:
        """Every component, in order."""
        records = self.records.all()
        return [_status(component, records.get(component.name)) for component in self.components]

    def reset(self) -> None:
        """Stop everything and delete what the components wrote, their logs included."""
        self.down()
        with self._alone():
            written = [folder for component in self.components for folder in component.writes]
            for path in (*written, self.records.path, self.log_dir):
                _delete(path)

    def _cleared(self) -> set[str]:
        """Clear away what should not run, or runs otherwise than wanted; the names of those that are well."""
        wanted, living = {component.name: component for component in self.components}, self._living()
        good = {
            name: record
            for name, record in living.items()
            if name in wanted and record.fingerprint == wanted[name].fingerprint and wanted[name].check()
        }
        while rootless := [name for name in good if not wanted[name].needs & wanted.keys() <= good.keys()]:
            for name in rootless:  # what it needs is started anew, so it is too
                del good[name]
        stopping.stop([record for name, record in living.items() if name not in good], self.records)
        self._end_strays(good)
        for name in self.records.all().keys() - good.keys():
            self.records.remove(name)
        return set(good)

    def _living(self) -> dict[str, Record]:
        return {name: record for name, record in self.records.all().items() if processes.is_running(record.process)}

    def _end_strays(self, good: dict[str, Record]) -> None:
        """End what belongs to this cloud but to no living component, such as the children of one that was killed."""
        known: set[Process] = set()
        for record in good.values():
            known |= {record.process, *processes.family(record.process)}
        stopping.end(
            [stray for stray in processes.with_variable(OWNER_VARIABLE, str(self.state)) if stray not in known]
        )
        for component in self.components:
            if component.workplace is not None:
                strays = [stray for stray in processes.working_in(component.workplace) if stray not in known]
                stopping.end(strays, number=component.stop_signal)

    def _environment(self) -> dict[str, str]:
        """What every component sees: nothing of the caller's AWS account, proxies or Python."""
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return passed | {OWNER_VARIABLE: str(self.state), "PYTHONUNBUFFERED": "1"}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the state directory against other commands."""
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.state / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise CommandError(
                f"the state directory cannot be written: {error}: set FISO_LOCAL_DIR to another"
            ) from error
        try:
            _acquire(lock)
            yield
        finally:
            os.close(lock)


def _status(component: Component, record: Record | None) -> ComponentStatus:
    if record is None:
        return ComponentStatus(
            name=component.name, port=component.ports[0], pid=None, since=None, health=Health.STOPPED
        )
    if not processes.is_running(record.process):
        return ComponentStatus(name=component.name, port=record.port, pid=None, since=None, health=Health.CRASHED)
    return ComponentStatus(
        name=component.name,
        port=record.port,
        pid=record.process.pid,
        since=record.since,
        health=Health.HEALTHY if component.check() else Health.UNHEALTHY,
    )


def _acquire(lock: int) -> None:
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise CommandError("another `fiso local` command is at work on this cloud: wait for it") from None
            time.sleep(0.1)


def _delete(path: Path) -> None:
    """Delete a file or a tree, folders without permissions included."""

    def allow_and_retry(function: Callable[[str], object], name: str, _: object) -> None:
        os.chmod(Path(name).parent, stat.S_IRWXU)
        if Path(name).is_dir():
            os.chmod(name, stat.S_IRWXU)
        function(name)

    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=allow_and_retry)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} cannot be deleted: {error.strerror}: delete it by hand") from error
