"""The operating system process behind an execution environment: its start, its log pipe, its memory and its end."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from localcloud.lambda_host.log_lines import LogWriter
from localcloud.lambda_host.sandbox import Launch

_CHUNK_BYTES = 1 << 16
_LINE_LIMIT_BYTES = 256 * 1024  # CloudWatch takes no longer event


class LogPipe:
    """What a process writes to stdout and stderr, line by line, in the order written."""

    def __init__(self, write: LogWriter) -> None:
        self._write = write
        self._partial = b""
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        asyncio.get_running_loop().add_reader(self._reader, self.drain)

    def close_writer(self) -> None:
        """The child has its copy; ours would keep the pipe open."""
        os.close(self.writer)

    def drain(self) -> None:
        """Take everything written so far. Called before an invocation ends, this loses no line and waits for none."""
        if self._reader < 0:
            return
        while chunk := self._read():
            self._feed(chunk)

    def flush(self) -> None:
        """Drain and give out a last line that lacks its end."""
        self.drain()
        if self._partial:
            self._emit(self._partial)
            self._partial = b""

    def close(self) -> None:
        self.flush()
        self._close_reader()

    def _read(self) -> bytes:
        try:
            chunk = os.read(self._reader, _CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if not chunk:
            self._close_reader()
        return chunk

    def _close_reader(self) -> None:
        if self._reader >= 0:
            asyncio.get_running_loop().remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1

    def _feed(self, chunk: bytes) -> None:
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            self._emit(line)
        if len(self._partial) > _LINE_LIMIT_BYTES:
            self._emit(self._partial)
            self._partial = b""

    def _emit(self, line: bytes) -> None:
        """The runtime joins the lines of one error with carriage returns, so that they stay one event."""
        text = line.decode(errors="replace").rstrip("\r").replace("\r", "\n")
        if text:
            self._write(text)


class RuntimeProcess:
    """A started command, `depth` processes above the function's own."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: LogPipe, depth: int) -> None:
        self._process = process
        self._depth = depth
        self._function_pid: int | None = None
        self._peak_memory_mb: int | None = None
        self.pipe = pipe
        self.exited = asyncio.ensure_future(process.wait())

    @classmethod
    async def spawn(cls, launch: Launch, depth: int, write: LogWriter) -> "RuntimeProcess":
        pipe = LogPipe(write)
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.command,
                cwd=launch.directory,
                env=dict(launch.variables),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe.writer,
                stderr=pipe.writer,
                start_new_session=True,
            )
        except OSError:
            pipe.close_writer()
            pipe.close()
            raise
        pipe.close_writer()
        return cls(process, pipe, depth)

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    @property
    def pid(self) -> int:
        return self._process.pid

    def peak_memory_mb(self) -> int | None:
        """The function's own peak resident size, rounded up, as last seen; None where the kernel does not tell."""
        if self._function_pid is None:
            self._function_pid = _descendant(self._process.pid, self._depth)
        if self._function_pid is not None:
            self._peak_memory_mb = _peak_memory_mb(self._function_pid) or self._peak_memory_mb
        return self._peak_memory_mb

    async def kill(self) -> None:
        """End the process and all it started; returns when they are gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.wait([self.exited])
        self.pipe.close()


def _descendant(pid: int, depth: int) -> int | None:
    for _ in range(depth):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        if not children:
            return None
        pid = int(children[0])
    return pid


def _peak_memory_mb(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return None
    _, found, rest = status.partition(b"VmHWM:")
    return -(-int(rest.split(None, 1)[0]) // 1024) if found else None
