"""A forwarder between the functions and the emulator that notes every AWS call, one JSON line each.

Transparent: requests and answers pass byte for byte. Lines carry who, what, on which resource, and the status; never a
payload. `function` is the caller's access key: `environment_variables.access_key_of(name)`.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from localcloud.lambda_host.aws_calls import Request, read_call

log = logging.getLogger("localcloud.lambda_host.call_recorder")
# Belong to one connection, not to the request; lengths are set anew because bodies are sent whole.
_HOP_BY_HOP = frozenset({"connection", "content-length", "expect", "keep-alive", "transfer-encoding", "upgrade"})


class CallRecorder:
    """Forwards to `emulator_url` and writes to `out`."""

    def __init__(self, emulator_url: str, out: TextIO, session: aiohttp.ClientSession) -> None:
        self._emulator_url = emulator_url.rstrip("/")
        self._out = out
        self._session = session

    def application(self) -> web.Application:
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self._forward)
        return application

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if request.raw_path == "/healthz":
            return web.json_response({"status": "ok"})
        body = await request.content.read()
        try:
            answer = await self._exchange(request, body)
        except aiohttp.ClientError as error:
            log.warning("the emulator did not answer: %s", error)
            answer = web.Response(status=502, text="the emulator did not answer")
        self._record(request, body, answer.status)
        return answer

    async def _exchange(self, request: web.Request, body: bytes) -> web.Response:
        url = URL(self._emulator_url + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=_end_to_end(request.headers), data=body, allow_redirects=False
        ) as answer:
            content = await answer.read()
            headers = _end_to_end(answer.headers)
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                headers["Content-Length"] = answer.headers["Content-Length"]
            return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=content)

    def _record(self, request: web.Request, body: bytes, status: int) -> None:
        record(request, body, status, self._out)


def record(request: web.Request, body: bytes, status: int, out: TextIO) -> None:
    """Note one request's AWS call, if it is one. Lines of several writers to one file stay whole."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    call = read_call(Request(method=request.method, target=request.raw_path, headers=headers, body=body))
    if call is None:
        return
    line = {
        "function": call.caller,
        "service": call.service,
        "operation": call.operation,
        "resources": call.resources,
        "status": status,
    }
    out.write(json.dumps(line) + "\n")
    out.flush()


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


async def serve(port: int, emulator_url: str, out: Path) -> None:
    """Forward until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    out.parent.mkdir(parents=True, exist_ok=True)
    connector = aiohttp.TCPConnector(limit=0)
    with out.open("a") as lines:
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            recorder = CallRecorder(emulator_url, lines, session)
            runner = web.AppRunner(recorder.application(), access_log=None, shutdown_timeout=0.2)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            log.info("recording on 127.0.0.1:%d into %s", port, out)
            await stop.wait()
            await runner.cleanup()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="python -m localcloud.lambda_host.call_recorder", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--emulator-url", required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines are appended here")
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.port, given.emulator_url, given.out))
    except OSError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
