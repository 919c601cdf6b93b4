"""The host's HTTP front: Lambda's Invoke API, worded and numbered as Lambda does, and the emulator's proxy contract."""

import asyncio
import base64
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict

from aiohttp import web
from aiohttp.typedefs import Handler

from localcloud.lambda_host.control_plane import ControlPlaneError, UnknownFunctionError
from localcloud.lambda_host.environment import LogEvent
from localcloud.lambda_host.function import (
    FunctionReference,
    Invocation,
    InvocationResult,
    ThrottledError,
    UnusableReferenceError,
    new_request_id,
)
from localcloud.lambda_host.pool import FunctionDirectory
from localcloud.lambda_host.sandbox import Sandbox
from localcloud.lambda_host.shipping import LogHub

REQUEST_LIMIT_BYTES = 6_291_456
GATEWAY_EVENT_LIMIT_BYTES = 16 * 1024 * 1024
"""What the HTTP API may hand to a function here: its own 10 MB body as base64 and the envelope. On AWS no event above
6 MB reaches a function and the gateway answers by itself; here the orchestrator's own refusal can be seen."""
ASYNC_REQUEST_LIMIT_BYTES = 1_048_576
_JSON = "application/json"


class UnreadablePayloadError(Exception):
    """The request's body is not JSON."""


def checked_payload(body: bytes) -> bytes:
    """The payload as the function gets it; nothing at all means an empty object, as on AWS."""
    if not body:
        return b"{}"
    try:
        json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UnreadablePayloadError(f"Could not parse request body into json: {error}") from error
    return body


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def succeeded(result: InvocationResult, *, with_log: bool) -> web.Response:
    """A function's answer and a function's error are both 200 in this API; a header tells them apart."""
    headers = {"X-Amz-Executed-Version": result.version, "x-amzn-RequestId": result.request_id}
    if result.error is not None:
        headers["X-Amz-Function-Error"] = result.error
    if with_log:
        headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail).decode()
    return web.Response(body=result.payload, headers=headers, content_type=_JSON)


def proxied(result: InvocationResult) -> web.Response:
    """For the emulator, which takes any 2xx for a success."""
    headers = {"X-Amz-Executed-Version": result.version, "x-amzn-RequestId": result.request_id}
    if result.error is None:
        return web.Response(body=result.payload, headers=headers, content_type=_JSON)
    headers["X-Amz-Function-Error"] = result.error
    return web.Response(status=502, body=result.payload, headers=headers, content_type=_JSON)


def accepted(request_id: str, status: int = 202) -> web.Response:
    return web.Response(status=status, headers={"x-amzn-RequestId": request_id})


def throttled(reason: str) -> web.Response:
    document = {"Reason": reason, "Type": "User", "message": "Rate Exceeded."}
    return _error(429, "TooManyRequestsException", document)


def unknown_function(name: str) -> web.Response:
    return refused(404, "ResourceNotFoundException", f"Function not found: {name}")


def too_large(limit_bytes: int) -> web.Response:
    message = f"Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation"
    return refused(413, "RequestTooLargeException", message)


def refused(status: int, code: str, message: str) -> web.Response:
    kind = "User" if status < 500 else "Service"
    return _error(status, code, {"Type": kind, "message": message})


def _error(status: int, code: str, document: dict[str, str]) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(document).encode(), headers={"x-amzn-ErrorType": code}, content_type=_JSON
    )


log = logging.getLogger(__name__)
ASYNC_RETRY_DELAYS_S = (60.0, 120.0)  # AWS tries an asynchronous invocation three times


class Front:
    """Translates HTTP to invocations and back."""

    def __init__(
        self,
        functions: FunctionDirectory,
        logs: LogHub,
        sandbox: Sandbox,
        *,
        async_retry_delays_s: Sequence[float] = ASYNC_RETRY_DELAYS_S,
    ) -> None:
        self._functions = functions
        self._logs = logs
        self._sandbox = sandbox
        self._async_retry_delays_s = async_retry_delays_s
        self._background: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=GATEWAY_EVENT_LIMIT_BYTES + 1, middlewares=[_refusals])
        application.router.add_post("/2015-03-31/functions/{function}/invocations", self._invoke)
        application.router.add_post("/invoke/{function}", self._proxy)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/status", self._status)
        application.router.add_get("/logs", self._recent_logs)
        return application

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _invoke(self, request: web.Request) -> web.Response:
        reference = FunctionReference.parse(request.match_info["function"], request.query.get("Qualifier"))
        invocation = Invocation(
            payload=await _payload(request, REQUEST_LIMIT_BYTES),
            trace_id=request.headers.get("X-Amzn-Trace-Id"),
            client_context=request.headers.get("X-Amz-Client-Context"),
        )
        match request.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
            case "RequestResponse":
                pool = await self._functions.pool(reference)
                with_log = request.headers.get("X-Amz-Log-Type") == "Tail"
                return succeeded(await pool.invoke(invocation), with_log=with_log)
            case "Event":
                return await self._accept(reference, invocation)
            case "DryRun":
                await self._functions.pool(reference)
                return accepted(invocation.request_id, status=204)
            case other:
                return refused(400, "InvalidParameterValueException", f"Unknown invocation type {other}")

    async def _proxy(self, request: web.Request) -> web.Response:
        version = request.headers.get("X-Amzn-Lambda-Function-Version")
        reference = FunctionReference.parse(request.match_info["function"], version)
        invocation = Invocation(
            payload=await _payload(request, GATEWAY_EVENT_LIMIT_BYTES),
            request_id=request.headers.get("X-Amzn-Lambda-Request-Id") or new_request_id(),
            invoked_arn=request.headers.get("X-Amzn-Lambda-Function-Arn"),
            trace_id=request.headers.get("X-Amzn-Trace-Id"),
        )
        pool = await self._functions.pool(reference)
        return proxied(await pool.invoke(invocation))

    async def _accept(self, reference: FunctionReference, invocation: Invocation) -> web.Response:
        if len(invocation.payload) > ASYNC_REQUEST_LIMIT_BYTES:
            return too_large(ASYNC_REQUEST_LIMIT_BYTES)
        await self._functions.pool(reference)
        task = asyncio.create_task(self._run_in_background(reference, invocation))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return accepted(invocation.request_id)

    async def _run_in_background(self, reference: FunctionReference, invocation: Invocation) -> None:
        for delay_s in (*self._async_retry_delays_s, None):
            try:
                result = await (await self._functions.pool(reference)).invoke(invocation)
                if result.error is None:
                    return
            except UnknownFunctionError:
                log.warning("%s was removed before its asynchronous invocation ran", reference.name)
                return
            except (ThrottledError, ControlPlaneError) as error:
                log.info("asynchronous invocation of %s has to wait: %s", reference.name, error)
            if delay_s is not None:
                await asyncio.sleep(delay_s)
        log.warning("asynchronous invocation %s of %s failed for good", invocation.request_id, reference.name)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _status(self, _request: web.Request) -> web.Response:
        functions = [asdict(status) for status in self._functions.status()]
        return web.json_response(
            {
                "sandbox": self._sandbox.mode.value,
                "python": self._sandbox.interpreter.version,
                "environments": {"used": self._functions.environments, "limit": self._functions.environment_limit},
                "log_events_dropped": self._logs.dropped,
                "functions": functions,
            }
        )

    async def _recent_logs(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", "200")
        if not limit.isdecimal():
            return refused(400, "InvalidParameterValueException", "limit is a number of lines")
        events = self._logs.recent(request.query.get("function"), int(limit))
        return web.json_response({"events": [_event(event) for event in events]})


def _event(event: LogEvent) -> dict[str, object]:
    return {"function": event.function, "timestamp_ms": event.timestamp_ms, "message": event.message}


async def _payload(request: web.Request, limit_bytes: int) -> bytes:
    body = await request.read()
    if len(body) > limit_bytes:
        raise web.HTTPRequestEntityTooLarge(max_size=limit_bytes, actual_size=len(body))
    return checked_payload(body)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One table from the host's errors to Lambda's."""
    try:
        return await handler(request)
    except ThrottledError as error:
        return throttled(error.reason)
    except UnknownFunctionError:
        return unknown_function(request.match_info["function"])
    except UnusableReferenceError as error:
        return refused(400, "ValidationException", f"{error} is not a function name or ARN")
    except UnreadablePayloadError as error:
        return refused(400, "InvalidRequestContentException", str(error))
    except web.HTTPRequestEntityTooLarge:
        return too_large(REQUEST_LIMIT_BYTES)
    except ControlPlaneError as error:
        return refused(500, "ServiceException", str(error))
