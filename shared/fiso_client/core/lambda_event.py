"""The event of an HTTP request, as a Lambda function behind an HTTP API or a function URL gets it: payload format 2.0.

Field by field as AWS documents it ("Create AWS Lambda proxy integrations for HTTP APIs", "Invoking Lambda function
URLs"); docs/lambda-event.md shows one.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from fiso_client.core.content import is_textual
from fiso_client.core.failures import Failure, Fault, ProviderError

LARGEST_EVENT = 6 * 1024 * 1024
"""Bytes that an event must stay below ("Request must be smaller than 6291456 bytes for the InvokeFunction
operation")."""
_SURELY_SMALL = 1_000_000
"""A body of fewer bytes fits in any form: JSON makes at most six of one."""
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
"""In English whatever the locale says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """A request for a function. `path` and `query` are percent-encoded, names of `headers` in lower case; `source_ip`,
    `host` and `protocol` the caller's. `function` is the function's ARN or name."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    received_at: datetime
    function: str
    source_ip: str = ""
    host: str = ""
    protocol: str = "HTTP/1.1"


def http_event(request: EventRequest) -> bytes:
    """The event in JSON. `ProviderError` that never ran when it is larger than Lambda takes."""
    path, headers, cookies = _decoded(request.path or "/"), *_headers(request)
    body, is_base64 = _encoded(request)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": _context(request, path),
        "isBase64Encoded": is_base64,
    }
    if cookies:
        event["cookies"] = cookies
    if request.query:
        event["queryStringParameters"] = _parameters(request.query)
    if path != "/":
        event["pathParameters"] = {"proxy": path.lstrip("/")}
    if body:
        event["body"] = body
    return checked(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))


def checked(payload: bytes) -> bytes:
    """What goes to Lambda. `ProviderError` when it does not fit.

    `NOT_STARTED`, since nothing was sent and other clouds take more; `CALLER`, since no copy is to be put out of
    service for it.
    """
    if len(payload) < LARGEST_EVENT:
        return payload
    detail = f"the request's event has {len(payload)} bytes, and Lambda takes fewer than {LARGEST_EVENT}"
    raise ProviderError(Failure.NOT_STARTED, detail, verdict=Fault.CALLER)


def _decoded(path: str) -> str:
    """What an HTTP API decodes of a path, as far as nothing is lost when it is decoded twice, as most frameworks do on
    top: neither `%25` (an HTTP API turns `%2541` into `A` in the end), `%2F`, `%3F` and `%23` nor bytes beyond ASCII,
    which WSGI reads as Latin-1."""
    return _ENCODED.sub(lambda found: _readable(found[0]), path) if "%" in path else path


def _readable(encoded: str) -> str:
    character = chr(int(encoded[1:], 16))
    return encoded if character in "%/?#" or not (character.isascii() and character.isprintable()) else character


def _headers(request: EventRequest) -> tuple[dict[str, str], list[str]]:
    """The headers with what the front door adds, and the cookies, which have a place of their own."""
    headers = dict(request.headers)
    cookies = [pair.strip() for pair in headers.pop("cookie", "").split(";")]
    if request.host:
        headers["host"] = request.host
    if request.body:
        headers["content-length"] = str(len(request.body))
    scheme = headers.setdefault("x-forwarded-proto", "https")
    headers.setdefault("x-forwarded-port", "80" if scheme == "http" else "443")
    if request.source_ip:
        headers.setdefault("x-forwarded-for", request.source_ip)
    return headers, [pair for pair in cookies if pair]


def _context(request: EventRequest, path: str) -> dict[str, Any]:
    at, domain = request.received_at.astimezone(UTC), request.host.partition(":")[0]
    prefix = domain.partition(".")[0]
    arn = request.function.split(":")
    return {
        # of a function URL that anybody may call, this is "anonymous"
        "accountId": arn[4] if len(arn) > 6 else "anonymous",
        "apiId": prefix,
        "domainName": domain,
        "domainPrefix": prefix,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": request.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": f"{at.day:02}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S} +0000",
        "timeEpoch": int(at.timestamp() * 1000),
    }


def _parameters(query: str) -> dict[str, str]:
    """Decoded; the values of a name that is there several times are joined."""
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _encoded(request: EventRequest) -> tuple[str, bool]:
    """The body as the event carries it, and whether in base64: text stays text where that is no longer."""
    body = request.body
    text = _text(body, request.headers)
    if text is not None and (len(body) < _SURELY_SMALL or _json_size(text) <= 4 * ((len(body) + 2) // 3)):
        return text, False
    return base64.b64encode(body).decode("ascii"), bool(body)


def _text(body: bytes, headers: Mapping[str, str]) -> str | None:
    if not is_textual(headers.get("content-type")) or "content-encoding" in headers:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _json_size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())
