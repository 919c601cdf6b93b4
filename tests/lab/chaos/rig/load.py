"""Load: an open-loop Poisson generator over a pool of execution environments.

Requests start when they were meant to, whatever became of those before (no coordinated omission). The pool hands out
the environment that was used last, as Lambda does, and makes a new one when all are busy, up to a limit.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from fiso.domain.access import ANYONE
from fiso_client.core.scoping import scoped_key
from tests.lab.chaos.rig.rows import Row, answered

LARGEST_LINE = 32 * 1024 * 1024
CONTROL_EVERY_S, CONTROL_FOR_S = 0.05, 1.0
"""How often the way to a worker and back is measured, and how long after its start such measures are a request's."""
_CONTROL = b"{}\n"
MOST_WAITING = 5_000
"""Requests that may be under way or waiting at once; what comes on top counts as answered by nobody."""
REMAINING_MS = 29_000.0
"""What Lambda gives the orchestrator (its timeout)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to send. Header names as HTTP has them."""

    function: str
    body: str = '{"text": "the quick brown fox"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    remaining_ms: float = REMAINING_MS

    def line(self) -> bytes:
        """As a worker reads it."""
        path = f"/v1/invoke/{self.function}"
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {"content-type": "application/json", **self.headers},
            "requestContext": {"http": {"method": "POST", "path": path}, "stage": "$default"},
            "body": self.body,
            "isBase64Encoded": False,
        }
        return json.dumps({"event": event, "remaining_ms": self.remaining_ms}).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a load: `action` (a fault, its end) is done when it begins, before its first request.

    Where `goes_on`, requests come while it is done: a worker is killed and started under load.
    """

    name: str
    seconds: float
    action: Callable[[], object] | None = None
    goes_on: bool = False


@dataclass(slots=True)
class _Environment:
    number: int
    worker: Path
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Pool:
    """Environments over the workers' sockets, last used first."""

    def __init__(self, workers: Sequence[Path], *, most: int) -> None:
        self._workers, self._most = workers, most
        self._idle: list[_Environment] = []
        self._free = asyncio.Semaphore(most)
        self._numbers = count()

    async def warm(self, environments: int) -> None:
        """Connect so many before the first request."""
        self._idle += [await self._connect() for _ in range(environments)]

    async def serve(self, line: bytes) -> tuple[int | None, dict[str, Any] | None]:
        """One request in one environment: its number, and what it said; None when it died first."""
        async with self._free:
            environment = await self._take()
            if environment is None:
                return None, None
            try:
                environment.writer.write(line)
                await environment.writer.drain()
                said = await environment.reader.readline()
            except OSError:
                said = b""
            if not said.endswith(b"\n"):
                environment.writer.close()
                return environment.number, None
            self._idle.append(environment)
            return environment.number, json.loads(said)

    def close(self) -> None:
        """Let all go."""
        for environment in self._idle:
            environment.writer.close()
        self._idle.clear()

    async def control(self, taken: "list[Control]") -> None:
        """Measure the way to each worker and back, in connections of their own, until cancelled."""

        async def of(worker: Path) -> None:
            while True:
                with suppress(OSError):
                    await _measured(worker, taken)
                await asyncio.sleep(CONTROL_EVERY_S)  # it was killed, and is started anew

        await asyncio.gather(*(of(worker) for worker in self._workers))

    async def _take(self) -> _Environment | None:
        while self._idle:
            environment = self._idle.pop()
            if not environment.reader.at_eof() and not environment.writer.is_closing():
                return environment
            environment.writer.close()
        with suppress(OSError):
            return await self._connect()
        return None

    async def _connect(self) -> _Environment:
        """A new environment, built."""
        number = next(self._numbers)
        last: OSError | None = None
        for place in range(len(self._workers)):
            worker = self._workers[(number + place) % len(self._workers)]
            try:
                reader, writer = await asyncio.open_unix_connection(str(worker), limit=LARGEST_LINE)
                if not await reader.readline():
                    raise ConnectionResetError(f"{worker} ended")
            except OSError as error:
                last = error
                continue
            return _Environment(number, worker, reader, writer)
        raise last or OSError("no worker")


@dataclass(frozen=True, slots=True)
class Control:
    """One way to a worker and back without FISO, in monotonic seconds."""

    sent_s: float
    answered_s: float


async def _measured(worker: Path, taken: list[Control]) -> None:
    reader, writer = await asyncio.open_unix_connection(str(worker))
    try:
        said = await reader.readline()  # that it is ready
        while said:
            await asyncio.sleep(CONTROL_EVERY_S)
            sent_s = time.monotonic()
            writer.write(_CONTROL)
            said = await reader.readline()
            taken.append(Control(sent_s, time.monotonic()))
    finally:
        writer.close()


def with_control(rows: Sequence[Row], taken: Sequence[Control], begun: float) -> list[Row]:
    """The rows, each with the slowest control under way in the CONTROL_FOR_S from its start."""

    def slowest_ms(row: Row) -> float | None:
        from_s = begun + row.intended_s
        beside = [one for one in taken if one.answered_s >= from_s and one.sent_s <= from_s + CONTROL_FOR_S]
        return max(((one.answered_s - one.sent_s) * 1000 for one in beside), default=None)

    return [replace(row, control_ms=slowest_ms(row)) for row in rows]


async def run(
    pool: Pool, phases: Sequence[Phase], *, rate: float, ask: Callable[[int], Ask], rng: Random, begun: float
) -> list[Row]:
    """All phases, one after the other without a pause; ends when every request is answered. `begun` is the monotonic
    time that rows count from."""
    rows: list[Row] = []
    under_way: set[asyncio.Task[None]] = set()
    numbers = count()
    controls: list[Control] = []
    control = asyncio.create_task(pool.control(controls))

    async def one(request: Ask, intended: float, phase: str) -> None:
        number, said = await pool.serve(request.line())
        now = time.monotonic()
        fields = {
            "at": time.time(),
            "intended_s": intended - begun,
            "latency_ms": (now - intended) * 1000,
            "phase": phase,
            "environment": number,
            "key": _as_the_function_sees_it(request),
        }
        rows.append(answered(fields, said))

    for phase in phases:
        if phase.action is not None:
            done = asyncio.create_task(_do(phase.action))
            under_way.add(done)
            done.add_done_callback(under_way.discard)
            if not phase.goes_on:
                await done
        intended, ends_at = time.monotonic(), time.monotonic() + phase.seconds
        while (intended := intended + rng.expovariate(rate)) < ends_at:
            await asyncio.sleep(max(0.0, intended - time.monotonic()))
            if len(under_way) >= MOST_WAITING:
                fields = {"at": time.time(), "intended_s": intended - begun, "latency_ms": 0.0, "phase": phase.name}
                rows.append(answered({**fields, "environment": None}, None))
                continue
            task = asyncio.create_task(one(ask(next(numbers)), intended, phase.name))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    control.cancel()
    return with_control(rows, controls, begun)


async def _do(action: Callable[[], object]) -> None:
    await asyncio.to_thread(action)


def _as_the_function_sees_it(request: Ask) -> str | None:
    key = request.headers.get("idempotency-key")
    return None if key is None else scoped_key(ANYONE.tenant, request.function, key)
