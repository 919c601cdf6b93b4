"""One application in six frameworks behind one name: each request is answered alike, in bytes and headers."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import functions_framework
import pytest
from werkzeug.serving import make_server

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.http.callers import HttpCaller
from fiso.domain.endpoint import Provider
from fiso.domain.request import InvocationRequest
from fiso.ports import FunctionCaller
from fiso.testing.clock import ManualClock
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.signing import SignedService
from fiso_client.core.transport import HttpTransport
from tests.builders import a_request, an_endpoint
from tests.contract.frameworks import shells
from tests.contract.frameworks.one_application import Said, Seen, respond
from tests.functional.localcloud.emulator_fixture import answers, eventually, free_port, module_process

APPS, ROOT = Path(__file__).parent / "frameworks", Path(__file__).parents[2]
Ask = Callable[[InvocationRequest], Said]
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain; charset=utf-8"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
BINARY = {"content-type": "application/octet-stream"}


def request(method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> InvocationRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return a_request(
        method=method,
        path_suffix=path,
        query=query,
        body=body,
        headers=named,
        source_ip="192.0.2.1",
        host="fiso.example",
    )


def of(headers: dict[str, str]) -> dict[str, str]:
    return {"content_type": headers["content-type"]}


REQUESTS = [
    request("GET", "/items/1"),
    request("GET", "/items/a%20b"),
    request("GET", "/items/%C3%BC"),
    request("GET", "/items/100%2541"),
    request("GET", "/items/a%2Bb;c=d:e@f"),
    request("HEAD", "/items/1"),
    request("POST", "/items", body=b'{"name": "x"}', **of(JSON)),
    request("POST", "/items", body='{"name": "Zoë 🙂"}'.encode(), **of(JSON)),
    request("POST", "/items", body=b'{"n": [1, 2.5, null, true]}', **of(JSON)),
    request("OPTIONS", "/items"),
    request("PUT", "/items/1", body=b"whole", **of(TEXT)),
    request("PUT", "/items/1", body=bytes(range(256)), **of(BINARY)),
    request("PUT", "/items/1", body=b"\x1f\x8b\x08\x00\xff", content_encoding="gzip", **of(JSON)),
    request("PUT", "/items/1", body=b"{not json", **of(JSON)),
    request("PATCH", "/items/1", body=b'[{"op": "remove"}]', content_type="application/json-patch+json"),
    request("PATCH", "/items/1", body=b"<a/>", content_type="application/xml"),
    request("DELETE", "/items/1"),
    request("GET", "/search", "q=word"),
    request("GET", "/search", "tag=a&tag=b&tag=a"),
    request("GET", "/search", "q=a%20b&r=c+d&empty=&s=%C3%BC"),
    request("GET", "/search", "q=1%2C2&url=https%3A%2F%2Fx%2F%3Fa%3Db%26c"),
    request("GET", "/search"),
    request("GET", "/cookies"),
    request("GET", "/cookies", cookie="session=abc"),
    request("POST", "/cookies", body=b"x", cookie="a=1; b=2; theme=dark", **of(TEXT)),
    request("GET", "/headers"),
    request("GET", "/headers", authorization="Bearer abc", user_agent="tests/1", accept_language="de, en;q=0.5"),
    request("POST", "/headers", body=b"{}", x_custom="a, b", x_twice="1, 2", **of(JSON)),
    request("GET", "/binary"),
    request("POST", "/binary", body=b"\x00\xff" * 500, **of(BINARY)),
    request("POST", "/text", body="Über den Wolken, ÜBER allem".encode(), **of(TEXT)),
    request("POST", "/text", body=b"a" * 100_000, **of(TEXT)),
    request("POST", "/form", body=b"a=1&a=2&b=c+d%26", **of(FORM)),
    request("GET", "/away"),
    request("GET", "/status/404"),
    request("POST", "/status/401", body=b"{}", **of(JSON)),
    request("GET", "/status/403"),
    request("GET", "/status/418"),
    request("PUT", "/status/429", body=b"x", **of(TEXT)),
    request("DELETE", "/status/500"),
    request("GET", "/status/502"),
    request("GET", "/status/503"),
]


def asking(caller: FunctionCaller, provider: Provider, address: str, path: str = "") -> Ask:
    """What comes back through FISO's own caller."""

    def ask(sent: InvocationRequest) -> Said:
        endpoint = an_endpoint(provider, address=address, path=path)
        answer = caller.call(endpoint, sent, timeout_ms=10_000)
        # servers write a length to HEAD, where shells have no server
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return Said(status=answer.status, headers=headers, cookies=answer.cookies, body=answer.body)

    return ask


class InvokeService:
    """Lambda's Invoke API around a handler: JSON in, JSON out."""

    def __init__(self, handler: shells.Handler) -> None:
        self._handler = handler

    def send(self, _method: str, _path: str, *, body: bytes, **_: Any) -> HttpAnswer:
        context = SimpleNamespace(aws_request_id="1", function_name="one", get_remaining_time_in_millis=lambda: 1000)
        response = self._handler(json.loads(body), context)
        return HttpAnswer(status=200, headers={}, body=json.dumps(response).encode())


def on_lambda(handler: shells.Handler) -> Ask:
    service = cast(SignedService, InvokeService(handler))
    return asking(LambdaCaller(lambda _: service, clock=ManualClock()), Provider.AWS, "one")


@pytest.fixture(scope="module", autouse=True)
def event_loop_of_mangum() -> Iterator[None]:
    """Mangum makes one where there is none, and nobody closes that."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport()) as used:
        yield used


def over_http(transport: HttpTransport, provider: Provider, url: str, path: str = "") -> Ask:
    return asking(HttpCaller(transport, clock=ManualClock(), allow_loopback=True), provider, url, path)


@pytest.fixture(scope="module")
def on_google(transport: HttpTransport) -> Iterator[Ask]:
    app = functions_framework.create_app("google_function", str(APPS / "shells.py"))  # type: ignore[no-untyped-call]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield over_http(transport, Provider.GCP, f"http://127.0.0.1:{server.port}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def on_azure(transport: HttpTransport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    port, log = free_port(), tmp_path_factory.mktemp("azure") / "log"
    arguments = ("--app", str(APPS / "azure_app"), "--port", str(port), "--path", str(ROOT))
    with module_process("azure_host", *arguments, log=log):
        eventually(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        yield over_http(transport, Provider.AZURE, f"http://127.0.0.1:{port}", "/api")


@pytest.fixture(scope="module")
def copies(on_google: Ask, on_azure: Ask) -> dict[str, Ask]:
    return {
        "Mangum": on_lambda(shells.with_mangum()),
        "apig-wsgi": on_lambda(shells.with_apig_wsgi()),
        "serverless-wsgi": on_lambda(shells.with_serverless_wsgi()),
        "Powertools": on_lambda(shells.with_powertools()),
        "functions-framework": on_google,
        "Azure v2": on_azure,
    }


@pytest.mark.parametrize("sent", REQUESTS, ids=lambda sent: f"{sent.method} {sent.path_suffix}?{sent.query}"[:60])
def test_every_framework_answers_alike(copies: dict[str, Ask], sent: InvocationRequest) -> None:
    given = {name: ask(sent) for name, ask in copies.items()}
    assert given == dict.fromkeys(copies, given["Azure v2"])


def test_there_are_forty_requests_of_all_methods() -> None:
    assert len(REQUESTS) >= 40
    assert {sent.method for sent in REQUESTS} == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def test_what_they_agree_on_is_what_the_application_says(copies: dict[str, Ask]) -> None:
    seen = Seen(route="/search", method="GET", query=[("tag", "a"), ("tag", "b")])
    answer = copies["Mangum"](request("GET", "/search", "tag=a&tag=b"))
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, respond(seen).body, '"a-1"')
