"""The local cloud's one parent process: it starts the parts in order, says when all are ready, starts again what ends,
and stops them all. Nothing of the cloud outlives it.

    python -m localcloud.parent [--issuer] [--no-distance]

Its standard input is a lease: when whoever started it is gone, however that came, the pipe ends and the cloud stops. A
byte on it sets the cloud free to run on by itself. Standard output gets one line, `ready` or what went wrong. The
state's lock is held as long as it lives; `cloud.json` beside it says who runs. A parent that is killed cannot stop
anything: then the kernel sends each part its own stop signal (PR_SET_PDEATHSIG).
"""

import argparse
import asyncio
import ctypes
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fiso_cli.access_key import AccessKey
from fiso_cli.errors import CommandError
from localcloud import ports
from localcloud.cloud import READY, Record, RunningPart, held
from localcloud.layout import LocalCloud
from localcloud.parts import Options, Part, parts

log = logging.getLogger("localcloud")

_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
_START_TIMEOUT_S = 60.0
_POLL_S = 0.03
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _STEADY_S = 0.2, 30.0, 60.0
_LOG_LIMIT_BYTES = 5_000_000
_TAIL_BYTES = 8_192
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True, kw_only=True)
class _Child:
    """A part and its process now."""

    part: Part
    process: asyncio.subprocess.Process | None = None
    since: datetime | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, kw_only=True)
class Parent:
    """The parts of one cloud, running. `record` is written anew whenever a process comes or goes."""

    parts: Sequence[Part]
    state: Path
    record: Record
    start_timeout_s: float
    _children: dict[str, _Child] = field(default_factory=dict)

    async def start(self) -> None:
        """Return when all are ready. `CommandError` for the first that does not get there."""
        self._children = {part.name: _Child(part=part) for part in self.parts}
        try:
            async with asyncio.timeout(self.start_timeout_s), asyncio.TaskGroup() as starting:
                for child in self._children.values():
                    starting.create_task(self._start(child))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        except TimeoutError:
            slow = next(name for name, child in self._children.items() if child.process and not child.ready.is_set())
            raise self._failure(slow, f"did not answer within {self.start_timeout_s:.0f} s") from None

    async def keep(self) -> None:
        """Start again whatever ends, for ever."""
        await asyncio.gather(*(self._keep(child) for child in self._children.values()))

    async def stop(self) -> list[str]:
        """Stop all, each before those it stands on; the names of those that had to be killed."""
        killed = await asyncio.gather(*(self._stop(child) for child in self._children.values()))
        _end_strays(known=())
        return [name for name, was_killed in zip(self._children, killed, strict=True) if was_killed]

    async def _start(self, child: _Child) -> None:
        known = self._children.keys()
        await asyncio.gather(*(self._children[name].ready.wait() for name in child.part.after & known))
        offset = await self._spawn(child)
        while not await asyncio.to_thread(child.part.check):
            if child.process is None or child.process.returncode is not None:
                raise self._failure(child.part.name, "ended at once", offset)
            await asyncio.sleep(_POLL_S)
        child.ready.set()

    async def _spawn(self, child: _Child) -> int:
        """Start its process; where in its log that begins."""
        part, file = child.part, self._log_file(child.part.name)
        for folder in (file.parent, *part.writes):
            folder.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.stat().st_size > _LOG_LIMIT_BYTES:
            os.replace(file, file.with_suffix(".log.1"))
        try:
            with file.open("ab") as output:
                offset = output.tell()
                child.process = await asyncio.create_subprocess_exec(
                    *_dying_with_parent(part.stop_signal),
                    *part.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=_environment(self.state) | dict(part.environment),
                    cwd=part.folder,
                    start_new_session=True,  # Ctrl-C is for whoever started the cloud, which then ends it in order
                )
        except OSError as error:
            raise CommandError(f"{part.name} cannot be started: {error}: run `make setup`") from error
        child.since = datetime.now(UTC)
        self._write_record()
        return offset

    async def _keep(self, child: _Child) -> None:
        pause_s = _FIRST_PAUSE_S
        while child.process is not None:
            began = time.monotonic()
            code = await child.process.wait()
            pause_s = _FIRST_PAUSE_S if time.monotonic() - began > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            log.warning("%s ended with %d: starting it again in %.1f s", child.part.name, code, pause_s)
            self._write_record()
            _end_strays(known=[other.process.pid for other in self._children.values() if other.process])
            await asyncio.sleep(pause_s)
            try:
                await self._spawn(child)
            except CommandError as error:
                log.warning("%s", error)

    async def _stop(self, child: _Child) -> bool:
        """Ask, wait, then kill with all it started; whether it had to be killed."""
        above = [other for other in self._children.values() if child.part.name in other.part.after]
        await asyncio.gather(*(other.gone.wait() for other in above))
        was_killed, process = False, child.process
        if process is not None and process.returncode is None:
            process.send_signal(child.part.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), child.part.stop_timeout_s)
            except TimeoutError:
                was_killed = True
                process.kill()
                await process.wait()
        child.gone.set()
        return was_killed

    def _failure(self, name: str, what: str, offset: int = 0) -> CommandError:
        file = self._log_file(name)
        with file.open("rb") as text:
            text.seek(max(offset, file.stat().st_size - _TAIL_BYTES))
            lines = [line.strip() for line in text.read().decode(errors="replace").splitlines() if line.strip()]
        because = f": {lines[-1][:200]}" if lines else ""
        return CommandError(f"{name} {what}{because} (see {file})")

    def _log_file(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"

    def _write_record(self) -> None:
        self.record.running = {
            name: RunningPart(pid=child.process.pid, since=child.since)
            for name, child in self._children.items()
            if child.process is not None and child.process.returncode is None and child.since is not None
        }
        self.record.write(self.state)


def _environment(state: Path) -> dict[str, str]:
    """What every part sees: nothing of the caller's AWS account, proxies or Python."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed | {"FISO_LOCAL_DIR": str(state), "PYTHONUNBUFFERED": "1"}


def _dying_with_parent(number: signal.Signals) -> Sequence[str]:
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", number.name.removeprefix("SIG"), "--") if setpriv else ()


def _end_strays(known: Sequence[int]) -> None:
    """Kill children that are no part: what a part had started and left behind came to this process (subreaper)."""
    while strays := [pid for pid in _children_of(os.getpid()) if pid not in known]:
        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children_of(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            # the name before the last parenthesis may hold blanks; the parent is the second field after it
            if entry.isdigit() and int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry))
    return found


async def serve(parent: Parent) -> None:
    """Run until a signal comes or the lease ends. `CommandError` when the parts do not start."""
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    _watch_lease(over, parent)
    try:
        if await _unless(over, parent.start()):
            sys.stdout.write(f"{READY}\n")
            sys.stdout.flush()
            await _unless(over, parent.keep())
    finally:
        parent.record.killed = await parent.stop()


def _watch_lease(over: asyncio.Event, parent: Parent) -> None:
    loop, lease = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        loop.remove_reader(lease)
        if os.read(lease, 1):
            parent.record.is_leased = False
            parent.record.write(parent.state)
        else:
            over.set()

    loop.add_reader(lease, read)


async def _unless(over: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do something until it is done or all is over; whether it was done."""
    doing, ending = asyncio.ensure_future(work), asyncio.create_task(over.wait())
    await asyncio.wait([doing, ending], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if doing.done():
        doing.result()
        return True
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    return False


def options_of(words: Sequence[str]) -> Options:
    """The options on a command line."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.parent", description=__doc__)
    parser.add_argument("--issuer", action="store_true")
    parser.add_argument("--no-distance", action="store_true")
    parser.add_argument("--aws-url")
    parser.add_argument("--lambda-url")
    parser.add_argument("--peer")
    parser.add_argument("--access-key", type=Path)
    given = parser.parse_args(words)
    return Options(
        has_issuer=given.issuer,
        has_distance=not given.no_distance,
        aws_url=given.aws_url,
        lambda_url=given.lambda_url,
        peer=given.peer,
        access_key=given.access_key,
    )


def run(
    cloud: LocalCloud,
    find: Callable[[], Sequence[Part]],
    words: Sequence[str],
    *,
    start_timeout_s: float = _START_TIMEOUT_S,
) -> int:
    """Be the parent of the parts that are found once there is a new access key; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.umask(0o077)  # of all parts as well: what they write is for the owner alone
    record = Record(options=list(words), base_port=cloud.base_port)
    try:
        with held(cloud):
            _access_key(options_of(words)).write(cloud.access_key_file)
            wanted = find()
            ports.require_free([port for part in wanted for port in part.ports], base_port=cloud.base_port)
            asyncio.run(serve(Parent(parts=wanted, state=cloud.state, record=record, start_timeout_s=start_timeout_s)))
            record.running = {}
            record.write(cloud.state)
    except CommandError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


def _access_key(options: Options) -> AccessKey:
    """A new one, or that of the cloud that this one is a region of."""
    if options.access_key is None:
        return AccessKey.new()
    try:
        return AccessKey.read(options.access_key)
    except (OSError, ValueError) as error:
        raise CommandError(f"{options.access_key} holds no access key: {error}") from error


def main(words: Sequence[str]) -> int:
    cloud = LocalCloud.from_environ()
    return run(cloud, lambda: parts(cloud, options_of(words)), words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
