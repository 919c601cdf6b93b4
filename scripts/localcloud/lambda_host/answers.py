"""The Invoke API's answers, worded and numbered as Lambda does. Knows aiohttp's responses, nothing of pools."""

import base64
import json

from aiohttp import web

from localcloud.lambda_host.invocation import InvocationResult

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
