"""A runtime: one process of `awslambdaric` and the API it talks to, as one thing that starts and is then given work."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from localcloud.lambda_host.log_lines import LogWriter
from localcloud.lambda_host.process import RuntimeProcess
from localcloud.lambda_host.runtime_api import Reply, RuntimeApi, Work
from localcloud.lambda_host.sandbox import Launch

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
