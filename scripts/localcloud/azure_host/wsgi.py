"""The WSGI application that gunicorn serves: HTTP to `HttpRequest`, `HttpResponse` to HTTP, errors as answers."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import azure.functions as func

from localcloud.azure_host import application
from localcloud.azure_host.application import FunctionApp, Invoker, load
from localcloud.azure_host.authentication import Asked
from localcloud.azure_host.telemetry import Requests
from localcloud.doors import Door, GuardedWsgi

log = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
BODILESS = frozenset({204, 304})


class HostApplication:
    """One function app over WSGI."""

    def __init__(self, app: FunctionApp) -> None:
        self._app = app
        self._invoker = Invoker(app)
        self._requests = Requests(os.environ)
        self._routes = application.in_order(app.routes)
        self._prefix = f"/{app.prefix}" if app.prefix else ""
        self._asked = Asked.from_environ(os.environ)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path, method = _raw_path(environ), str(environ["REQUEST_METHOD"])
        if path == "/healthz":
            body = json.dumps({"status": "ok", "functions": sorted(self._app.functions)}).encode()
            return _send(start_response, 200, {"content-type": "application/json"}, body)
        if self._asked and not self._asked.takes(environ.get("HTTP_AUTHORIZATION", "")):
            return _send(start_response, 401, {"www-authenticate": "Bearer"})
        if not path.lower().startswith(self._prefix.lower() + "/"):
            return _send(start_response, 404)
        match = application.find(self._routes, method, path[len(self._prefix) :])
        if match.function is None:
            allow = {"allow": ", ".join(sorted(match.allowed))} if match.allowed else {}
            return _send(start_response, 405 if match.allowed else 404, allow)
        return self._invoke(match.function, _request(environ, match.parameters or {}), start_response)

    def _invoke(self, name: str, request: func.HttpRequest, start_response: StartResponse) -> Iterable[bytes]:
        began = time.monotonic()
        try:
            response = self._invoker.invoke(name, request)
        except Exception:  # the host's outer boundary: a function's own error is a 500 without a body
            log.exception("function %s failed", name)
            self._requests.tell(name, request.url, 500, time.monotonic() - began)
            return _send(start_response, 500)
        self._requests.tell(name, request.url, response.status_code, time.monotonic() - began)
        headers = [(str(k), str(v)) for k, v in response.headers.items()]
        if "content-type" not in {k.lower() for k, _ in headers}:
            charset = f"; charset={response.charset}" if response.mimetype.startswith("text/") else ""
            headers.append(("content-type", f"{response.mimetype}{charset}"))
        return _send(start_response, response.status_code, headers, response.get_body())


def build(directory: str, paths: Sequence[str], port: int, behind: Sequence[int] = ()) -> GuardedWsgi:
    """What gunicorn's worker calls once."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    application = HostApplication(load(Path(directory), [Path(path) for path in paths]))
    return GuardedWsgi(application=application, port=port, door=Door.FUNCTION, behind=frozenset(behind))


def _raw_path(environ: Environ) -> str:
    """The path as it was sent, so that an encoded slash stays inside its segment."""
    raw = str(environ.get("RAW_URI", "")).split("?")[0]
    return raw if raw.startswith("/") else quote(str(environ.get("PATH_INFO", "/")), encoding="latin-1")


def _request(environ: Environ, parameters: Mapping[str, str]) -> func.HttpRequest:
    query: dict[str, str] = {}
    for name, value in parse_qsl(str(environ.get("QUERY_STRING", "")), keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    return func.HttpRequest(
        method=str(environ["REQUEST_METHOD"]),
        url=f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{environ.get('RAW_URI', '')}",
        headers=_headers(environ),
        params=query,
        route_params=parameters,
        body=environ["wsgi.input"].read(),
    )


def _headers(environ: Environ) -> dict[str, str]:
    named = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
    named |= {key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)}
    return {name.replace("_", "-").lower(): str(value) for name, value in named.items()}


def _send(
    start_response: StartResponse,
    status: int,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> Iterable[bytes]:
    listed = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    if status in BODILESS:
        listed, body = [(k, v) for k, v in listed if k.lower() not in {"content-type", "content-length"}], b""
    elif not any(k.lower() == "content-length" for k, _ in listed):
        listed.append(("content-length", str(len(body))))
    start_response(f"{status} {_phrase(status)}", listed)
    return [body]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
