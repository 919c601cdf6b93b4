"""Lambda's Invoke API without an SDK: the call, and the ways in which a function answers it. Its event is in
`lambda_event`."""

import base64
import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from fiso_client.core.answers import (
    LONGEST_RUN_MS,
    SILENT,
    FunctionAnswer,
    HttpAnswer,
    Report,
    add_header,
    function_answer,
)
from fiso_client.core.failures import Failure, Fault, ProviderError
from fiso_client.core.invoke_errors import invoke_error
from fiso_client.core.signing import SignedService

_PRELUDE_END = bytes(8)
"""Between head and body of a function that streams its response, when it is called without streaming."""
_STATUS = re.compile(r"[1-9][0-9]{2}")
_BREAKS_LINE = re.compile(r"[\r\n\0]")
_ERROR_TYPE = re.compile(r"[A-Za-z_][\w.]{0,79}", re.ASCII)
_REPORT = re.compile(
    rb"^REPORT RequestId: (\S+)[ \t]+Duration: [\d.]+ ms[ \t]+Billed Duration: (\d{1,9}) ms[ \t]+Memory Size: \d+ MB"
    rb"[ \t]+Max Memory Used: (\d{1,6}) MB([^\n]*)\n?(?:XRAY TraceId: [^\n]*\n?)?\s*\Z",
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


def read_invocation(answer: HttpAnswer, *, is_event: bool, method: str = "POST", sent: bytes = b"") -> FunctionAnswer:
    """What the function answered to an HTTP event, or to its JSON body (`is_event`); `ProviderError` when it did not.

    Its own error is an answer with status 500. One that Lambda stopped has no answer.
    """
    if answer.status != 200:
        raise invoke_error(answer)
    report = read_report(_log_tail(answer), answer.headers.get("x-amzn-requestid", ""))
    if "x-amz-function-error" in answer.headers:
        return _function_error(answer.body, report)
    read = _event_answer if is_event else _http_answer
    given = read(answer.body, report, sent)
    if not given.body or (method != "HEAD" and given.status not in (204, 304)):
        return given
    headers = {"content-length": str(len(given.body)), **given.headers} if method == "HEAD" else given.headers
    return replace(given, headers=headers, body=b"")


def read_report(tail: bytes, request_id: str) -> Report:
    """The platform's report of an invocation in a log tail, as text or as JSON: what the log ends with, under this id.

    A function may print what looks like one, even with its own id; the platform writes after the function has ended.
    So nothing but the line's own second half (a trace's, XRAY) may follow. A start is an initialisation or, with
    SnapStart, a restore; the billed time holds both.
    """
    found = _REPORT.search(tail)
    if found is None:
        return _json_report(tail, request_id)
    if found[1] != request_id.encode() or float(found[2]) > LONGEST_RUN_MS:
        return SILENT
    is_cold = b"Init Duration" in found[4] or b"Restore Duration" in found[4]
    return Report(billed_ms=float(found[2]), memory_mb=int(found[3]), is_cold=is_cold)


def _json_report(tail: bytes, request_id: str) -> Report:
    """The record `platform.report` (docs.aws.amazon.com/lambda, "Telemetry API Event schema reference")."""
    last = tail.rstrip().rpartition(b"\n")[2]
    if b'"platform.report"' not in last:
        return SILENT
    try:
        event = json.loads(last)
        record = event["record"]
        metrics = record["metrics"]
        if event["type"] != "platform.report" or record["requestId"] != request_id:
            return SILENT
        billed_ms, memory_mb = metrics.get("billedDurationMs"), metrics.get("maxMemoryUsedMB")
        is_cold = "initDurationMs" in metrics or "restoreDurationMs" in metrics
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return SILENT
    if type(billed_ms) not in (int, float) or not 0 <= billed_ms <= LONGEST_RUN_MS:
        return SILENT
    return Report(
        billed_ms=float(billed_ms),
        memory_mb=memory_mb if type(memory_mb) is int and memory_mb >= 0 else None,
        is_cold=is_cold,
    )


def _log_tail(answer: HttpAnswer) -> bytes:
    """The log's last 4 KB; empty when it is absent or damaged: it says nothing about the answer itself."""
    try:
        return base64.b64decode(answer.headers.get("x-amz-log-result", ""))
    except ValueError:
        return b""


def _event_answer(body: bytes, report: Report, sent: bytes) -> FunctionAnswer:
    answer = HttpAnswer(status=200, headers={"content-type": "application/json"}, body=body)
    return function_answer(answer, report, sent=sent)


def _http_answer(body: bytes, report: Report, sent: bytes) -> FunctionAnswer:
    """A v2 response; any other JSON value stands for a 200 with itself as the body, as API Gateway does. A text is then
    the text itself."""
    head, is_streamed, streamed = body.partition(_PRELUDE_END)
    if b"statusCode" not in head and not head.startswith(b'"'):
        return _event_answer(body, report, sent)
    try:
        document = json.loads(head)
        if isinstance(document, str):
            plain = function_answer(HttpAnswer(status=200, headers={}, body=document.encode()), report)
            return replace(plain, headers={"content-type": "application/json"})  # as API Gateway says of it
        answer = _v2_answer(document)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _Malformed) else f"not JSON ({type(error).__name__})"
        raise _malformed(why) from error
    if answer is None:
        return _event_answer(body, report, sent)
    return function_answer(replace(answer, body=streamed) if is_streamed else answer, report, sent=sent)


class _Malformed(ValueError):
    """What is wrong with a response, in words that repeat nothing of it."""


def _malformed(why: str) -> ProviderError:
    """As API Gateway, which answers 502 to it: the function ran, and its answer cannot be read."""
    return ProviderError(Failure.BROKEN, f"the answer is not a v2 response: {why}", status=200, verdict=Fault.FUNCTION)


def _v2_answer(document: Any) -> HttpAnswer | None:
    """None when it is no v2 response; `_Malformed` when it is a damaged one. `multiValueHeaders` belong to format 1.0,
    whose functions write them all the same: they are read beside `headers`."""
    if not isinstance(document, dict) or "statusCode" not in document:
        return None
    headers, own = _v2_headers(document.get("headers"), document.get("multiValueHeaders"))
    cookies = _v2_cookies(document.get("cookies"))
    return HttpAnswer(
        status=_v2_status(document["statusCode"]),
        headers=headers,
        cookies=(*(each for each in own if each not in cookies), *cookies),
        body=_v2_body(document.get("body"), document.get("isBase64Encoded")),
    )


def _v2_status(given: object) -> int:
    if isinstance(given, str) and _STATUS.fullmatch(given):
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or not 200 <= given <= 599:
        raise _Malformed("its statusCode is no status")
    return given


def _v2_cookies(given: object) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise _Malformed("its cookies are no list of texts")
    return [_v2_value(each) for each in given]


def _v2_headers(given: object, several: object) -> tuple[dict[str, str], list[str]]:
    """The headers, and the values of `set-cookie` among them."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for written, value in _v2_lines(given, several):
        # serverless-wsgi, like others before format 2.0, writes a name in several spellings to have it several times
        name, text = written.lower(), _v2_value(value)
        if name != "set-cookie":
            add_header(headers, name, text)
        elif text not in cookies:
            cookies.append(text)
    return headers, cookies


def _v2_lines(given: object, several: object) -> list[tuple[str, object]]:
    for each in (given, several):
        if each is not None and not isinstance(each, dict):
            raise _Malformed("its headers are no object")
    single: dict[str, object] = given if isinstance(given, dict) else {}
    lists: dict[str, object] = several if isinstance(several, dict) else {}
    lines = list(single.items())
    for name, values in lists.items():
        if not isinstance(values, list):
            raise _Malformed("a header of several values is no list")
        lines += [(name, value) for value in values if single.get(name) != value]
    return lines


def _v2_value(value: object) -> str:
    """A header's value: text, or a number or truth as JSON spells it."""
    if isinstance(value, str):
        if _BREAKS_LINE.search(value):
            raise _Malformed("a header holds a line break")
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise _Malformed(f"a header is {'null' if value is None else 'a list or an object'}")


def _v2_body(given: object, is_base64: object) -> bytes:
    if given is None:
        return b""
    if not isinstance(given, str):
        raise _Malformed("its body is no text")
    if is_base64 is not None and not isinstance(is_base64, bool):
        raise _Malformed("its isBase64Encoded is neither true nor false")
    try:
        return base64.b64decode(given, validate=True) if is_base64 else given.encode()
    except UnicodeEncodeError as error:
        raise _Malformed("its body holds a lone surrogate") from error
    except ValueError as error:
        raise _Malformed("its body is not base64, and it says so") from error


def _function_error(body: bytes, report: Report) -> FunctionAnswer:
    """The function's own error as API Gateway would answer it, with its type and message but without its stack.

    `ProviderError` where Lambda ended it, or could not take its answer: it ran.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    named = document if isinstance(document, dict) else {}
    kind, message = (str(named.get("errorType", "Unhandled")), str(named.get("errorMessage", "")))
    if kind == "Sandbox.Timedout" or "Task timed out after" in message:
        raise ProviderError(Failure.FUNCTION_TIMED_OUT, "Lambda stopped the function at its own time limit")
    if kind == "Function.ResponseSizeTooLarge":
        raise ProviderError(
            Failure.BROKEN,
            "Function.ResponseSizeTooLarge: the function's answer is larger than Lambda returns (6 MB): let it answer "
            "with a pre-signed URL",
            status=200,
            verdict=Fault.FUNCTION,
        )
    content = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    answer = HttpAnswer(status=500, headers={"content-type": "application/json"}, body=content)
    error_type = kind if _ERROR_TYPE.fullmatch(kind) else "Unhandled"
    return replace(function_answer(answer, report), is_unhandled=True, error_type=error_type)
