"""The Runtime API of one execution environment: the HTTP conversation that `awslambdaric` holds with the platform.

One listener per environment, as on Lambda, so a call needs no further identification. Knows no processes and no pools.
"""

import asyncio
import json
import time
import uuid
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from localcloud.lambda_host.invocation import Invocation
from localcloud.lambda_host.log_lines import answer_too_large

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
