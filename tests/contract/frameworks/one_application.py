"""One small web application: what it answers to what it sees. Each framework brings its own routing to it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl

ALL_BYTES = bytes(range(256))
SHOWN = ("accept-language", "authorization", "content-type", "user-agent", "x-custom", "x-twice")
"""Request headers that `/headers` shows."""
ROUTES: Mapping[str, tuple[str, ...]] = {
    "/items": ("POST", "OPTIONS"),
    "/items/{item}": ("GET", "HEAD", "PUT", "PATCH", "DELETE"),
    "/search": ("GET",),
    "/cookies": ("GET", "POST"),
    "/headers": ("GET", "POST"),
    "/binary": ("GET", "POST"),
    "/text": ("POST",),
    "/form": ("POST",),
    "/away": ("GET",),
    "/status/{code}": ("GET", "POST", "PUT", "DELETE"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a framework shows of a request: `route` and its parameters, decoded; names of headers in lower case."""

    route: str
    method: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the application answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()
    body: bytes = b""


def cookies_in(header: str) -> dict[str, str]:
    """For shells without a parser of their own."""
    return {name: morsel.value for name, morsel in SimpleCookie(header).items()}


def query_in(query: str) -> list[tuple[str, str]]:
    """For shells that do not show repeated parameters."""
    return parse_qsl(query, keep_blank_values=True)


def respond(seen: Seen) -> Said:
    """The application."""
    match seen.route:
        case "/items" | "/items/{item}":
            return _items(seen)
        case "/search":
            return _json({"query": list(map(list, seen.query))}, etag='"a-1"')
        case "/cookies":
            pages = ("session=abc; Path=/; HttpOnly; SameSite=None; Secure", "theme=dark; Max-Age=60")
            return _json({"cookies": dict(sorted(seen.cookies.items()))}, cookies=pages)
        case "/headers":
            return _json({name: seen.headers.get(name) for name in SHOWN}, x_custom="a, b")
        case "/binary":
            kept = {"content-type": "application/octet-stream", "content-disposition": 'attachment; filename="b.bin"'}
            return Said(headers=kept, body=ALL_BYTES + seen.body)
        case "/text":
            text = seen.body.decode().swapcase()
            return Said(headers={"content-type": "text/plain; charset=utf-8"}, body=text.encode())
        case "/form":
            return _json({"form": list(map(list, query_in(seen.body.decode())))})
        case "/away":
            return Said(status=302, headers={"content-type": "text/plain", "location": "/items/1?a=b"}, body=b"there")
        case _:
            return _status(seen)


def _items(seen: Seen) -> Said:
    match seen.method:
        case "POST":
            return _json({"made": json.loads(seen.body)}, status=201, location="/items/2")
        case "OPTIONS":
            return Said(status=204, headers={"allow": "OPTIONS, POST"})
        case "DELETE":
            return Said(status=204, headers={"x-deleted": "yes"})
        case "PUT" | "PATCH":
            kept = {name: seen.headers[name] for name in ("content-type", "content-encoding") if name in seen.headers}
            kept = {f"x-kept-{name}": value for name, value in kept.items()}
            return Said(
                headers={"content-type": "application/octet-stream", **kept},
                body=seen.method.encode() + b" " + seen.body,
            )
        case _:
            return _json({"item": seen.parameters["item"]}, last_modified="Sun, 06 Nov 1994 08:49:37 GMT")


def _status(seen: Seen) -> Said:
    status = int(seen.parameters["code"])
    own = {"retry-after": "7"} if status in (429, 503) else {}
    own |= {"www-authenticate": 'Basic realm="own"'} if status == 401 else {}
    return Said(status=status, headers={"content-type": "application/problem+json", **own}, body=b'{"own": true}')


def _json(document: object, *, status: int = 200, cookies: Sequence[str] = (), **headers: str) -> Said:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(document, ensure_ascii=False).encode()
    return Said(status=status, headers={"content-type": "application/json", **named}, cookies=cookies, body=body)
