"""A function app, loaded once through the vendor's SDK: its routes (`items/{id:int}/{tail?}`, `{*rest}`), its calls."""

import asyncio
import inspect
import json
import re
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import azure.functions as func

CONSTRAINTS = {"int": r"-?\d+", "long": r"-?\d+", "bool": r"(?:true|false)", "alpha": "[A-Za-z]+"}
PARAMETER = re.compile(r"^\{(?P<rest>\*)?(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\?)?\}$")


class RouteError(ValueError):
    """A route template that this host does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A function's route. No methods means all of them."""

    function: str
    template: str
    methods: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        pattern(self.template)

    def parameters(self, path: str) -> Mapping[str, str] | None:
        """The route parameters if the path matches, else None. An absent optional parameter is left out."""
        found = pattern(self.template).fullmatch(path)
        if found is None:
            return None
        return {name: unquote(value) for name, value in found.groupdict().items() if value is not None}

    def allows(self, method: str) -> bool:
        return not self.methods or method in self.methods

    @property
    def precedence(self) -> tuple[int, ...]:
        """Sorts literal segments before constrained before free parameters before the catch-all, left to right."""
        return tuple(_rank(segment) for segment in self.template.strip("/").split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a request leads to: a function, or nothing, and then whether another method would."""

    function: str | None = None
    parameters: Mapping[str, str] | None = None
    allowed: frozenset[str] = frozenset()


def find(routes: Sequence[Route], method: str, path: str) -> Match:
    """The first of `routes` (see `in_order`) for a method and a still percent-encoded path below the prefix."""
    allowed: set[str] = set()
    for route in routes:
        parameters = route.parameters(path)
        if parameters is None:
            continue
        if route.allows(method):
            return Match(function=route.function, parameters=parameters)
        allowed |= route.methods
    return Match(allowed=frozenset(allowed))


@cache
def pattern(template: str) -> re.Pattern[str]:
    """A template as an expression over the path below the route prefix; letter case does not matter."""
    parts = [_segment(segment, template) for segment in template.strip("/").split("/")]
    return re.compile("".join(parts) + "/?", re.IGNORECASE)


def in_order(routes: Iterable[Route]) -> Sequence[Route]:
    """The most specific first."""
    return sorted(routes, key=lambda route: route.precedence)


def _segment(segment: str, template: str) -> str:
    if "{" not in segment and "}" not in segment:
        return "/" + re.escape(segment) if segment else ""
    found = PARAMETER.match(segment)
    constraint = found["constraint"] if found else None
    if found is None or (constraint and constraint not in CONSTRAINTS):
        raise RouteError(f"route {template!r}: cannot serve the segment {segment!r}")
    value = ".*" if found["rest"] else CONSTRAINTS.get(constraint or "", "[^/]+")
    part = f"/(?P<{found['name']}>{value})"
    return f"(?:{part})?" if found["optional"] or found["rest"] else part


def _rank(segment: str) -> int:
    found = PARAMETER.match(segment)
    if found is None:
        return 0
    return 3 if found["rest"] else 1 if found["constraint"] else 2


DEFAULT_PREFIX = "api"


class AppError(Exception):
    """A function app that cannot be served. One line."""


class HostContext(func.Context):
    """The invocation context of a function that asks for one."""

    def __init__(self, function_name: str, directory: str, trace_parent: str) -> None:
        self._function_name = function_name
        self._directory = directory
        self._invocation_id = str(uuid.uuid4())
        self._trace_parent = trace_parent
        self._local = threading.local()
        self._local.invocation_id = self._invocation_id

    @property
    def invocation_id(self) -> str:
        return self._invocation_id

    @property
    def function_name(self) -> str:
        return self._function_name

    @property
    def function_directory(self) -> str:
        return self._directory

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def trace_context(self) -> Any:
        return TraceContext(Traceparent=self._trace_parent)

    @property
    def retry_context(self) -> Any:
        """HTTP triggers are not retried by the host."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """W3C trace context under the SDK's names."""

    Traceparent: str = ""
    Tracestate: str = ""
    Attributes: Mapping[str, str] | None = None

    @property
    def trace_parent(self) -> str:
        return self.Traceparent


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFunction:
    """One function with an HTTP trigger. `request_name` is the parameter that takes the request."""

    route: Route
    request_name: str
    call: Callable[..., object]

    @property
    def takes_context(self) -> bool:
        return "context" in inspect.signature(self.call).parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionApp:
    """The functions of one app by name, and the prefix of their routes."""

    directory: Path
    prefix: str
    functions: Mapping[str, HttpFunction]

    @property
    def routes(self) -> Sequence[Route]:
        return [function.route for function in self.functions.values()]


def load(directory: Path, paths: Sequence[Path] = ()) -> FunctionApp:
    """Import `function_app.py` of the folder and index its `app`. Raises `AppError`."""
    directory = directory.resolve()
    if not (directory / "function_app.py").is_file():
        raise AppError(f"{directory}: no function_app.py")
    sys.path[:0] = [str(directory), *(str(path.resolve()) for path in paths)]
    app = getattr(import_module("function_app"), "app", None)
    if not isinstance(app, func.FunctionApp):
        raise AppError(f"{directory}/function_app.py: `app` is not an azure.functions.FunctionApp")
    # get_functions() registers anew at each call and refuses its own names the second time
    found = [_http_function(function) for function in app.get_functions()]
    by_name = {function.route.function: function for function in found}
    return FunctionApp(directory=directory, prefix=_prefix(directory), functions=by_name)


def _http_function(function: Any) -> HttpFunction:
    name = function.get_function_name()
    if not function.is_http_function():
        raise AppError(f"function {name}: only HTTP triggers are served here")
    trigger = function.get_trigger()
    methods = frozenset(str(getattr(m, "value", m)).upper() for m in trigger.methods or ())
    route = Route(function=name, template=trigger.route or name, methods=methods)
    return HttpFunction(route=route, request_name=trigger.name, call=function.get_user_function())


def _prefix(directory: Path) -> str:
    """`extensions.http.routePrefix` of host.json."""
    try:
        document = json.loads((directory / "host.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return DEFAULT_PREFIX
    except ValueError as error:
        raise AppError(f"{directory}/host.json is not JSON") from error
    return str(document.get("extensions", {}).get("http", {}).get("routePrefix", DEFAULT_PREFIX)).strip("/")


class Invoker:
    """Calls functions: plain ones in the request's thread, coroutines on one loop that all of them share."""

    def __init__(self, app: FunctionApp) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="functions", daemon=True).start()

    def invoke(self, name: str, request: func.HttpRequest) -> func.HttpResponse:
        """The function's answer. Whatever it raises comes out, and TypeError for an answer that is none."""
        function = self._app.functions[name]
        arguments: dict[str, object] = {function.request_name: request}
        if function.takes_context:
            trace_parent = request.headers.get("traceparent", "")
            arguments["context"] = HostContext(name, str(self._app.directory), trace_parent)
        result = function.call(**arguments)
        if inspect.iscoroutine(result):
            future: Future[object] = asyncio.run_coroutine_threadsafe(result, self._loop)
            result = future.result()
        return _response(result)


def _response(result: object) -> func.HttpResponse:
    if isinstance(result, func.HttpResponse):
        return result
    if isinstance(result, str):
        return func.HttpResponse(result)
    if result is None:
        return func.HttpResponse(status_code=204)
    raise TypeError(f"a function returned {type(result).__name__}, not HttpResponse or str")
