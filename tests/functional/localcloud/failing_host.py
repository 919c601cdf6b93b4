"""A small Lambda host for tests of the stream pump: its one function fails on order."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class LambdaHost:
    """An Invoke API whose function is told how to fail. `deliveries` holds the ids of each event's records."""

    function: str
    deliveries: list[list[str]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    poison: frozenset[str] = frozenset()
    throttled: int = 0
    url: str = ""

    async def invoke(self, request: web.Request) -> web.Response:
        assert request.match_info["name"] == self.function
        if self.throttled > 0:
            self.throttled -= 1
            return web.json_response({"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}, status=429)
        body = await request.json()
        self.events.append(body)
        ids = [record["dynamodb"]["Keys"]["id"]["S"] for record in body["Records"]]
        self.deliveries.append(ids)
        return self._answer(ids, [record["dynamodb"]["SequenceNumber"] for record in body["Records"]])

    def _answer(self, ids: list[str], sequence_numbers: list[str]) -> web.Response:
        headers = {"x-amzn-requestid": "request-1", "x-amz-executed-version": "$LATEST"}
        for item, sequence_number in zip(ids, sequence_numbers, strict=True):
            if item in self.poison and item.startswith("raise"):
                headers["x-amz-function-error"] = "Unhandled"
                return web.json_response({"errorType": "ValueError"}, headers=headers)
            if item in self.poison:
                report = {"batchItemFailures": [{"itemIdentifier": sequence_number}]}
                return web.json_response(report, headers=headers)
            self.done.append(item)
        return web.json_response({"batchItemFailures": []}, headers=headers)


@contextmanager
def serving(host: LambdaHost) -> Iterator[None]:
    """The host on a free port, in a thread with an event loop of its own."""
    loop = asyncio.new_event_loop()
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post("/2015-03-31/functions/{name}/invocations", host.invoke)
    runner = web.AppRunner(app, shutdown_timeout=0)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    host.url = f"http://127.0.0.1:{loop.run_until_complete(start())}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
