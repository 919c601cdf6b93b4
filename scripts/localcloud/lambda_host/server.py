"""The host's HTTP front: Lambda's Invoke API, worded and numbered as Lambda does, and the emulator's proxy contract."""

import base64
import json
import logging
from dataclasses import asdict

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from localcloud.lambda_host.control_plane import ControlPlaneError, UnknownFunctionError
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
TELLING = ("/healthz", "/status")
"""Paths that only tell how the host is: nothing is run and no signature is needed."""
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


class Front:
    """Translates HTTP to invocations and back."""

    def __init__(self, functions: FunctionDirectory, logs: LogHub, sandbox: Sandbox) -> None:
        self._functions = functions
        self._logs = logs
        self._sandbox = sandbox

    def application(self, guard: Middleware) -> web.Application:
        """What is served; `guard` says to whom."""
        application = web.Application(client_max_size=GATEWAY_EVENT_LIMIT_BYTES + 1, middlewares=[_refusals, guard])
        application.router.add_post("/2015-03-31/functions/{function}/invocations", self._invoke)
        application.router.add_post("/invoke/{function}", self._proxy)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/status", self._status)
        return application

    async def _invoke(self, request: web.Request) -> web.Response:
        reference = FunctionReference.parse(request.match_info["function"], request.query.get("Qualifier"))
        invocation = Invocation(
            payload=await _payload(request, REQUEST_LIMIT_BYTES),
            trace_id=request.headers.get("X-Amzn-Trace-Id"),
            client_context=request.headers.get("X-Amz-Client-Context"),
        )
        kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind != "RequestResponse":
            message = f"Invocation type {kind} is not served on this machine: nothing of FISO uses it"
            return refused(400, "InvalidParameterValueException", message)
        pool = await self._functions.pool(reference)
        return succeeded(await pool.invoke(invocation), with_log=request.headers.get("X-Amz-Log-Type") == "Tail")

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
