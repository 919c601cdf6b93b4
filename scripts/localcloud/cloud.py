"""The local cloud from outside its parent process: start it, find it, stop it, see how it is, from any shell."""

import fcntl
import json
import os
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Self

from fiso_cli.errors import CommandError
from localcloud import ports, private
from localcloud.layout import LocalCloud
from localcloud.parts import Options, Part, parts

READY = "ready"
_STOP_PATIENCE_S = 60.0
_FLOCK = "hhqqi"  # struct flock of Linux on 64 bits: type, whence, start, length, pid


class Health(StrEnum):
    """How a part is. A crashed one is being started again."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    CRASHED = "crashed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPart:
    """A part's process, as the parent writes it down."""

    pid: int
    since: datetime


@dataclass(slots=True, kw_only=True)
class Record:
    """`cloud.json`: what the parent says of itself. True only while the lock is held."""

    options: list[str] = field(default_factory=list)
    base_port: int = 0
    is_leased: bool = True
    running: dict[str, RunningPart] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    def write(self, state: Path) -> None:
        """Whole or not at all."""
        file = state / "cloud.json"
        draft = file.with_suffix(".partial")
        draft.write_text(json.dumps(asdict(self), indent=1, default=datetime.isoformat), encoding="utf-8")
        os.replace(draft, file)

    @classmethod
    def read(cls, state: Path) -> Self:
        """What stands there; nothing for what cannot be read."""
        try:
            document = json.loads((state / "cloud.json").read_text(encoding="utf-8"))
            running = document.pop("running").items()
            found = {
                name: RunningPart(pid=part["pid"], since=datetime.fromisoformat(part["since"]).astimezone(UTC))
                for name, part in running
            }
            return cls(**document, running=found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """One part now; pid and since are None unless it runs."""

    name: str
    port: int
    pid: int | None
    since: datetime | None
    health: Health


def _answer_of(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    if process.stdout is None:
        raise ValueError("the parent is started with a pipe to answer on")
    return process.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A cloud that was started here. It stops when this process is gone, unless it was released."""

    process: "subprocess.Popen[bytes]"

    def release(self) -> None:
        """Let it run on by itself."""
        if self.process.stdin is not None:
            self.process.stdin.write(b".")
            self.process.stdin.close()

    def end(self) -> None:
        """Stop it, and wait until nothing of it is left."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def start(cloud: LocalCloud, options: Options) -> Lease:
    """Start a cloud and return when all of it is ready. `CommandError`, and nothing left, when it cannot be."""
    return launch(cloud, [sys.executable, "-P", "-m", "localcloud.parent", *words(options)])


def launch(cloud: LocalCloud, command: Sequence[str]) -> Lease:
    """Start a parent process by its command line."""
    refuse_beside_another(cloud)
    private.folder(cloud)
    try:
        cloud.log_dir.mkdir(mode=0o700, exist_ok=True)
        log = private.opened(cloud.log_dir / "cloud.log", "ab")
    except OSError as error:
        raise CommandError(f"the state directory cannot be written: {error}: set FISO_LOCAL_DIR to another") from error
    lease = Lease(process=_parent(cloud, command, log))
    try:
        with _answer_of(lease.process) as answer:
            told = answer.readline().decode().strip()
    except BaseException:
        lease.end()
        raise
    if told != READY:
        lease.end()
        raise CommandError(told or f"the local cloud ended at once (see {cloud.log_dir / 'cloud.log'})")
    return lease


def _parent(cloud: LocalCloud, command: Sequence[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "FISO_LOCAL_DIR": str(cloud.state),
        "FISO_LOCAL_PORT": str(cloud.base_port),
        "PYTHONPATH": os.pathsep.join(str(cloud.root / folder) for folder in ("scripts", "shared")),
    }
    with log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=cloud.state,
            start_new_session=True,
        )


def words(options: Options) -> list[str]:
    """Options as the parent's command line has them."""
    said = ["--issuer"] * options.has_issuer + ["--no-distance"] * (not options.has_distance)
    named = {"--aws-url": options.aws_url, "--lambda-url": options.lambda_url, "--peer": options.peer}
    named["--access-key"] = str(options.access_key) if options.access_key else None
    return said + [word for name, value in named.items() if value for word in (name, value)]


def is_up_with(cloud: LocalCloud, options: Options) -> bool:
    """Whether a cloud with these options runs here. One with others that nobody has leased is stopped."""
    if holder(cloud.state) is None:
        return False
    record = Record.read(cloud.state)
    if record.options == words(options):
        return True
    if record.is_leased:
        refuse_beside_another(cloud)
    stop(cloud)
    return False


def refuse_beside_another(cloud: LocalCloud) -> None:
    """`CommandError` while a cloud runs on this state, with its pid and the way to have a second one."""
    pid = holder(cloud.state)
    if pid is not None:
        base_port = Record.read(cloud.state).base_port or cloud.base_port
        raise CommandError(
            f"a local cloud runs here already (pid {pid}, port {base_port}): stop it with `fiso local down`, or have "
            f"another beside it: FISO_LOCAL_PORT={ports.free_base(cloud.base_port)}"
        )


def stop(cloud: LocalCloud) -> list[str]:
    """Stop the cloud, whoever started it; the names of the parts that had to be killed."""
    pid = holder(cloud.state)
    if pid is None:
        return []
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return []
    try:
        if holder(cloud.state) == pid:  # with the handle open the pid cannot come to mean another process
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], _STOP_PATIENCE_S)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [])
    finally:
        os.close(handle)
    return Record.read(cloud.state).killed


def status(cloud: LocalCloud) -> list[PartStatus]:
    """Every part, in order."""
    from localcloud.parent import options_of

    record = Record.read(cloud.state) if holder(cloud.state) is not None else Record()
    is_up = bool(record.base_port)
    return [_status(part, record.running.get(part.name), is_up) for part in parts(cloud, options_of(record.options))]


def _status(part: Part, running: RunningPart | None, is_up: bool) -> PartStatus:
    if running is None:
        health = Health.CRASHED if is_up else Health.STOPPED
        return PartStatus(name=part.name, port=part.ports[0], pid=None, since=None, health=health)
    health = Health.HEALTHY if part.check() else Health.UNHEALTHY
    return PartStatus(name=part.name, port=part.ports[0], pid=running.pid, since=running.since, health=health)


def reset(cloud: LocalCloud) -> None:
    """Stop the cloud and delete what its parts wrote, their logs included."""
    stop(cloud)
    if not cloud.state.exists():
        return
    with held(cloud):
        written = [folder for part in parts(cloud, Options(has_issuer=True)) for folder in part.writes]
        for path in (*written, cloud.log_dir, cloud.state / "cloud.json", cloud.access_key_file):
            _delete(path)


@contextmanager
def held(cloud: LocalCloud) -> Iterator[None]:
    """Hold the state's lock. The kernel takes it back when this process ends, in whatever way."""
    private.folder(cloud)
    with private.opened(cloud.state / "lock", "ab") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            refuse_beside_another(cloud)
            raise CommandError("another `fiso local` command is at work on this cloud: wait for it") from None
        yield


def holder(state: Path) -> int | None:
    """The process that holds the state's lock, as the kernel knows it; None when nobody does."""
    try:
        with (state / "lock").open("rb") as lock:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(lock, fcntl.F_GETLK, asked))
    except FileNotFoundError:
        return None
    return None if kind == fcntl.F_UNLCK else int(pid)


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
