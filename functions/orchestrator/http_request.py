"""Requests: an HTTP API event (payload 2.0) as an `InvocationRequest`. What is hostile is refused before any work."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from fiso.domain import headers as passing
from fiso.domain.access import AuthMode, Claims
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import HeadersTooLarge, MalformedRequest, PayloadTooLarge, UriTooLong
from fiso.domain.request import InvocationId, InvocationRequest, Session
from fiso.domain.steering import Affinity
from fiso.routing import affinity
from fiso.services.identity.access import GATEWAY_WORD, CallerCredentials
from fiso_client.core.content import is_json
from fiso_client.core.grammar import KEY
from functions.orchestrator.http_steering import steering_of

LARGEST_TEXT = 5 * 1024 * 1024
LARGEST_BINARY = 4 * 1024 * 1024
"""Bytes whose encoded event still fits Lambda's 6 MB on the way to an AWS function (base64 takes a third more)."""
LARGEST_PARSED = 1024 * 1024
"""Bytes of JSON that are parsed to be refused early. Parsed, `[{},{},…` takes 25 times its size: five MiB of it would
take half of the environment's memory. A larger body goes to the function as any other content does."""
LONGEST_URI = 3_584
"""Characters of path and query: Azure takes 4 KB, the endpoint's own address included."""
MOST_HEADERS = 200
LARGEST_HEADERS = 64 * 1024
"""Characters of all names and values; API Gateway itself takes 10 KB, a direct invocation has no limit."""
LONGEST_MS = 28_000
SHORTEST_MS = 100
RESERVE_MS = 750
"""Kept of the execution environment's own time for the record (250 ms) and the answer (500 ms)."""
CONSUMED: Mapping[AuthMode, frozenset[str]] = {
    AuthMode.NONE: frozenset(),
    AuthMode.JWT: passing.TOKEN,
    AuthMode.IAM: passing.SIGNATURE,
}
"""The headers by which FISO knows its callers: whoever reads one could call as that caller."""
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_FORMS = {
    "idempotency-key": "1 to 255 visible ASCII characters, without spaces",
    "x-fiso-user-region": "1 to 40 lower-case letters, digits and hyphens",
}
_UNENCODED = "!$&'()*+,;=:@/?-._~%[]"
_QUERY = re.compile(rf"[A-Za-z0-9{re.escape(_UNENCODED)}]*")
_IN_PATH = "!$&'()*+,;=:@/-._~"
_PATH = re.compile(rf"[A-Za-z0-9{re.escape(_IN_PATH)}]*")
_LITERAL_PERCENT = re.compile(r"%(?!25)")
_BETWEEN = re.compile(r"[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WHOLE = re.compile(r"[0-9]{1,6}")
_VISIBLE = re.compile(r"[!-~]*")
_SIGNED_QUERY = re.compile(
    r"(?i)(?:^|&)x-amz-(?:algorithm|credential|date|expires|security-token|signature|signedheaders)=[^&]*"
)
_MOST_ENCODINGS = 5
_URL_DOMAIN = re.compile(r"[a-z0-9]{1,64}\.lambda-url\.[a-z0-9-]{1,32}\.on\.aws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the path names: a function, and what follows it, as API Gateway has decoded it."""

    function: FunctionName
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """For whom a request is made, how the stage knows that, to which headers a policy narrows it, and by what the
    policy knows a session."""

    caller: Claims
    mode: AuthMode = AuthMode.NONE
    only: frozenset[str] = frozenset()
    affinity: Affinity | None = None


def invocation_request(
    event: Mapping[str, Any],
    method: str,
    headers: Mapping[str, str],
    target: Target,
    admitted: Admitted,
    *,
    invocation_id: InvocationId,
    now: datetime,
    remaining_ms: float,
) -> InvocationRequest:
    """The request in an event with this `method_of` and these `headers_of`. `remaining_ms` is what Lambda still gives
    this environment."""
    if flaw := passing.flaw_of(headers):
        raise MalformedRequest(flaw)
    context = _part(event, "requestContext")
    http = _part(context, "http")
    host, source_ip = headers.get("host") or _word(context, "domainName"), _word(http, "sourceIp")
    timeout_ms = min(_timeout_ms(headers), max(0.0, remaining_ms - RESERVE_MS))
    return InvocationRequest(
        invocation_id=invocation_id,
        function=target.function,
        tenant=admitted.caller.tenant,
        received_at=now,
        deadline_at=now + timedelta(milliseconds=timeout_ms),
        body=body_of(event),
        method=method,
        headers=_passed_on(headers, admitted) | _forwarded(headers, host, source_ip) | _identity(admitted.caller),
        query=_query(event, admitted.mode),
        path_suffix=_suffix(target.suffix),
        source_ip=source_ip,
        host=host,
        protocol=_word(http, "protocol") or "HTTP/1.1",
        idempotency_key=_matching(headers, "idempotency-key", KEY),
        user_region=_matching(headers, "x-fiso-user-region", _REGION),
        steering=steering_of(headers),
        session=_session(event, headers, target, admitted.affinity) if admitted.affinity else None,
    )


def _session(event: Mapping[str, Any], headers: Mapping[str, str], target: Target, rules: Affinity) -> Session:
    """By the headers as they came: FISO's own cookie is not passed on."""
    path = path_of(event)
    own = path.removesuffix(target.suffix) if target.suffix else path
    return Session(value=affinity.session_of(rules, headers), path=quote(own, safe="/-._~", errors="replace"))


def _passed_on(headers: Mapping[str, str], admitted: Admitted) -> dict[str, str]:
    return passing.of_request(headers, consumed=CONSUMED[admitted.mode], only=admitted.only)


def _forwarded(headers: Mapping[str, str], host: str, source_ip: str) -> dict[str, str]:
    """Where a request came from. API Gateway has appended the caller's address already; who calls directly has not."""
    way = headers.get("x-forwarded-for", "")
    if source_ip and way.rpartition(",")[2].strip() != source_ip:
        way = f"{way}, {source_ip}" if way else source_ip
    scheme = headers.get("x-forwarded-proto", "")
    found = {"x-forwarded-proto": scheme if scheme in ("http", "https") else "https"}
    if way:
        found["x-forwarded-for"] = way
    if host:
        found["x-forwarded-host"] = host
    return found


def _identity(caller: Claims) -> dict[str, str]:
    """Who calls, as FISO has verified it. A token may name anybody, so what no header can hold is percent-encoded."""
    return {"x-fiso-tenant": _visible(caller.tenant), "x-fiso-caller": _visible(caller.subject)}


def _visible(text: str) -> str:
    if _VISIBLE.fullmatch(text):
        return text
    return quote(text, safe="!#$&'()*+,/:;=?@[]~|", errors="replace")


def event_of(given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise MalformedRequest("the event is not an object")
    return given


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """Header names in lower case, `cookie` from where API Gateway puts cookies, without the gateway's own word.
    `HeadersTooLarge` above MOST_HEADERS or LARGEST_HEADERS."""
    given = _part(event, "headers")
    if len(given) > MOST_HEADERS:
        raise HeadersTooLarge(f"a request may have at most {MOST_HEADERS} headers")
    headers = {str(name).lower(): str(value) for name, value in given.items()}
    headers.pop(GATEWAY_WORD, None)
    if cookies := event.get("cookies"):
        if not isinstance(cookies, list) or not all(isinstance(each, str) for each in cookies):
            raise MalformedRequest("the event's cookies are no list of texts")
        headers["cookie"] = "; ".join(cookies)
    if sum(map(len, headers)) + sum(map(len, headers.values())) > LARGEST_HEADERS:
        raise HeadersTooLarge(f"the headers may have at most {LARGEST_HEADERS} characters")
    return headers


def path_of(event: Mapping[str, Any]) -> str:
    """The path decoded once: by API Gateway, or here where the event is of a function URL, which hands on what it got.
    `UriTooLong` when path and query together are longer than every cloud takes."""
    path = _text(event, "rawPath") or "/"
    if "%" in path and _URL_DOMAIN.fullmatch(_word(_part(event, "requestContext"), "domainName")):
        path = unquote(path)
    if len(path) + len(_text(event, "rawQueryString")) > LONGEST_URI:
        raise UriTooLong(f"path and query may have at most {LONGEST_URI} characters")
    return path


def method_of(event: Mapping[str, Any]) -> str:
    return _text(_part(_part(event, "requestContext"), "http"), "method").upper()


def credentials_of(event: Mapping[str, Any], headers: Callable[[], Mapping[str, str]]) -> CallerCredentials:
    """What the event and its `headers_of` show of its caller, which is nobody where it is ill-formed. Other headers,
    the body and the path name nobody."""
    try:
        authorizer = _part(_part(event, "requestContext"), "authorizer")
        return CallerCredentials(
            authorization=headers().get("authorization"),
            iam=authorizer.get("iam"),
            gateway_word=_part(event, "headers").get(GATEWAY_WORD),
        )
    except (MalformedRequest, HeadersTooLarge):
        return CallerCredentials(authorization=None, iam=None)


def body_of(event: Mapping[str, Any]) -> bytes:
    """The body as sent. Its size is checked before it is decoded."""
    body = _text(event, "body")
    if not isinstance(event.get("isBase64Encoded", False), bool):
        raise MalformedRequest("the event's isBase64Encoded is neither true nor false")
    if event.get("isBase64Encoded"):
        return _decoded(body)
    if len(body) > LARGEST_TEXT:
        raise PayloadTooLarge(f"a text body may have at most {LARGEST_TEXT} bytes")
    try:
        raw = body.encode()
    except UnicodeEncodeError as error:
        raise MalformedRequest("the body holds a lone surrogate, which is not text") from error
    if len(raw) > LARGEST_TEXT or (len(raw) > LARGEST_BINARY and not raw.isascii()):
        raise PayloadTooLarge(f"the body has {len(raw)} bytes")
    return raw


def _decoded(body: str) -> bytes:
    if len(body) > LARGEST_BINARY * 4 // 3 + 4:
        raise PayloadTooLarge(f"a binary body may have at most {LARGEST_BINARY} bytes")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:  # also characters beyond ASCII
        raise MalformedRequest("the event's body is not base64") from error


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    if part is None:
        return {}
    if not isinstance(part, Mapping):
        raise MalformedRequest(f"the event's {name} is not an object")
    return part


def _word(document: Mapping[str, Any], name: str) -> str:
    """A word that goes into a header; empty for what only a direct invocation can have put there."""
    text = _text(document, name)
    return text if _VISIBLE.fullmatch(text) else ""


def _text(document: Mapping[str, Any], name: str) -> str:
    text = document.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise MalformedRequest(f"the event's {name} is not text")
    return text


def refuse_bad_json_of(event: Mapping[str, Any]) -> None:
    """Refuse a request that says JSON and is not. For what FISO itself reads; to a function it goes as it is."""
    if is_json(headers_of(event).get("content-type")):
        refuse_bad_json(body_of(event))


def refuse_bad_json(body: bytes) -> None:
    """Refuse what calls itself JSON and is not: syntax, NaN and Infinity, too deep, not UTF-8, lone surrogates."""
    if not body or len(body) > LARGEST_PARSED:
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


def _query(event: Mapping[str, Any], mode: AuthMode) -> str:
    """The query string with everything percent-encoded that a request line cannot hold, and without a signature that
    was for FISO."""
    query = _text(event, "rawQueryString")
    if mode is AuthMode.IAM and "x-amz-" in query.lower():
        query = _SIGNED_QUERY.sub("", query).lstrip("&")
    if _QUERY.fullmatch(query):
        return query
    try:
        return quote(query, safe=_UNENCODED)
    except UnicodeEncodeError as error:
        raise MalformedRequest("the query holds a lone surrogate, which is not text") from error


def _suffix(suffix: str) -> str:
    """What follows the function in the path, percent-encoded: what stays below the endpoint's own path.

    API Gateway decodes a path once, and reports say of `%25` both that it becomes `%` and that it stays. So `%25` is
    taken for what was sent, and any other `%` for one that was encoded: right under either.
    """
    if _PATH.fullmatch(suffix) and "/." not in suffix:
        return suffix
    if _CONTROL.search(suffix):
        raise MalformedRequest("the path holds control characters")
    _refuse_dots(suffix)
    try:
        return quote(_LITERAL_PERCENT.sub("%25", suffix), safe=f"{_IN_PATH}%")
    except UnicodeEncodeError as error:
        raise MalformedRequest("the path holds a lone surrogate, which is not text") from error


def _refuse_dots(path: str) -> None:
    """Refuse what leaves a path upwards, however often it is encoded, and by whatever some server takes for a slash."""
    for _ in range(_MOST_ENCODINGS):
        segments = {segment.partition(";")[0] for segment in _BETWEEN.split(path)}
        if not {".", ".."}.isdisjoint(segments):
            raise MalformedRequest("the path holds '.' or '..' segments")
        decoded = unquote(path)
        if decoded == path:
            return
        path = decoded
    raise MalformedRequest("the path is percent-encoded too often")


def _timeout_ms(headers: Mapping[str, str]) -> float:
    text = headers.get("x-fiso-timeout-ms")
    if text is None:
        return LONGEST_MS
    if not _WHOLE.fullmatch(text) or not SHORTEST_MS <= int(text) <= LONGEST_MS:
        raise MalformedRequest(f"x-fiso-timeout-ms must be a whole number from {SHORTEST_MS} to {LONGEST_MS}")
    return float(text)


def _matching(headers: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str | None:
    """The header, which must have the form where it is given."""
    value = headers.get(name)
    if value is None or pattern.fullmatch(value):
        return value
    raise MalformedRequest(f"header {name} must be {_FORMS[name]}")
