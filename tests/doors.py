"""The doors through which the same tests go: API Gateway's event, and HTTP as a WSGI server hands it on.

A test of both names the fixture: `pytestmark = pytest.mark.usefixtures("each_door")`.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest

from fiso.testing.rig import REMAINING_MS, LambdaContext
from functions.orchestrator.wiring import App
from functions.server.wsgi import Application, Environments


def environ_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The request of an event as a WSGI server has it. Skips the test for what stands in an event alone."""
    context, headers = event.get("requestContext") or {}, dict(event.get("headers") or {})
    body = event.get("body") or ""
    query = str(event.get("rawQueryString") or "")
    texts = [body, query, *headers, *headers.values()]
    if context.get("authorizer") or not all(isinstance(each, str) for each in texts) or "_" in "".join(headers):
        pytest.skip("no HTTP request says that")
    http = context.get("http") or {}
    if cookies := event.get("cookies"):
        headers["cookie"] = "; ".join(cookies)
    raw = b64decode(body) if event.get("isBase64Encoded") else body.encode()
    return {
        "REQUEST_METHOD": http.get("method", ""),
        "REQUEST_URI": quote(event.get("rawPath") or "/") + "?" + query.encode().decode("latin-1"),
        "SERVER_PROTOCOL": http.get("protocol", "HTTP/1.1"),
        "REMOTE_ADDR": http.get("sourceIp", ""),
        "CONTENT_LENGTH": str(len(raw)) if raw else "",
        "wsgi.input": BytesIO(raw),
        **{_variable(name): value for name, value in headers.items()},
    }


def by_wsgi(app: App, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """The answer to a request through the WSGI application, in the form that Lambda gives it."""
    if context.get_remaining_time_in_millis() != REMAINING_MS:
        pytest.skip("no Lambda that ends")
    started: list[Any] = []
    application = Application(environments=Environments(compose=lambda: app))
    body = b"".join(application(environ_of(event), lambda status, headers: started.extend((status, headers))))
    status, headers = started
    text: dict[str, Any] = {"body": body.decode(), "isBase64Encoded": False} if _is_text(body) else _binary(body)
    cookies = [value for name, value in headers if name == "set-cookie"]
    lengths = [value for name, value in headers if name == "content-length"]
    own = {name: value for name, value in headers if name != "set-cookie"}
    if not cookies and lengths == [str(len(body))]:
        own.pop("content-length")
    return {
        "statusCode": int(status.split()[0]),
        "headers": own,
        **({"cookies": cookies} if cookies else {}),
        **text,
    }


def _variable(name: str) -> str:
    plain = name.upper().replace("-", "_")
    return plain if plain in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{plain}"


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _binary(body: bytes) -> dict[str, Any]:
    return {"body": b64encode(body).decode(), "isBase64Encoded": True}
