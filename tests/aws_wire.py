"""A server between a client and the emulator that answers in the emulator's place, in AWS's own wire format.

What it answers is held against the SDK's model of the operation: a member that AWS does not have fails aloud. Requests
that nothing is said of pass to the emulator unchanged. JSON, REST with JSON, and query protocols.
"""

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import aiohttp
import botocore.session
from aiohttp import web
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator

from localcloud.provider_proxy.listener import pass_on, upstream_session

HOST = "127.0.0.1"
_SERVICE = re.compile(r"Credential=[^/]+/\d{8}/[^/]*/([^/]+)/aws4_request")
_MODELS = {"servicequotas": "service-quotas", "monitoring": "cloudwatch", "apigateway": "apigatewayv2"}
"""Services that sign with another name than the SDK calls them by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error of AWS's: its code, and the status it comes with."""

    code: str
    status: int = 400
    message: str = "refused"


@dataclass(slots=True, kw_only=True)
class Wire:
    """`answers` by service and operation (`iam`, `SimulatePrincipalPolicy`): a result or a refusal, or what makes one
    of the request's parameters. `headers` are added to every answer, `pages` are for whoever does not sign."""

    url: str = ""
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    pages: dict[str, Any] = field(default_factory=dict)


@contextmanager
def wired(upstream: str) -> Iterator[Wire]:
    """One such server before the emulator, in a thread of this process."""
    loop, wire = asyncio.new_event_loop(), Wire()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    session, runner = asyncio.run_coroutine_threadsafe(_serve(upstream, wire), loop).result(10)
    wire.url = f"http://{HOST}:{runner.addresses[0][1]}"
    try:
        yield wire
    finally:
        asyncio.run_coroutine_threadsafe(_close(session, runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(upstream: str, wire: Wire) -> tuple[aiohttp.ClientSession, web.AppRunner]:
    session = upstream_session()

    async def answer(request: web.Request) -> web.Response:
        body = await request.content.read()
        operation = operation_of(request, body)
        if operation is not None:
            key = (operation.service_model.service_name, operation.name)
            wire.asked.append(key)
            if key in wire.answers:
                return _said(operation, wire.answers[key], _parameters(request, body), wire.headers)
        elif request.path in wire.pages:
            return web.json_response(wire.pages[request.path])
        passed = await pass_on(request, body, upstream, session)
        if request.method != "HEAD":
            passed.headers.popall("Content-Length", None)
        headers = passed.headers.copy()
        for name, value in wire.headers.items():
            headers[name] = value
        return web.Response(status=passed.status, headers=headers, body=passed.body)

    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    return session, runner


async def _close(session: aiohttp.ClientSession, runner: web.AppRunner) -> None:
    await runner.cleanup()
    await session.close()


def operation_of(request: web.Request, body: bytes) -> OperationModel | None:
    """What an SDK's request asks for; None for what is no such request."""
    found = _SERVICE.search(request.headers.get("authorization", ""))
    if found is None:
        return None
    try:
        model = _model(_MODELS.get(found[1], found[1]))
    except botocore.exceptions.UnknownServiceError:
        return None
    name = _named(request, body) or _by_path(model, request)
    return model.operation_model(name) if name in model.operation_names else None


def _named(request: web.Request, body: bytes) -> str | None:
    if target := request.headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    if request.content_type == "application/x-www-form-urlencoded":
        return parse_qs(body.decode()).get("Action", [None])[0]
    return None


def _by_path(model: ServiceModel, request: web.Request) -> str | None:
    """The operation of such a path that asks for most of the words in the query."""
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, words = operation.http.get("requestUri", "").partition("?")[0], _words(operation)
        is_method = operation.http.get("method") == request.method
        if is_method and words <= set(request.query) and _pattern(path).fullmatch(request.path):
            found.append((len(words), str(name)))
    return max(found)[1] if found else None


def _words(operation: OperationModel) -> set[str]:
    """What must stand in the query of an operation: its path's own, and parameters that are required."""
    of_path = operation.http.get("requestUri", "").partition("?")[2]
    words = {word.partition("=")[0] for word in of_path.split("&") if word}
    shape = operation.input_shape
    for name in shape.required_members if shape is not None else ():
        where = shape.members[name].serialization
        if where.get("location") == "querystring":
            words.add(where.get("name", name))
    return words


@cache
def _pattern(path: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in re.split(r"(\{[^}]+\})", path)[::2]]
    names = re.findall(r"\{[^}]+\}", path)
    anything = [".+" if name.endswith("+}") else "[^/]+" for name in names]
    return re.compile("".join(each for pair in zip(parts, [*anything, ""], strict=True) for each in pair) + "/?")


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _parameters(request: web.Request, body: bytes) -> Mapping[str, Any]:
    if request.content_type == "application/x-www-form-urlencoded":
        return {name: values[0] for name, values in parse_qs(body.decode()).items()}
    try:
        found: Mapping[str, Any] = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found


def _said(
    operation: OperationModel, answer: Any, parameters: Mapping[str, Any], headers: Mapping[str, str]
) -> web.Response:
    answer = answer(parameters) if callable(answer) else answer
    is_query = operation.service_model.protocol == "query"
    if isinstance(answer, Refusal):
        return _refused(answer, is_query=is_query, headers=headers)
    shape = operation.output_shape
    if shape is not None:
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), f"{operation.name}: {report.generate_report()}"
    if not is_query:
        return web.json_response(answer, headers=dict(headers), dumps=lambda each: json.dumps(each, default=_instant))
    inner = _xml(answer, shape) if shape is not None else ""
    wrapper = shape.serialization.get("resultWrapper", f"{operation.name}Result") if shape is not None else ""
    result = f"<{wrapper}>{inner}</{wrapper}>" if wrapper else ""
    meta = "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
    text = f"<{operation.name}Response>{result}{meta}</{operation.name}Response>"
    return web.Response(text=text, content_type="text/xml", headers=dict(headers))


def _refused(refusal: Refusal, *, is_query: bool, headers: Mapping[str, str]) -> web.Response:
    if not is_query:
        document = {"__type": refusal.code, "message": refusal.message}
        named = {**headers, "x-amzn-errortype": refusal.code}
        return web.json_response(document, status=refusal.status, headers=named)
    inner = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message><Type>Sender</Type>"
    text = f"<ErrorResponse><Error>{inner}</Error><RequestId>0</RequestId></ErrorResponse>"
    return web.Response(text=text, status=refusal.status, content_type="text/xml", headers=dict(headers))


def _xml(value: Any, shape: Shape) -> str:
    """As the query protocol writes a value: lists as members, or flat where the model says so."""
    if shape.type_name == "structure":
        return "".join(_member(name, value[name], shape.members[name]) for name in value)
    if shape.type_name == "list":
        return "".join(f"<member>{_xml(each, shape.member)}</member>" for each in value)
    if shape.type_name == "map":
        entry = "<entry><key>{}</key><value>{}</value></entry>"
        return "".join(entry.format(escape(key), _xml(each, shape.value)) for key, each in value.items())
    return escape(str(_instant(value) if isinstance(value, datetime) else value).replace("True", "true"))


def _member(name: str, value: Any, shape: Shape) -> str:
    named = shape.serialization.get("name", name)
    return f"<{named}>{_xml(value, shape)}</{named}>"


def _instant(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")
