"""A runtime: its operating system process, its log pipe, and the Runtime API through which it is given work."""

import asyncio
import contextlib
import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from aiohttp import web

from localcloud.aiohttp_doors import refused, visit_of
from localcloud.doors import Door, refusal
from localcloud.lambda_host.function import Invocation
from localcloud.lambda_host.log_lines import LogWriter, answer_too_large
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


PREFIX = "/2018-06-01/runtime/"
RESPONSE_LIMIT_BYTES = 6_291_556


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An invocation on its way to the function, with the absolute time at which it is cut off."""

    invocation: Invocation
    function_arn: str
    deadline_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the function made of its work: an answer, or an error that the runtime has described."""

    payload: bytes
    is_error: bool = False
    is_too_large: bool = False


class RuntimeListener(Protocol):
    """Whoever drives the runtime. `next_work` waits; None ends the conversation."""

    def ready(self) -> None: ...
    async def next_work(self) -> Work | None: ...
    def finished(self, request_id: str, reply: Reply) -> None: ...
    def init_failed(self, document: bytes) -> None: ...


class RuntimeApi:
    """Serves one runtime on a port of its own."""

    def __init__(self, listener: RuntimeListener) -> None:
        self._listener = listener
        self._http = web.Server(self._answer, access_log=None)
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listen; returns `host:port`, the form of AWS_LAMBDA_RUNTIME_API."""
        self._server = await asyncio.get_running_loop().create_server(self._http, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._http.shutdown(timeout=0.1)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        why = refusal(visit_of(request), Door.CONTROL)
        if why is not None:
            return refused(why)
        if not request.path.startswith(PREFIX):
            return _json(404, {"errorType": "NotFound", "errorMessage": request.path})
        step = request.path.removeprefix(PREFIX)
        if step == "invocation/next":
            return await self._next()
        body = await _body(request)
        if step == "init/error":
            self._listener.init_failed(body)
            return _json(202, {"status": "OK"})
        return self._finish(step.split("/"), body)

    async def _next(self) -> web.Response:
        self._listener.ready()
        work = await self._listener.next_work()
        if work is None:
            return _json(503, {"errorType": "Shutdown", "errorMessage": "the execution environment has ended"})
        invocation = work.invocation
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(work.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.invoked_arn or work.function_arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id
            or f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        return web.Response(body=invocation.payload, headers=headers, content_type="application/json")

    def _finish(self, parts: list[str], body: bytes) -> web.Response:
        match parts:
            case ["invocation", request_id, "response"] if len(body) > RESPONSE_LIMIT_BYTES:
                fault = answer_too_large(RESPONSE_LIMIT_BYTES)
                self._listener.finished(request_id, Reply(payload=fault.document(), is_error=True, is_too_large=True))
                return _json(413, {"errorType": "RequestEntityTooLarge", "errorMessage": fault.message})
            case ["invocation", request_id, "response" | "error" as outcome]:
                self._listener.finished(request_id, Reply(payload=body, is_error=outcome == "error"))
                return _json(202, {"status": "OK"})
        return _json(404, {"errorType": "NotFound", "errorMessage": "/".join(parts)})


async def _body(request: web.BaseRequest) -> bytes:
    """The whole body. The runtime's client asks before it sends a large one, and waits a second for the answer."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return await request.content.read()


def _json(status: int, document: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=json.dumps(document).encode(), content_type="application/json")


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The process ended where a reply was awaited. `status` is negative, or above 128, for a signal."""

    status: int


class Runtime:
    """Takes one piece of work at a time; `alive` until its process ends or `kill` is called."""

    def __init__(self, write: LogWriter, depth: int) -> None:
        self._write = write
        self._depth = depth
        self._api = RuntimeApi(self)
        self._process: RuntimeProcess | None = None
        self._inbox: asyncio.Queue[Work | None] = asyncio.Queue(1)
        self._initialised: asyncio.Future[Reply | Exit | None] = asyncio.get_running_loop().create_future()
        self._answered: asyncio.Future[Reply | Exit] = asyncio.get_running_loop().create_future()
        self._request_id: str | None = None
        self._killed = False

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self, prepare: Callable[[str], Launch]) -> Reply | Exit | None:
        """Run the init phase; None when the runtime asks for work, else its failure. `prepare` gets our address."""
        launch = prepare(await self._api.open())
        self._process = await RuntimeProcess.spawn(launch, self._depth, self._write)
        self._process.exited.add_done_callback(self._exited)
        if self._killed:  # while the process was being started
            await self._process.kill()
        return await self._initialised

    async def invoke(self, work: Work) -> Reply | Exit:
        self._request_id = work.invocation.request_id
        self._answered = asyncio.get_running_loop().create_future()
        if self._process is None or not self._process.alive:
            return Exit(status=self._process.exited.result() if self._process else 0)
        self._inbox.put_nowait(work)
        return await self._answered

    def flush_log(self) -> None:
        if self._process is not None:
            self._process.pipe.flush()

    def peak_memory_mb(self) -> int | None:
        return self._process.peak_memory_mb() if self._process else None

    async def kill(self) -> None:
        """End the process, all it started and the API. Safe to repeat."""
        self._killed = True
        if self._process is not None:
            await self._process.kill()
        if self._inbox.empty():
            self._inbox.put_nowait(None)
        await self._api.close()

    def ready(self) -> None:
        _settle(self._initialised, None)

    async def next_work(self) -> Work | None:
        return await self._inbox.get()

    def init_failed(self, document: bytes) -> None:
        _settle(self._initialised, Reply(payload=document, is_error=True))

    def finished(self, request_id: str, reply: Reply) -> None:
        if request_id == self._request_id:
            _settle(self._answered, reply)

    def _exited(self, exited: asyncio.Future[int]) -> None:
        _settle(self._initialised, Exit(status=exited.result()))
        _settle(self._answered, Exit(status=exited.result()))


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
