"""The client for asyncio: the same leases, calls, failovers and reports, run on threads of its own.

One implementation serves both, so they cannot differ: what waits for the network is a thread, never the event loop.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Self

from fiso_client.api import Headers
from fiso_client.calling import Answer, Request
from fiso_client.client import Client, Options
from fiso_client.reporting import Tally
from fiso_client.target import Target

CONCURRENCY = 64


class AsyncClient:
    """`Client` with coroutines. Use it as `async with`, or `await close()`.

    At most `concurrency` calls are under way; the next ones wait, and that time counts against their `timeout_s`. A
    call that is cancelled while under way goes on in its thread and is reported, as the function may have run. Headers,
    target headers and `Options.callers` are plain functions, called on these threads.
    """

    def __init__(
        self,
        fiso_url: str | Sequence[str],
        *,
        headers: Headers = lambda *_: {},
        target_headers: Callable[[Target], Mapping[str, str]] = lambda _: {},
        options: Options | None = None,
        stopwatch: Callable[[], float] | None = None,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._client = Client(
            fiso_url, headers=headers, target_headers=target_headers, options=options, stopwatch=stopwatch
        )
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="fiso-call")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def tally(self) -> Tally:
        """What became of reported outcomes so far."""
        return self._client.tally

    @property
    def waiting(self) -> int:
        """Outcomes that were not reported yet."""
        return self._client.waiting

    async def call(self, function: str, request: Request, *, timeout_s: float | None = None) -> Answer:
        """As `Client.call`, with the same errors."""
        calling = partial(self._call, function, request, timeout_s, monotonic())
        return await asyncio.get_running_loop().run_in_executor(self._threads, calling)

    async def invoke(
        self, function: str, request: Request, *, timeout_s: float | None = None, may_repeat: bool = False
    ) -> Answer:
        """As `Client.invoke`, with the same errors."""
        calling = partial(self._invoke, function, request, timeout_s, monotonic(), may_repeat)
        return await asyncio.get_running_loop().run_in_executor(self._threads, calling)

    async def flush(self) -> bool:
        """As `Client.flush`."""
        return await asyncio.to_thread(self._client.flush)

    async def close(self) -> None:
        """Wait for calls that are under way, report what waits, and close connections."""
        await asyncio.to_thread(self._close)

    def _call(self, function: str, request: Request, timeout_s: float | None, asked_at: float) -> Answer:
        return self._client.call(function, request, timeout_s=_left(timeout_s, asked_at))

    def _invoke(
        self, function: str, request: Request, timeout_s: float | None, asked_at: float, may_repeat: bool
    ) -> Answer:
        return self._client.invoke(function, request, timeout_s=_left(timeout_s, asked_at), may_repeat=may_repeat)

    def _close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._client.close()


def _left(timeout_s: float | None, asked_at: float) -> float | None:
    """What is left of a call's time once it has a thread."""
    return None if timeout_s is None else timeout_s - (monotonic() - asked_at)
