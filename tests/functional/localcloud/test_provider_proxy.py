"""The provider proxy as a process: what passes through unchanged, what is added, and what a fault does."""

import http.client
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.functional.localcloud.emulator_fixture import answers, eventually, free_ports, module_process

NO_COLD = {"probability_by_idle_minutes": [[0, 0]], "init_ms_by_quantile": [[0.5, 1]]}
FIRST_IS_COLD = {"probability_by_idle_minutes": [[0, 0], [10, 0], [11, 1]], "init_ms_by_quantile": [[0.5, 60]]}
PROFILE = {
    "router_region": "us-east-1",
    "distance_sigma": 0,
    "providers": [
        {
            "name": "aws",
            "one_listener": True,
            "regions": [{"name": "us-east-1", "round_trip_ms": 4}, {"name": "eu-west-1", "round_trip_ms": 30}],
            "cold_start": NO_COLD,
        },
        {
            "name": "azure",
            "regions": [{"name": "eastus", "round_trip_ms": 2}, {"name": "westeurope", "round_trip_ms": 20}],
            "cold_start": NO_COLD,
        },
        {"name": "gcp", "regions": [{"name": "us-east4", "round_trip_ms": 2}], "cold_start": FIRST_IS_COLD},
    ],
}


class Upstream(BaseHTTPRequestHandler):
    """Answers with the request it saw, except where the path asks for something else."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path.startswith("/raw"):
            return self._answer(206, bytes(range(256)), {"Content-Type": "x/y", "Content-Encoding": "gzip"})
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": [[name, value] for name, value in self.headers.items()],
            "body": body.hex(),
        }
        return self._answer(200, json.dumps(seen).encode(), {"Content-Type": "application/json", "X-Own": "kept"})

    def do_PUT(self) -> None:
        self.do_POST()

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1234")
        self.end_headers()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Proxy:
    base_port: int
    control_port: int

    def connection(self, index: int = 0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.base_port + index, timeout=20)

    def call(self, index: int = 0, path: str = "/", **headers: str) -> http.client.HTTPResponse:
        connection = self.connection(index)
        connection.request("POST", path, body=b"{}", headers=headers)
        response = connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        connection.close()
        return response

    def added(self, index: int = 0, path: str = "/", **headers: str) -> dict[str, float]:
        label = self.call(index, path, **headers).headers["x-fiso-emulated"]
        return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", label)}

    def control(self, body: dict[str, object] | None = None) -> dict[str, Any]:
        path = "status" if body is None else "fault"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control_port}/{path}", data, timeout=20) as response:
            document: dict[str, Any] = json.load(response)
            return document


def round_trip(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/")
    connection.getresponse().read()


@contextmanager
def proxying(directory: Path, *extra: str) -> Iterator[Proxy]:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    upstream.daemon_threads = True
    thread = threading.Thread(target=upstream.serve_forever)
    thread.start()
    profile = directory / "profile.yaml"
    profile.write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
    base_port = free_ports(5)
    control_port = base_port + 4
    arguments = ["--profile", str(profile), "--base-port", str(base_port), "--control-port", str(control_port), *extra]
    for name in ("aws", "azure", "gcp"):
        arguments += ["--upstream", f"{name}=http://127.0.0.1:{upstream.server_port}"]
    try:
        with module_process("provider_proxy", *arguments, log=directory / "proxy.log"):
            eventually(lambda: answers(f"http://127.0.0.1:{control_port}/healthz"))
            yield Proxy(base_port=base_port, control_port=control_port)
    finally:
        upstream.shutdown()
        upstream.server_close()
        thread.join()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxying(tmp_path_factory.mktemp("proxy"), "--seed", "1") as running:
        yield running


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "proxy" in request.fixturenames:
        running: Proxy = request.getfixturevalue("proxy")
        for provider in ("aws", "azure", "gcp"):
            running.control({"provider": provider, "kind": "heal"})


def test_method_path_headers_and_bytes_reach_the_upstream_unchanged(proxy: Proxy) -> None:
    connection = proxy.connection()
    body = bytes(range(256)) * 4096
    path = "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations?Qualifier=a%2Fb&x=%20"
    headers = {
        "X-Amz-Date": "20260101T000000Z",
        "Content-Encoding": "gzip",
        "Connection": "keep-alive, x-hop",
        "X-Hop": "1",
    }
    connection.request("PUT", path, body=body, headers=headers)
    response = connection.getresponse()
    seen = json.loads(response.read())
    connection.close()
    names = {name.lower(): value for name, value in seen["headers"]}
    assert (seen["method"], seen["path"], bytes.fromhex(seen["body"])) == ("PUT", path, body)
    assert names == {
        "host": f"127.0.0.1:{proxy.base_port}",
        "accept-encoding": "identity",
        "content-length": str(len(body)),
        "x-amz-date": "20260101T000000Z",
        "content-encoding": "gzip",
    }
    assert response.headers["X-Own"] == "kept"
    assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_status_and_encoded_bytes_come_back_unchanged(proxy: Proxy) -> None:
    response = proxy.call(path="/raw")
    assert response.status == 206
    assert response.body == bytes(range(256))  # type: ignore[attr-defined]
    assert (response.headers["Content-Type"], response.headers["Content-Encoding"]) == ("x/y", "gzip")


def test_a_head_request_keeps_the_length_of_what_it_does_not_send(proxy: Proxy) -> None:
    connection = proxy.connection()
    connection.request("HEAD", "/")
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Length"]) == (200, "1234")
    connection.close()


@pytest.mark.parametrize(
    ("index", "authorization", "distance_ms"),
    [
        (0, "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host", 4),
        (0, "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host", 30),
        (0, "AWS4-HMAC-SHA256 Credential=test/20260101/mars-1/lambda/aws4_request", 4),
        (0, "Bearer x", 4),
        (1, "", 2),
        (2, "", 20),
        (3, "", 2),
    ],
)
def test_the_distance_is_that_of_the_region(proxy: Proxy, index: int, authorization: str, distance_ms: float) -> None:
    assert proxy.added(index, Authorization=authorization)["distance"] == distance_ms


def test_the_first_call_of_each_path_is_cold_and_the_next_is_warm(proxy: Proxy) -> None:
    assert [proxy.added(3, path)["cold"] for path in ("/api/f", "/api/f", "/api/g", "/api/f?again")] == [60, 0, 60, 0]


def test_a_killed_provider_refuses_connections_and_the_others_answer(proxy: Proxy) -> None:
    open_before = proxy.connection(1)
    round_trip(open_before)
    proxy.control({"provider": "azure", "kind": "kill"})
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        round_trip(open_before)
    open_before.close()
    for index in (1, 2):
        with pytest.raises(ConnectionRefusedError):
            proxy.call(index)
    assert proxy.call(0).status == proxy.call(3).status == 200
    listeners = proxy.control()["listeners"]
    assert [(entry["provider"], entry["is_open"]) for entry in listeners] == [
        ("aws", True), ("azure", False), ("azure", False), ("gcp", True),
    ]  # fmt: skip
    proxy.control({"provider": "azure", "kind": "heal"})
    assert proxy.call(1).status == proxy.call(2).status == 200


def test_killing_and_healing_twice_is_the_same_as_once(proxy: Proxy) -> None:
    for kind in ("kill", "kill", "heal", "heal"):
        proxy.control({"provider": "aws", "kind": kind})
    assert proxy.call(0).status == 200


def test_a_slow_provider_takes_longer_by_the_factor_and_says_so(proxy: Proxy) -> None:
    proxy.control({"provider": "azure", "kind": "slow", "factor": 4.0})
    assert proxy.added(2)["slow"] >= 3 * 20
    assert "slow" not in proxy.added(0)
    assert proxy.control()["listeners"][2]["fault"] == {"kind": "slow", "factor": 4.0}
    proxy.control({"provider": "azure", "kind": "heal"})
    assert "slow" not in proxy.added(2)


def test_a_killed_provider_can_come_back_slow(proxy: Proxy) -> None:
    proxy.control({"provider": "aws", "kind": "kill"})
    proxy.control({"provider": "aws", "kind": "slow", "factor": 2})
    assert proxy.added(0)["slow"] >= 4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"provider": "ibm", "kind": "kill"}, "provider must be one of aws, azure, gcp"),
        ({"provider": "aws", "kind": "explode"}, "kind must be one of"),
        ({"provider": "aws", "kind": ["kill"]}, "kind must be one of"),
        ({"provider": "aws", "kind": "slow"}, "slow needs a factor"),
        ({"provider": "aws", "kind": "slow", "factor": 0.5}, "factor must be"),
        ({"provider": "aws", "kind": "slow", "factor": "x"}, "factor must be"),
    ],
)
def test_a_fault_that_says_nothing_is_refused(proxy: Proxy, body: dict[str, object], message: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        proxy.control(body)
    assert refused.value.code == 400
    assert message in json.load(refused.value)["error"]
    refused.value.close()


def test_without_distance_nothing_is_added_and_the_label_says_so(tmp_path: Path) -> None:
    with proxying(tmp_path, "--no-distance") as proxy:
        assert proxy.call(3, "/api/f").headers["x-fiso-emulated"] == "distance=0.0;cold=0.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "absent.yaml"], "absent.yaml"),
        (["--upstream", "aws=http://127.0.0.1:1"], "no --upstream for azure, gcp"),
        (["--upstream", "aws"], "expected PROVIDER=http://HOST:PORT"),
    ],
)
def test_a_proxy_that_cannot_start_says_why_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    ports = ["--base-port", "1", "--control-port", "1"]
    with module_process("provider_proxy", *ports, *arguments, log=tmp_path / "log") as child:
        assert child.wait(30) == 1
    (line,) = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert message in line
