"""HTTP as curl speaks it, over the wire: through API Gateway, FISO and a genuine server, and back.

Last of all: its functions' records are in the log, and not in the demo catalog that other tests count by."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fiso.testing.rig import http_event
from fiso_cli.local_stage import HOST
from tests.e2e.conftest import CHECKOUT, LiveCloud, eventually

DEMO = CHECKOUT / "scripts" / "localcloud" / "demo" / "fiso.yaml"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PAGE = "https://app.example.com"


class _Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent; two cookies, and a header of its own."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers),
            "body": body.decode("latin-1"),
        }
        text = json.dumps(seen).encode()
        self.send_response(299 if self.command == "OPTIONS" else 200)
        for name, value in (
            ("content-type", "application/json"),
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
            ("x-own", "its own"),
            ("content-length", str(len(text))),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, *_: Any) -> None: ...


for _method in METHODS:
    setattr(_Echo, f"do_{_method}", _Echo.answer)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What curl got."""

    status: int
    lines: list[str]
    body: bytes

    def header(self, name: str) -> list[str]:
        """The values of a header, line by line."""
        found = (line.partition(":") for line in self.lines)
        return [value.strip() for known, _, value in found if known.lower() == name]

    @property
    def seen(self) -> dict[str, Any]:
        """What the function was sent; header names in lower case."""
        document: dict[str, Any] = json.loads(self.body)
        return document | {"headers": {name.lower(): value for name, value in document["headers"].items()}}


@pytest.fixture(scope="module")
def api(live: LiveCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's address; two functions behind it are this server: `echo`, and `shared` with a rule for pages."""
    server = ThreadingHTTPServer((HOST, 0), _Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://{HOST}:{server.server_port}"
    here = f'[{{id: here, provider: gcp, region: us-east4, memory_mb: 512, address: "{url}", path: /f}}]'
    rule = f'{{cors: {{allow_origins: ["{PAGE}"], allow_credentials: true, allow_methods: [PUT]}}}}'
    file = tmp_path_factory.mktemp("http") / "fiso.yaml"
    own = f"\n  echo:\n    type: text\n    endpoints: {here}\n"
    own += f"  shared:\n    type: text\n    endpoints: {here}\n    policy: {rule}\n"
    file.write_text(DEMO.read_text(encoding="utf-8") + own, encoding="utf-8")
    _fiso(live, "apply", "-f", str(file), "--yes")
    eventually(lambda: curl(live.gateway.url, "/v1/invoke/shared").status == 200)
    yield live.gateway.url
    _fiso(live, "apply", "-f", str(DEMO), "--yes", "--allow-removals")
    server.shutdown()
    server.server_close()


def _fiso(live: LiveCloud, *words: str) -> None:
    command = [str(CHECKOUT / ".venv" / "bin" / "fiso"), *words]
    done = subprocess.run(command, env=live.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def curl(api: str, path: str, *options: str) -> Answer:
    command = ["curl", "-sS", "-i", "--path-as-is", "--noproxy", "*", "--max-time", "30", *options, f"{api}{path}"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return Answer(status=int(first.split()[1]), lines=lines, body=body)


@pytest.mark.parametrize("method", METHODS)
def test_curl_reaches_a_function_by_every_method_and_gets_its_answer(api: str, method: str) -> None:
    options = ["--head"] if method == "HEAD" else ["-X", method]
    options += ["--data-binary", "one two"] if method in ("POST", "PUT", "PATCH") else []
    answer = curl(api, "/v1/invoke/echo/a/100%2541/b%20c?x=%20&x=2", *options, "-H", "x-mine: 1", "-b", "s=1")
    assert answer.status == (299 if method == "OPTIONS" else 200)
    assert answer.header("set-cookie") == ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"]
    assert (answer.header("x-own"), answer.header("x-fiso-endpoint")) == (["its own"], ["here"])
    if method == "HEAD":
        assert answer.body == b""
        return
    seen = answer.seen
    assert (seen["method"], seen["path"]) == (method, "/f/a/100%2541/b%20c?x=%20&x=2")
    assert seen["body"] == ("one two" if method in ("POST", "PUT", "PATCH") else "")
    assert (seen["headers"]["x-mine"], seen["headers"]["cookie"], seen["headers"]["x-fiso-tenant"]) == (
        "1",
        "s=1",
        "local",
    )
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"


def test_a_page_of_another_origin_is_let_in_by_the_rule_alone(api: str) -> None:
    asks = ["-X", "OPTIONS", "-H", f"origin: {PAGE}", "-H", "access-control-request-method: PUT"]
    answer = curl(api, "/v1/invoke/shared", *asks)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("access-control-allow-origin") == [PAGE]
    assert answer.header("access-control-allow-methods") == ["PUT"]
    read = curl(api, "/v1/invoke/shared", "-X", "PUT", "-H", f"origin: {PAGE}")
    assert (read.header("access-control-allow-origin"), read.header("vary")) == ([PAGE], ["origin"])
    assert (
        curl(api, "/v1/invoke/shared", "-H", "origin: https://evil.example").header("access-control-allow-origin") == []
    )
    assert curl(api, "/v1/invoke/echo", *asks).status == 299, "without a rule it is the function's to answer"


def test_a_compressed_body_arrives_whole(api: str, tmp_path: Path) -> None:
    sent = tmp_path / "body.gz"
    sent.write_bytes(b"\x1f\x8b\x08\x00\xff\xfe not what it says")
    headers = ["-H", "content-encoding: gzip", "-H", "content-type: application/json"]
    seen = curl(api, "/v1/invoke/echo", *headers, "--data-binary", f"@{sent}").seen
    assert seen["body"].encode("latin-1") == sent.read_bytes()
    assert seen["headers"]["content-encoding"] == "gzip"


@pytest.mark.parametrize("path", ["/a/../../b", "/%2e%2e/b", "/%252e%252e/b", "/..%2fb", "/..%5cb"])
def test_no_path_leaves_the_endpoints_own(api: str, path: str) -> None:
    assert curl(api, f"/v1/invoke/echo{path}").status == 400


def test_the_command_speaks_every_method_too(api: str, live: LiveCloud) -> None:
    command = [str(CHECKOUT / ".venv" / "bin" / "fiso"), "invoke", "echo", "-X", "PATCH", "--path", "/users/7"]
    command += ["-H", 'if-match: "3"', "--data", "{}"]
    done = subprocess.run(command, env=live.environ, capture_output=True, timeout=60, check=False)
    seen = json.loads(done.stdout)
    assert (seen["method"], seen["path"]) == ("PATCH", "/f/users/7")
    assert {name.lower(): value for name, value in seen["headers"].items()}["if-match"] == '"3"'


def test_a_direct_invocation_is_nobody_whatever_caller_it_names(live: LiveCloud) -> None:
    """The gateway's own word reaches the function, which takes a request without it for nobody's."""
    iam = {"accountId": "111122223333", "userArn": "arn:aws:iam::111122223333:user/root"}
    event = http_event(x_fiso_gateway="guessed")
    event["requestContext"]["authorizer"] = {"iam": iam}
    name = live.stage.function_name("orchestrator")
    answer = live.stage.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
    assert json.loads(answer["Payload"].read())["statusCode"] == 401
    assert live.invoke("word-count", x_fiso_gateway="guessed").status_code == 200
