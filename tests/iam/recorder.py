"""Forwarders between functions and AWS that note every access, while requests pass unchanged.

Kept is who, what, on which resource, and what a condition may speak of; never a payload.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from fiso_cli.local_stage import HOST
from localcloud.provider_proxy.listener import pass_on, upstream_session
from tests.iam.wire import Access, Request, accesses_of


@dataclass(slots=True, kw_only=True)
class Recording:
    """`urls` stand for the upstreams, in their order."""

    urls: tuple[str, ...] = ()
    accesses: list[Access] = field(default_factory=list)


@contextmanager
def recording(*upstreams: str, keeps_connections: bool = True) -> Iterator[Recording]:
    """One forwarder to each upstream, in a thread of this process. Functions in this process have none to close, when
    no connection is kept."""
    loop, recorded = asyncio.new_event_loop(), Recording()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    session, runners = asyncio.run_coroutine_threadsafe(
        _serve(upstreams, recorded.accesses, keeps_connections), loop
    ).result(10)
    recorded.urls = tuple(f"http://{HOST}:{runner.addresses[0][1]}" for runner in runners)
    try:
        yield recorded
    finally:
        asyncio.run_coroutine_threadsafe(_close(session, runners), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(
    upstreams: tuple[str, ...], accesses: list[Access], keeps_connections: bool
) -> tuple[aiohttp.ClientSession, list[web.AppRunner]]:
    session, runners = upstream_session(), []
    for upstream in upstreams:
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", _forwarder(upstream, session, accesses))
        if not keeps_connections:
            application.on_response_prepare.append(_end)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        runners.append(runner)
    return session, runners


async def _end(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["connection"] = "close"
    response.force_close()


async def _close(session: aiohttp.ClientSession, runners: list[web.AppRunner]) -> None:
    for runner in runners:
        await runner.cleanup()
    await session.close()


def _forwarder(
    upstream: str, session: aiohttp.ClientSession, accesses: list[Access]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def forward(request: web.Request) -> web.Response:
        body = await request.content.read()
        try:
            answer = await pass_on(request, body, upstream, session)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"{upstream} did not answer: {error}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        noted = Request(method=request.method, target=request.raw_path, headers=headers, body=body)
        accesses.extend(accesses_of(noted, answer.status))
        if request.method != "HEAD":
            answer.headers.popall("Content-Length", None)  # counted again by the server
        return web.Response(status=answer.status, reason=answer.reason, headers=answer.headers, body=answer.body)

    return forward
