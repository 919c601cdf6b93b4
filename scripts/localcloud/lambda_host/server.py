"""The host's HTTP front: Lambda's Invoke API, the emulator's proxy contract, and the host's own status and logs."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict

from aiohttp import web
from aiohttp.typedefs import Handler

from localcloud.lambda_host import answers
from localcloud.lambda_host.control_plane import ControlPlaneError, UnknownFunctionError
from localcloud.lambda_host.deployment import FunctionReference, UnusableReferenceError
from localcloud.lambda_host.directory import FunctionDirectory
from localcloud.lambda_host.environment import LogEvent
from localcloud.lambda_host.invocation import Invocation, ThrottledError, new_request_id
from localcloud.lambda_host.sandbox import Sandbox
from localcloud.lambda_host.shipping import LogHub

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
        application = web.Application(client_max_size=answers.GATEWAY_EVENT_LIMIT_BYTES + 1, middlewares=[_refusals])
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
            payload=await _payload(request, answers.REQUEST_LIMIT_BYTES),
            trace_id=request.headers.get("X-Amzn-Trace-Id"),
            client_context=request.headers.get("X-Amz-Client-Context"),
        )
        match request.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
            case "RequestResponse":
                pool = await self._functions.pool(reference)
                with_log = request.headers.get("X-Amz-Log-Type") == "Tail"
                return answers.succeeded(await pool.invoke(invocation), with_log=with_log)
            case "Event":
                return await self._accept(reference, invocation)
            case "DryRun":
                await self._functions.pool(reference)
                return answers.accepted(invocation.request_id, status=204)
            case other:
                return answers.refused(400, "InvalidParameterValueException", f"Unknown invocation type {other}")

    async def _proxy(self, request: web.Request) -> web.Response:
        version = request.headers.get("X-Amzn-Lambda-Function-Version")
        reference = FunctionReference.parse(request.match_info["function"], version)
        invocation = Invocation(
            payload=await _payload(request, answers.GATEWAY_EVENT_LIMIT_BYTES),
            request_id=request.headers.get("X-Amzn-Lambda-Request-Id") or new_request_id(),
            invoked_arn=request.headers.get("X-Amzn-Lambda-Function-Arn"),
            trace_id=request.headers.get("X-Amzn-Trace-Id"),
        )
        pool = await self._functions.pool(reference)
        return answers.proxied(await pool.invoke(invocation))

    async def _accept(self, reference: FunctionReference, invocation: Invocation) -> web.Response:
        if len(invocation.payload) > answers.ASYNC_REQUEST_LIMIT_BYTES:
            return answers.too_large(answers.ASYNC_REQUEST_LIMIT_BYTES)
        await self._functions.pool(reference)
        task = asyncio.create_task(self._run_in_background(reference, invocation))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return answers.accepted(invocation.request_id)

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
            return answers.refused(400, "InvalidParameterValueException", "limit is a number of lines")
        events = self._logs.recent(request.query.get("function"), int(limit))
        return web.json_response({"events": [_event(event) for event in events]})


def _event(event: LogEvent) -> dict[str, object]:
    return {"function": event.function, "timestamp_ms": event.timestamp_ms, "message": event.message}


async def _payload(request: web.Request, limit_bytes: int) -> bytes:
    body = await request.read()
    if len(body) > limit_bytes:
        raise web.HTTPRequestEntityTooLarge(max_size=limit_bytes, actual_size=len(body))
    return answers.checked_payload(body)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One table from the host's errors to Lambda's."""
    try:
        return await handler(request)
    except ThrottledError as error:
        return answers.throttled(error.reason)
    except UnknownFunctionError:
        return answers.unknown_function(request.match_info["function"])
    except UnusableReferenceError as error:
        return answers.refused(400, "ValidationException", f"{error} is not a function name or ARN")
    except answers.UnreadablePayloadError as error:
        return answers.refused(400, "InvalidRequestContentException", str(error))
    except web.HTTPRequestEntityTooLarge:
        return answers.too_large(answers.REQUEST_LIMIT_BYTES)
    except ControlPlaneError as error:
        return answers.refused(500, "ServiceException", str(error))
