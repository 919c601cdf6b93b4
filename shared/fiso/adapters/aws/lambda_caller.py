"""Calling a function on AWS Lambda through the Invoke API, and reading the ways in which it answers."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote

from fiso.adapters.http.header_policy import SILENT, Report, function_answer, passed_headers, path_suffix, retry_after_s
from fiso.domain.endpoint import Endpoint, Payload
from fiso.domain.request import InvocationRequest
from fiso.ports import Clock
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.content import is_textual
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import SignedService
from fiso_client.core.transport import HttpAnswer

_STATUS_FAILURES = {
    400: Failure.REJECTED,
    413: Failure.REJECTED,
    415: Failure.REJECTED,
    401: Failure.REFUSED,
    403: Failure.REFUSED,
    404: Failure.REFUSED,
    429: Failure.THROTTLED,
}
"""What the Invoke API's own statuses mean; any other one from 300 on is the provider's fault."""
_ERROR_KIND = re.compile(r"[A-Z][A-Za-z0-9]{2,60}Exception")
_REPORT = re.compile(rb"Billed Duration: (\d+) ms\s+Memory Size: \d+ MB\s+Max Memory Used: (\d+) MB([^\n]*)")


class LambdaCaller:
    """AWS functions. `service` gives the signed Invoke API of a region."""

    def __init__(self, service: Callable[[str], SignedService], *, clock: Clock) -> None:
        self._service, self._clock = service, clock

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One Invoke. The payload is an HTTP API v2 event, or the JSON body itself."""
        is_event = endpoint.payload is Payload.EVENT
        payload = request.body if is_event else self._http_event(endpoint, request)
        answer = self._service(endpoint.region).send(
            "POST",
            f"/2015-03-31/functions/{quote(endpoint.address, safe='')}/invocations",
            headers={"content-type": "application/json", "x-amz-log-type": "Tail"},
            body=payload,
            timeout_s=timeout_ms / 1000,
        )
        if answer.status >= 300:
            raise _invoke_error(answer)
        report = read_report(_log_tail(answer))
        if "x-amz-function-error" in answer.headers:
            return _function_error(answer.body, report)
        read = _event_answer if is_event else _http_answer
        return read(answer.body, report, request.accept)

    def _http_event(self, endpoint: Endpoint, request: InvocationRequest) -> bytes:
        headers = passed_headers(request, self._clock())
        return json.dumps(http_event(endpoint, request, headers), separators=(",", ":")).encode()


def http_event(endpoint: Endpoint, request: InvocationRequest, headers: dict[str, str]) -> dict[str, Any]:
    """The request as an HTTP API event, payload format 2.0. A body that is not ASCII text travels as base64."""
    path = endpoint.path + path_suffix(request) or "/"
    is_text = request.body.isascii() and is_textual(request.content_type)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1"},
            "requestId": request.invocation_id,
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(request.received_at.timestamp() * 1000),
        },
        "body": request.body.decode("ascii") if is_text else base64.b64encode(request.body).decode("ascii"),
        "isBase64Encoded": not is_text,
    }
    if request.query:
        event["queryStringParameters"] = dict(parse_qsl(request.query, keep_blank_values=True))
    return event


def read_report(tail: bytes) -> Report:
    """The REPORT line of a log tail."""
    found = _REPORT.search(tail)
    if found is None:
        return SILENT
    return Report(billed_ms=float(found[1]), memory_mb=int(found[2]), is_cold=b"Init Duration" in found[3])


def _log_tail(answer: HttpAnswer) -> bytes:
    """The log's last 4 KB; empty when it is absent or damaged: it says nothing about the answer itself."""
    try:
        return base64.b64decode(answer.headers.get("x-amz-log-result", ""))
    except ValueError:
        return b""


def _invoke_error(answer: HttpAnswer) -> ProviderError:
    failure = _STATUS_FAILURES.get(answer.status, Failure.PROVIDER_FAULT)
    kind = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    detail = f"status {answer.status}" + (f" {kind}" if _ERROR_KIND.fullmatch(kind) else "")
    return ProviderError(failure, detail, retry_after_s=retry_after_s(answer.headers))


def _event_answer(body: bytes, report: Report, accept: str | None) -> FunctionAnswer:
    answer = HttpAnswer(status=200, headers={"content-type": "application/json"}, body=body)
    return function_answer(answer, report, accept=accept)


def _http_answer(body: bytes, report: Report, accept: str | None) -> FunctionAnswer:
    """A v2 response; any other JSON value stands for a 200 with itself as the body, as API Gateway does."""
    if b"statusCode" not in body:
        return _event_answer(body, report, accept)
    try:
        answer = _v2_answer(json.loads(body))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ProviderError(Failure.BROKEN, f"the answer is not a v2 response: {type(error).__name__}") from error
    return _event_answer(body, report, accept) if answer is None else function_answer(answer, report, accept=accept)


def _v2_answer(document: Any) -> HttpAnswer | None:
    """None when it is no v2 response. Raises what conversions raise when it is a damaged one."""
    if not isinstance(document, dict) or "statusCode" not in document:
        return None
    headers = {str(name).lower(): str(value) for name, value in (document.get("headers") or {}).items()}
    text = str(document.get("body") or "")
    content = base64.b64decode(text, validate=True) if document.get("isBase64Encoded") else text.encode()
    return HttpAnswer(status=int(document["statusCode"]), headers=headers, body=content)


def _function_error(body: bytes, report: Report) -> FunctionAnswer:
    """The function's own error as API Gateway would answer it, with its type and message but without its stack."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    named = document if isinstance(document, dict) else {}
    kind, message = (str(named.get("errorType", "Unhandled")), str(named.get("errorMessage", "")))
    if kind == "Sandbox.Timedout" or "Task timed out after" in message:
        raise ProviderError(Failure.FUNCTION_TIMED_OUT, "Lambda stopped the function at its own time limit")
    content = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return function_answer(HttpAnswer(status=500, headers={"content-type": "application/json"}, body=content), report)
