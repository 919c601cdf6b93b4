"""The Azure host as a process: a function app written for the vendor's SDK, called over HTTP."""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from localcloud.azure_host.application import Route, RouteError, find, in_order
from tests.functional.localcloud.emulator_fixture import answers, eventually, free_port, module_process

FUNCTION_APP = """
import asyncio
import json
import threading

import azure.functions as func
from beside import GREETING

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
together = threading.Barrier(2, timeout=20)


@app.route(route="echo", methods=["POST", "PUT"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {"method": req.method, "url": req.url, "params": dict(req.params), "type": req.headers["Content-Type"]}
    return func.HttpResponse(req.get_body(), status_code=201, mimetype="x/y", headers={"x-seen": json.dumps(seen)})


@app.route(route="items/{name}/{part?}")
def items(req: func.HttpRequest) -> str:
    return json.dumps(dict(req.route_params))


@app.route(route="items/special")
def special(req: func.HttpRequest) -> str:
    return "special"


@app.route(route="numbers/{n:int}")
def numbers(req: func.HttpRequest) -> str:
    return req.route_params["n"]


@app.route(route="files/{*rest}")
async def files(req: func.HttpRequest) -> str:
    await asyncio.sleep(0)
    return req.route_params.get("rest", "none")


@app.function_name(name="named")
@app.route(methods=[func.HttpMethod.GET])
def other(req: func.HttpRequest, context: func.Context) -> str:
    return json.dumps([context.function_name, context.invocation_id != "", context.trace_context.Traceparent])


@app.route(route="greeting")
def greeting(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(GREETING)


@app.route(route="nothing")
def nothing(req: func.HttpRequest) -> None:
    return None


@app.route(route="raises")
def raises(req: func.HttpRequest) -> str:
    raise ValueError("secret detail")


@app.route(route="wrong")
def wrong(req: func.HttpRequest) -> dict:
    return {}


@app.route(route="meet")
def meet(req: func.HttpRequest) -> str:
    together.wait()
    return "met"
"""


@dataclass
class Reply:
    status: int
    headers: Message
    body: bytes


@dataclass
class Host:
    port: int

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return Reply(status=response.status, headers=response.headers, body=response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder, beside = tmp_path_factory.mktemp("app"), tmp_path_factory.mktemp("beside")
    (folder / "function_app.py").write_text(FUNCTION_APP, encoding="utf-8")
    (beside / "beside.py").write_text("GREETING = 'good day'\n", encoding="utf-8")
    port = free_port()
    arguments = ["--app", str(folder), "--port", str(port), "--path", str(beside)]
    with module_process("azure_host", *arguments, log=folder / "log"):
        eventually(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        yield Host(port=port)


def test_body_query_headers_and_status_pass_both_ways(host: Host) -> None:
    body = bytes(range(256)) * 100
    reply = host.call("POST", "/api/echo?a=1&b=&a=2%20", body, **{"Content-Type": "application/octet-stream"})
    assert (reply.status, reply.headers["content-type"], reply.body) == (201, "x/y", body)
    assert json.loads(reply.headers["x-seen"]) == {
        "method": "POST",
        "url": f"http://127.0.0.1:{host.port}/api/echo?a=1&b=&a=2%20",
        "params": {"a": "1,2 ", "b": ""},
        "type": "application/octet-stream",
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/items/a", '{"name": "a"}'),
        ("/api/items/a/b", '{"name": "a", "part": "b"}'),
        ("/api/items/a%2Fb%20c", '{"name": "a/b c"}'),
        ("/api/items/special", "special"),
        ("/API/Items/x", '{"name": "x"}'),
        ("/api/numbers/42", "42"),
        ("/api/files/a/b/c", "a/b/c"),
        ("/api/files", "none"),
        ("/api/greeting", "good day"),
    ],
)
def test_a_route_leads_to_its_function(host: Host, path: str, expected: str) -> None:
    reply = host.call("GET", path)
    assert (reply.status, reply.body.decode()) == (200, expected)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_function_sees_its_context(host: Host) -> None:
    reply = host.call("GET", "/api/named", traceparent="00-1-2-01")
    assert json.loads(reply.body) == ["named", True, "00-1-2-01"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/absent", 404),
        ("GET", "/", 404),
        ("GET", "/apix/greeting", 404),
        ("GET", "/api/numbers/x", 404),
        ("GET", "/api/items/a/b/c", 404),
        ("GET", "/api/echo", 405),
        ("POST", "/api/named", 405),
        ("GET", "/api/raises", 500),
        ("GET", "/api/wrong", 500),
        ("GET", "/api/nothing", 204),
    ],
)
def test_what_no_function_answers_is_answered_without_a_body(host: Host, method: str, path: str, status: int) -> None:
    reply = host.call(method, path)
    assert (reply.status, reply.body) == (status, b"")


def test_a_wrong_method_is_told_the_right_ones(host: Host) -> None:
    assert host.call("GET", "/api/echo").headers["allow"] == "POST, PUT"


def test_requests_run_at_the_same_time(host: Host) -> None:
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: host.call("GET", "/api/meet"), range(2)))
    assert [reply.body for reply in replies] == [b"met", b"met"]


def test_health_lists_the_functions(host: Host) -> None:
    document = json.loads(host.call("GET", "/healthz").body)
    assert (document["status"], "named" in document["functions"]) == ("ok", True)


@pytest.mark.parametrize(
    ("source", "message"),
    [(None, "no function_app.py"), ("app = 1\n", "not an azure.functions.FunctionApp")],
)
def test_an_app_that_cannot_be_served_ends_the_host(source: str | None, message: str, tmp_path: Path) -> None:
    if source is not None:
        (tmp_path / "function_app.py").write_text(source, encoding="utf-8")
    arguments = ["--app", str(tmp_path), "--port", str(free_port())]
    with module_process("azure_host", *arguments, log=tmp_path / "log") as child:
        assert child.wait(30) != 0
    assert message in (tmp_path / "log").read_text(encoding="utf-8")


def test_the_route_prefix_of_host_json_is_kept(tmp_path: Path) -> None:
    source = "import azure.functions as func\napp = func.FunctionApp()\n"
    source += "@app.route(route='x')\ndef x(req: func.HttpRequest) -> str:\n    return 'x'\n"
    (tmp_path / "function_app.py").write_text(source, encoding="utf-8")
    (tmp_path / "host.json").write_text('{"extensions": {"http": {"routePrefix": ""}}}', encoding="utf-8")
    port = free_port()
    with module_process("azure_host", "--app", str(tmp_path), "--port", str(port), log=tmp_path / "log"):
        eventually(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        assert [Host(port=port).call("GET", path).status for path in ("/x", "/api/x")] == [200, 404]


def test_sigterm_ends_the_host_while_a_connection_is_kept_alive(tmp_path: Path) -> None:
    source = "import azure.functions as func\napp = func.FunctionApp()\n"
    (tmp_path / "function_app.py").write_text(source, encoding="utf-8")
    port = free_port()
    with module_process("azure_host", "--app", str(tmp_path), "--port", str(port), log=tmp_path / "log") as child:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        child.terminate()
        assert child.wait(20) == 0
        connection.close()


def test_a_route_prefers_the_literal_then_the_constrained_then_any_then_the_rest() -> None:
    routes = in_order(
        Route(function=template, template=template) for template in ("{*rest}", "a/{x}", "a/b", "a/{n:int}", "{x}/b")
    )
    found = [find(routes, "GET", path).function for path in ("/a/b", "/a/1", "/a/c", "/c/b", "/c/d")]
    assert found == ["a/b", "a/{n:int}", "a/{x}", "{x}/b", "{*rest}"]


@pytest.mark.parametrize("template", ["a/{x", "a/{x:regex(1)}", "a/{x:guid}", "a-{x}"])
def test_a_template_that_is_not_understood_is_refused(template: str) -> None:
    with pytest.raises(RouteError, match="cannot serve the segment"):
        Route(function="f", template=template)
