"""A faulty store: DynamoDB behind a proxy on loopback that throttles, errs or goes silent when told to.

On the wire, so that it serves every client alike: FISO's own and boto3. A black hole accepts and never answers; whoever
waits decides how long. Runs in a thread of its own.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from threading import Thread

from tests.lab.chaos.rig.wire import HOST, WireRequest, answer_bytes, port_of, read_request

_JSON = {"content-type": "application/x-amz-json-1.0"}
_THROTTLED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "message": "The level of configured provisioned throughput for the table was exceeded.",
}
_ERROR = {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "Internal error"}


class StoreFault(StrEnum):
    """What becomes of every request. LOST_ANSWER: the store does it, and nobody hears of it."""

    NONE = "none"
    THROTTLED = "throttled"
    ERROR = "error"
    BLACK_HOLE = "black_hole"
    LOST_ANSWER = "lost_answer"


class FaultyStore:
    """Forwards to `upstream_port`, unless `fault` says otherwise. Made by `faulty_store`."""

    def __init__(self, upstream_port: int) -> None:
        self.fault, self.port = StoreFault.NONE, 0
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="faulty-store", daemon=True)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        listening = asyncio.start_server(self._serve, HOST, 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port = port_of(self._server)

    def stop(self) -> None:
        """Let everybody go."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
            serving = asyncio.all_tasks() - {asyncio.current_task()}
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            await asyncio.sleep(0)  # the loop's turn to close what was let go

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection(HOST, self._upstream_port)
        try:
            while (request := await read_request(reader)) is not None:
                answer = await self._answer(request, upstream)
                if answer is None:
                    await reader.read()  # until the client gives up
                    break
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # one of the two sides is gone, or the proxy ends
        finally:
            for side in (writer, upstream[1]):
                side.close()

    async def _answer(
        self, request: WireRequest, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> bytes | None:
        match self.fault:
            case StoreFault.THROTTLED:
                return answer_bytes(400, _JSON, json.dumps(_THROTTLED).encode())
            case StoreFault.ERROR:
                return answer_bytes(500, _JSON, json.dumps(_ERROR).encode())
            case StoreFault.BLACK_HOLE:
                return None
        answer = await _forwarded(request, *upstream)
        return None if self.fault is StoreFault.LOST_ANSWER else answer


async def _forwarded(request: WireRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    head = f"{request.method} {request.path} HTTP/1.1\r\n" + "".join(
        f"{n}: {v}\r\n" for n, v in request.headers.items()
    )
    writer.write(head.encode("latin-1") + b"\r\n" + request.body)
    await writer.drain()
    try:
        answer = await reader.readuntil(b"\r\n\r\n")
        lines = answer.decode("latin-1").lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        return answer + await reader.readexactly(length)
    except (asyncio.IncompleteReadError, StopIteration) as error:
        raise ConnectionResetError("the store ended the connection") from error


@contextmanager
def faulty_store(upstream_port: int) -> Iterator[FaultyStore]:
    """A running proxy."""
    store = FaultyStore(upstream_port)
    store.start()
    try:
        yield store
    finally:
        with suppress(TimeoutError):
            store.stop()
