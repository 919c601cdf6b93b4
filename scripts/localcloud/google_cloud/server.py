"""Server: Google's hosts on one loopback port. Each request is held against the vendor's own description, and so is
each answer: what is wrong with a request is 400, what is wrong with an answer is a fault of this server's, 500.
"""

import json
import logging
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from localcloud.google_cloud import (
    builds,
    databases,
    federation,
    identity,
    identity_pool,
    monitoring,
    prediction,
    projects,
    services,
    storage,
    training,
)
from localcloud.google_cloud.discovery import Found, Invalid, load, service
from localcloud.google_cloud.handlers import HANDLERS, PERMISSIONS, Call
from localcloud.google_cloud.world import Document, Refused, World, error_info
from localcloud.loopback import LoopbackHandler, LoopbackServer

log = logging.getLogger(__name__)
MOST_BYTES = 256 * 1024 * 1024
KNOWN = (
    builds,
    databases,
    federation,
    identity,
    identity_pool,
    monitoring,
    projects,
    prediction,
    services,
    storage,
    training,
)
"""The modules whose handlers are served."""


class Dropped(Exception):
    """The connection ends without an answer."""


def answer(
    world: World, verb: str, target: str, headers: Any, content: bytes
) -> tuple[int, Document | bytes, dict[str, str]]:
    """Status, body and headers of what a request comes to. Raises `Dropped`."""
    split = urlsplit(target)
    _, host, path = split.path.split("/", 2) if split.path.count("/") > 1 else ("", "", "")
    api = load(host, path.partition("/")[0])
    found = api.find(verb, f"/{path}") if api else None
    try:
        if api is None or found is None:
            raise Refused(404, "NOT_FOUND", f"{verb} {split.path}: no such method")
        query = {name: ",".join(values) for name, values in parse_qs(split.query, keep_blank_values=True).items()}
        body, media = _body(found, headers, content)
        api.check_query(found.method, query)
        api.check(None if found.is_upload and not body else found.method.request, body, is_request=True)
        bearer = str(headers.get("authorization", "")).removeprefix("Bearer ")
        document = _carry_out(world, host, found, query, body, media, bearer)
    except Invalid as invalid:
        refused = Refused(400, "INVALID_ARGUMENT", str(invalid))
        return refused.code, refused.document, refused.headers
    except Refused as refused:
        return refused.code, refused.document, refused.headers
    if query.get("alt") == "media":
        return 200, world.objects[f"object/{found.path['bucket']}/{found.path['object']}"], {}
    if found.method.response:
        api.check(found.method.response, document, is_request=False)
    return (200 if found.method.response else 204), document, {}


def _carry_out(
    world: World, host: str, found: Found, query: dict[str, str], body: Document, media: bytes, bearer: str
) -> Document:
    method = found.method.id
    if method not in HANDLERS:
        raise Refused(501, "UNIMPLEMENTED", f"{method} is Google's, but is not known here")
    with world.lock:
        world.tick()
        fault = world.fault(method)
        call = Call(world=world, path=found.path, query=query, body=body, content=media, fault=fault, bearer=bearer)
        if fault and fault.dropped and not fault.after:
            raise Dropped
        if fault and fault.refused and not fault.after:
            raise fault.refused
        _admit(call, service(host), method)
        document = HANDLERS[method](call)
        if fault and fault.after and fault.dropped:
            raise Dropped
        if fault and fault.after and fault.refused:
            raise fault.refused
        return json.loads(json.dumps(document))  # type: ignore[no-any-return]


def _admit(call: Call, host: str, method: str) -> None:
    """403 where the API is not enabled or the caller lacks a permission, as Google says it."""
    permission = PERMISSIONS.get(method)
    if permission and permission in call.world.denied:
        text = f"Permission '{permission}' denied on resource (or it may not exist)."
        details = [error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", permission=permission)]
        raise Refused(403, "PERMISSION_DENIED", text, details)
    if (
        host in projects.ALWAYS
        or method.endswith("operations.get")
        or host in {"logging.googleapis.com", "storage.googleapis.com"}
    ):
        return
    project = call.project
    is_new = call.world.requests < call.world.enabled_at + call.world.lag
    if is_new or host not in call.world.enabled.get(project, set()):
        text = f"{host} has not been used in project {call.world.projects[project]} before or it is disabled."
        raise Refused(403, "PERMISSION_DENIED", text, [error_info("SERVICE_DISABLED", service=host)])


def _body(found: Found, headers: Any, content: bytes) -> tuple[Document, bytes]:
    """The document, and what is uploaded beside it: alone (`media`), or as the second of two parts (`multipart`)."""
    if found.is_upload:
        kind = headers.get("content-type", "")
        if not kind.startswith("multipart/related"):
            return {}, content
        return _parts(kind, content)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(content.decode("latin-1"))  # RFC 8693, beside the JSON that the description has
        return {re.sub("_(.)", lambda at: at[1].upper(), name): values[0] for name, values in form.items()}, b""
    try:
        document = json.loads(content) if content else {}
    except ValueError as error:
        raise Invalid("Invalid JSON payload received.") from error
    if not isinstance(document, dict):
        raise Invalid("Invalid JSON payload received: not an object")
    return document, b""


def _parts(kind: str, content: bytes) -> tuple[Document, bytes]:
    """The two parts of `multipart/related`, byte by byte: what is uploaded is not text."""
    boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
    parts = content.split(boundary)
    if len(parts) != 4:
        raise Invalid("Malformed multipart body.")
    first, second = (re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1] for part in parts[1:3])
    return json.loads(first), re.sub(rb"\r?\n\Z", b"", second)


class _Handler(LoopbackHandler):
    """One connection. Bearer tokens are asked for, and not looked into: who is signed in is the test's business."""

    server: "GoogleCloud"

    def _serve(self) -> None:
        content = self.content(MOST_BYTES)
        body: Document | bytes
        headers: dict[str, str] = {}
        try:
            why = self.refused()
            if why is not None:
                status, body = 403, Refused(403, "PERMISSION_DENIED", why).document
                self.close_connection = True
            elif self.path == "/healthz":
                status, body = 200, {"status": "ok"}
            elif self.path != federation.EXCHANGE and not self.headers.get("authorization", "").startswith("Bearer "):
                refused = Refused(401, "UNAUTHENTICATED", "Request is missing required authentication credential.")
                status, body = refused.code, refused.document
            else:
                status, body, headers = answer(self.server.world, self.command, self.path, self.headers, content)
        except Dropped:
            self.close_connection = True
            return
        except Exception:
            log.exception("%s %s", self.command, self.path)
            refused = Refused(500, "INTERNAL", "Internal error encountered.")
            status, body = refused.code, refused.document
        self._send(status, body, headers)

    def _send(self, status: int, body: Document | bytes, headers: dict[str, str]) -> None:
        is_bytes = isinstance(body, bytes)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode() if status != 204 else b""
        kind = "application/octet-stream" if is_bytes else "application/json; charset=UTF-8"
        self.send(status, sent, kind, headers)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Each request is in the caller's own progress."""
        log.debug(format, *args)


class GoogleCloud(LoopbackServer):
    """Google's hosts of a world."""

    def __init__(self, world: World, port: int = 0) -> None:
        super().__init__(_Handler, port)
        self.world = world
