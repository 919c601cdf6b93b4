"""Lambda's Invoke API without an SDK: the event that a function gets, and the ways in which it answers."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from fiso_client.core.answers import (
    SILENT,
    FunctionAnswer,
    HttpAnswer,
    Report,
    function_answer,
)
from fiso_client.core.content import is_textual
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.invoke_errors import invoke_error
from fiso_client.core.signing import SignedService

_REPORT = re.compile(
    rb"^REPORT RequestId: (\S+)\s+Duration: [\d.]+ ms\s+Billed Duration: (\d+) ms\s+Memory Size: \d+ MB"
    rb"\s+Max Memory Used: (\d+) MB([^\n]*)",
    re.MULTILINE,
)


def invoke(service: SignedService, function: str, payload: bytes, *, timeout_s: float, may_repeat: bool) -> HttpAnswer:
    """One synchronous Invoke of a function's ARN or name, the end of its log included. `read_invocation` reads it.

    Sent again where `may_repeat` and a kept connection was dropped before any answer.
    """
    return service.send(
        "POST",
        f"/2015-03-31/functions/{quote(function, safe='')}/invocations",
        headers={"content-type": "application/json", "x-amz-log-type": "Tail"},
        body=payload,
        timeout_s=timeout_s,
        may_repeat=may_repeat,
    )


def http_event(
    path: str, query: str, headers: Mapping[str, str], body: bytes, *, request_id: str, received_at: datetime
) -> bytes:
    """A request as an HTTP API event, payload format 2.0, in JSON. Header names are lower case.

    A body that is not ASCII text by its content type travels as base64.
    """
    is_text = body.isascii() and is_textual(headers.get("content-type"))
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path or "/",
        "rawQueryString": query,
        "headers": dict(headers),
        "requestContext": {
            "http": {"method": "POST", "path": path or "/", "protocol": "HTTP/1.1"},
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(received_at.timestamp() * 1000),
        },
        "body": body.decode("ascii") if is_text else base64.b64encode(body).decode("ascii"),
        "isBase64Encoded": not is_text,
    }
    if query:
        event["queryStringParameters"] = dict(parse_qsl(query, keep_blank_values=True))
    return json.dumps(event, separators=(",", ":")).encode()


def read_invocation(answer: HttpAnswer, *, is_event: bool, accept: str | None = None) -> FunctionAnswer:
    """What the function answered to an HTTP event, or to its JSON body (`is_event`); `ProviderError` when it did not.

    Its own error is an answer with status 500. One that Lambda stopped has no answer.
    """
    if answer.status != 200:
        raise invoke_error(answer)
    report = read_report(_log_tail(answer), answer.headers.get("x-amzn-requestid", ""))
    if "x-amz-function-error" in answer.headers:
        return _function_error(answer.body, report)
    read = _event_answer if is_event else _http_answer
    return read(answer.body, report, accept)


def read_report(tail: bytes, request_id: str) -> Report:
    """The platform's REPORT line of an invocation in a log tail: the last one under its id.

    A function may print what looks like one, even with its own id; the platform writes after the function has ended.
    """
    found = [line for line in _REPORT.finditer(tail) if line[1] == request_id.encode()]
    if not found:
        return SILENT
    return Report(billed_ms=float(found[-1][2]), memory_mb=int(found[-1][3]), is_cold=b"Init Duration" in found[-1][4])


def _log_tail(answer: HttpAnswer) -> bytes:
    """The log's last 4 KB; empty when it is absent or damaged: it says nothing about the answer itself."""
    try:
        return base64.b64decode(answer.headers.get("x-amz-log-result", ""))
    except ValueError:
        return b""


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
