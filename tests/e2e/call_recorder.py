"""Forwarders between the functions and AWS that note every call, one JSON line each, while requests pass unchanged.

Lines carry who, what, on which resource, and the status; never a payload. `function` is the caller's access key.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import aiohttp
from aiohttp import web

from fiso_cli.local_stage import HOST
from localcloud.provider_proxy.listener import pass_on, upstream_session
from tests.e2e.aws_calls import Request, read_call


@contextmanager
def recording(file: Path, *upstreams: str) -> Iterator[tuple[str, ...]]:
    """One forwarder to each upstream in a thread of this process; their addresses."""
    file.parent.mkdir(parents=True, exist_ok=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with file.open("a") as out:
        session, runners = asyncio.run_coroutine_threadsafe(_serve(upstreams, out), loop).result(10)
        yield tuple(f"http://{HOST}:{runner.addresses[0][1]}" for runner in runners)
        asyncio.run_coroutine_threadsafe(_close(session, runners), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _serve(upstreams: tuple[str, ...], out: TextIO) -> tuple[aiohttp.ClientSession, list[web.AppRunner]]:
    session, runners = upstream_session(), []
    for upstream in upstreams:
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", _forwarder(upstream, session, out))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        runners.append(runner)
    return session, runners


async def _close(session: aiohttp.ClientSession, runners: list[web.AppRunner]) -> None:
    for runner in runners:
        await runner.cleanup()
    await session.close()


def _forwarder(upstream: str, session: aiohttp.ClientSession, out: TextIO):  # type: ignore[no-untyped-def]
    async def forward(request: web.Request) -> web.Response:
        body = await request.content.read()
        try:
            answer = await pass_on(request, body, upstream, session)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"{upstream} did not answer: {error}")
        _record(request, body, answer.status, out)
        if request.method != "HEAD":
            answer.headers.popall("Content-Length", None)  # counted again by the server
        return web.Response(status=answer.status, reason=answer.reason, headers=answer.headers, body=answer.body)

    return forward


def _record(request: web.Request, body: bytes, status: int, out: TextIO) -> None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    call = read_call(Request(method=request.method, target=request.raw_path, headers=headers, body=body))
    if call is not None:
        line = {"function": call.caller, "service": call.service, "operation": call.operation}
        out.write(json.dumps({**line, "resources": call.resources, "status": status}) + "\n")
        out.flush()
