"""FISO as a WSGI application: a request as the event that API Gateway would make of it, the answer as WSGI has it.

One edge, two doors: what a request may be, who its caller is and what becomes of it is the orchestrator's handler's
matter. A handler's application answers one request at a time, as on Lambda; here a request borrows one from
`Environments`. docs/decisions/0033-fiso-serve.md
"""

import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from typing import Any, TypeAlias
from urllib.parse import unquote
from uuid import uuid4

from fiso.domain.request import InvocationId
from functions.orchestrator.handler import answer_event, failed
from functions.orchestrator.http_answer import Response, problem
from functions.orchestrator.http_request import LARGEST_TEXT
from functions.orchestrator.wiring import App

Environ: TypeAlias = Mapping[str, Any]
StartResponse: TypeAlias = Callable[..., object]
WsgiApplication: TypeAlias = Callable[[Any, Any], Iterable[bytes]]

LONGEST_REQUEST_MS = 29_000
"""What a request may take, as API Gateway lets it."""
OF_THE_CONSOLE = ("/console", "/api")

logger = logging.getLogger("fiso.server")


class _Patience:
    """In the place of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        return LONGEST_REQUEST_MS


@dataclass(slots=True)
class Environments:
    """Applications, each of which answers one request at a time; `compose` makes another one. The one that answered
    last answers next, so that what few requests know is known to all of them."""

    compose: Callable[[], App]
    idle: list[App] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def borrowed(self) -> Iterator[App]:
        with self.lock:
            app = self.idle.pop() if self.idle else None
        app = app or self.compose()
        try:
            yield app
        finally:
            with self.lock:
                self.idle.append(app)

    def rest(self) -> None:
        """Let go of threads and connections."""
        for app in self.idle:
            app.rest()


@dataclass(slots=True, kw_only=True)
class Application:
    """The WSGI application. `console` answers below /console and /api; without it those are no paths. `is_draining`
    says whether no more requests are wanted: it is not ready then."""

    environments: Environments
    console: WsgiApplication | None = None
    is_draining: Callable[[], bool] = lambda: False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        event = event_of(environ)
        if self.console is not None and _is_below(event["rawPath"], OF_THE_CONSOLE):
            return self.console(dict(environ), start_response)
        response = self._answer(event)
        body = _body_of(response)
        start_response(_status_line(response["statusCode"]), _headers_of(response, body))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, event: dict[str, Any]) -> Response:
        id = InvocationId(str(uuid4()))
        if event["rawPath"] == "/readyz":
            if self.is_draining():
                return problem(503, "Not ready", "it is ending, and takes no more requests", id)
            event |= {"rawPath": "/healthz", "rawQueryString": "ready=1"}
        try:
            with self.environments.borrowed() as app:
                return answer_event(app, event, _Patience(), id=id)
        except Exception:
            logger.exception("unexpected error", extra={"invocation_id": id})
            return failed(id)


def event_of(environ: Environ) -> dict[str, Any]:
    """The request as an HTTP API event (payload 2.0): the path decoded once, the body as text where it is UTF-8. Whom
    a gateway has verified stands in no header, so there is no authorizer: callers show tokens."""
    path, query = _target(environ)
    method = environ["REQUEST_METHOD"]
    body = _read(environ)
    try:
        text, is_base64 = body.decode(), False
    except UnicodeDecodeError:
        text, is_base64 = b64encode(body).decode("ascii"), True
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(_headers(environ)),
        "requestContext": {
            "http": {
                "method": method,
                "path": path,
                "protocol": environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
                "sourceIp": environ.get("REMOTE_ADDR", ""),
            },
            "stage": "$default",
        },
        "body": text,
        "isBase64Encoded": is_base64,
    }


def _target(environ: Environ) -> tuple[str, str]:
    """Path and query. Of the request line where the server hands that on: PATH_INFO has lost what came before it."""
    given = str(environ.get("REQUEST_URI") or environ.get("RAW_URI") or "")
    if not given.startswith("/"):
        return _text(str(environ.get("PATH_INFO") or "/")), _text(str(environ.get("QUERY_STRING", "")))
    path, _, query = given.partition("?")
    return unquote(_text(path), errors="surrogateescape"), _text(query)


def _text(latin: str) -> str:
    """What WSGI decoded byte by byte as the UTF-8 that it is; what is none is refused as any lone surrogate is."""
    return latin if latin.isascii() else latin.encode("latin-1").decode("utf-8", "surrogateescape")


def _headers(environ: Environ) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name.startswith("HTTP_") and name not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            yield name[5:].replace("_", "-").lower(), str(value)
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            yield name.replace("_", "-").lower(), str(environ[name])


def _read(environ: Environ) -> bytes:
    """The body, and no more of it than one byte too many."""
    if environ.get("wsgi.input_terminated"):
        length = LARGEST_TEXT + 1
    else:
        given = str(environ.get("CONTENT_LENGTH") or "0")
        length = min(int(given), LARGEST_TEXT + 1) if given.isdecimal() else 0
    body: bytes = environ["wsgi.input"].read(length)
    return body


def _is_below(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _body_of(response: Response) -> bytes:
    text: str = response.get("body") or ""
    return b64decode(text) if response.get("isBase64Encoded") else text.encode()


def _headers_of(response: Response, body: bytes) -> list[tuple[str, str]]:
    """With the length of the body; the length that an answer to HEAD names is that of another one."""
    headers = [(name, str(value)) for name, value in response["headers"].items()]
    headers += [("set-cookie", cookie) for cookie in response.get("cookies", ())]
    if "content-length" not in response["headers"] and response["statusCode"] not in (204, 304):
        headers.append(("content-length", str(len(body))))
    return headers


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"
