"""Requests: an HTTP API event (payload 2.0) as an `InvocationRequest`. What is hostile is refused before any work."""

import base64
import json
import re
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import MalformedRequest, PayloadTooLarge, UnsupportedContent
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.services.access import Shown

LARGEST_TEXT = 5 * 1024 * 1024
LARGEST_BINARY = 4 * 1024 * 1024
"""Bytes whose encoded event still fits Lambda's 6 MB on the way to an AWS function (base64 takes a third more)."""
LONGEST_MS = 28_000
SHORTEST_MS = 100
RESERVE_MS = 750
"""Kept of the execution environment's own time for the record (250 ms) and the answer (500 ms)."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+ *(;[ -~]*)?")
_WHOLE = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the path names: a function, and what follows it."""

    function: FunctionName
    suffix: str = ""


def invocation_request(
    event: Mapping[str, Any],
    target: Target,
    *,
    invocation_id: InvocationId,
    tenant: TenantId,
    now: datetime,
    remaining_ms: float,
) -> InvocationRequest:
    """The request in an event. `remaining_ms` is what Lambda still gives this environment."""
    headers = headers_of(event)
    content_type = _content_type(headers)
    body = body_of(event)
    if content_type is not None and _is_json(content_type):
        refuse_bad_json(body)
    timeout_ms = min(_timeout_ms(headers), max(0.0, remaining_ms - RESERVE_MS))
    return InvocationRequest(
        invocation_id=invocation_id,
        function=target.function,
        tenant=tenant,
        received_at=now,
        deadline_at=now + timedelta(milliseconds=timeout_ms),
        body=body,
        content_type=content_type,
        query=str(event.get("rawQueryString") or ""),
        path_suffix=target.suffix,
        traceparent=_matching(headers, "traceparent", _TRACEPARENT, optional=True),
        idempotency_key=_matching(headers, "idempotency-key", _KEY),
        user_region=_matching(headers, "x-fiso-user-region", _REGION),
    )


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """Header names in lower case."""
    return {str(name).lower(): str(value) for name, value in _mapping(event, "headers").items()}


def path_of(event: Mapping[str, Any]) -> str:
    """The decoded path."""
    path = str(event.get("rawPath") or "/")
    return unquote(path) if "%" in path else path


def method_of(event: Mapping[str, Any]) -> str:
    """The HTTP method."""
    return str(_mapping(_mapping(event, "requestContext"), "http").get("method", "")).upper()


def shown_of(event: Mapping[str, Any]) -> Shown:
    """What the event shows of its caller. Other headers, the body and the path name nobody."""
    authorizer = _mapping(_mapping(event, "requestContext"), "authorizer")
    return Shown(authorization=headers_of(event).get("authorization"), iam=authorizer.get("iam"))


def _mapping(around: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What stands under a name when it is an object, else nothing: whoever may invoke may send any event."""
    value = around.get(name)
    return value if isinstance(value, Mapping) else {}


def body_of(event: Mapping[str, Any]) -> bytes:
    """The body as sent. Its size is checked before it is decoded."""
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise MalformedRequest("the event's body is not text")
    if event.get("isBase64Encoded"):
        if len(body) > LARGEST_BINARY * 4 // 3 + 4:
            raise PayloadTooLarge(f"a binary body may have at most {LARGEST_BINARY} bytes")
        try:
            return base64.b64decode(body, validate=True)
        except NotBase64 as error:
            raise MalformedRequest("the event's body is not base64") from error
    if len(body) > LARGEST_TEXT:
        raise PayloadTooLarge(f"a text body may have at most {LARGEST_TEXT} bytes")
    try:
        raw = body.encode()
    except UnicodeEncodeError as error:
        raise MalformedRequest("the body holds a lone surrogate, which is not text") from error
    if len(raw) > LARGEST_TEXT or (len(raw) > LARGEST_BINARY and not raw.isascii()):
        raise PayloadTooLarge(f"the body has {len(raw)} bytes")
    return raw


def refuse_bad_json(body: bytes) -> None:
    """Refuse what calls itself JSON and is not: syntax, NaN and Infinity, too deep, not UTF-8, lone surrogates."""
    if not body:
        return
    try:
        text = body.decode("utf-8")
        document = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise MalformedRequest("the JSON body holds a lone surrogate, which is not text") from error
    except UnicodeDecodeError as error:
        raise MalformedRequest("the JSON body is not UTF-8") from error
    except RecursionError as error:
        raise MalformedRequest("the JSON body is nested too deeply") from error
    except ValueError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _content_type(headers: Mapping[str, str]) -> str | None:
    content_type = headers.get("content-type")
    if content_type is None:
        return None
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise UnsupportedContent(f"content type {content_type[:80]!r} is not a media type")
    if content_type.lower().startswith(("multipart/x-mixed-replace", "text/event-stream")):
        raise UnsupportedContent("streaming bodies are not routed")
    return content_type


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _timeout_ms(headers: Mapping[str, str]) -> float:
    text = headers.get("x-fiso-timeout-ms")
    if text is None:
        return LONGEST_MS
    if not _WHOLE.fullmatch(text) or not SHORTEST_MS <= int(text) <= LONGEST_MS:
        raise MalformedRequest(f"x-fiso-timeout-ms must be a whole number from {SHORTEST_MS} to {LONGEST_MS}")
    return float(text)


def _matching(headers: Mapping[str, str], name: str, pattern: re.Pattern[str], *, optional: bool = False) -> str | None:
    """The header when it has the form; an optional one of another form counts as absent."""
    value = headers.get(name)
    if value is None or pattern.fullmatch(value):
        return value
    if optional:
        return None
    raise MalformedRequest(f"header {name} does not have the form {pattern.pattern}")
