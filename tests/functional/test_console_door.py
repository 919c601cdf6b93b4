"""`fiso console`: who gets in at the door on loopback, and what reaches the stage, which verifies signatures."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError

from fiso.domain.access import AuthMode
from fiso.services.identity.access import Access
from fiso_cli.errors import CommandError
from fiso_cli.traffic.console_door import Door, serving
from fiso_cli.traffic.gateway import Gateway
from fiso_cli.traffic.signing import SignedByCaller
from functions.console import app, handler
from functions.console.access import Entrance
from tests.edge import BY_SIGNATURE, handed_on, signed
from tests.functional.console_world import busy_world

KEY = ReadOnlyCredentials("AKID", "secret-key", "session-token")
SECRETS = (KEY.secret_key, KEY.token)
ELSEWHERE = "https://issuer.example/authorize"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def signature_of(method: str, url: str, body: bytes, headers: Any) -> str:
    """What the signature of a request has to be."""
    names = [name for name in ("host", "content-type", "x-amz-date", "x-amz-security-token") if headers.get(name)]
    request = AWSRequest(method=method, url=url, data=body, headers={name: headers[name] for name in names})
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(KEY, "execute-api", "us-east-1")
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


class Stage(ThreadingHTTPServer):
    """The genuine console behind a gateway that verifies signatures; some paths answer as told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Gate)
        self.url = f"http://127.0.0.1:{self.server_port}/$default"
        access = Access(mode=AuthMode.IAM, gateway_hashes=BY_SIGNATURE.gateway_hashes)
        self.console = app.create(
            busy_world(5).sources,
            stage="prod",
            entrance=Entrance(access=access),
            console_url=f"http://127.0.0.1:{self.server_port}/console",
        )
        self.told: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []


class Gate(BaseHTTPRequestHandler):
    server: Stage

    def _answer(self) -> None:
        given = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(given.get("content-length", 0)))
        self.server.asked.append((self.command, self.path, given))
        expected = signature_of(self.command, f"http://{given['host']}{self.path}", body, given)
        path = self.path.removeprefix("/$default")
        if not given.get("authorization", "").endswith(f"Signature={expected}"):
            self._send(403, {"content-type": "application/json"}, json.dumps({"message": SECRETS}).encode())
        elif path in self.server.told:
            self._send(*self.server.told[path])
        else:
            parts = urlsplit(path)
            http = {"method": self.command, "path": parts.path, "sourceIp": "127.0.0.1"}
            event = {"rawPath": parts.path, "rawQueryString": parts.query, "headers": given}
            event = signed(handed_on({**event, "requestContext": {"http": http}}))
            answer = handler.answer_event(self.server.console, event, None)
            text = answer.get("body", "")
            body = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
            self._send(answer["statusCode"], answer["headers"], body)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def a_stage() -> Iterator[Stage]:
    with Stage() as stage:
        threading.Thread(target=stage.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield stage
        stage.shutdown()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with a_stage() as found:
        yield found


def by_caller(url: str, secret: str = KEY.secret_key, timeout_s: float = 5.0) -> Gateway:
    auth = SignedByCaller(Credentials(KEY.access_key, secret, KEY.token), "us-east-1")
    return Gateway(url=url, auth=auth, timeout_s=timeout_s)


@pytest.fixture
def door(stage: Stage) -> Iterator[Door]:
    with serving(by_caller(stage.url)) as found:
        stage.asked.clear()
        yield found


@pytest.fixture
def browser(door: Door) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{door.host}", trust_env=False) as client:
        assert client.get(door.entry).status_code == 200
        yield client


def test_the_printed_address_lets_one_browser_in_once_and_scripts_see_no_cookie(door: Door) -> None:
    first, second = httpx.get(door.entry, trust_env=False), httpx.get(door.entry, trust_env=False)
    assert (first.status_code, second.status_code) == (200, 403)
    assert {"HttpOnly", "SameSite=Strict"} <= set(first.headers["set-cookie"].split("; "))
    assert "set-cookie" not in second.headers
    assert door.entry.rsplit("/", 1)[1] not in first.headers["set-cookie"]


def test_the_genuine_console_answers_signed_by_the_caller(browser: httpx.Client, stage: Stage) -> None:
    shown = browser.get("/console")
    assert shown.status_code == 200
    assert "Strict-Transport-Security" not in shown.headers
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    (style,) = set(re.findall(r'href="\./(console/static/console\.css[^"]*)"', shown.text))
    assert browser.get(f"/{style}").headers["content-type"].startswith("text/css")
    assert browser.get("/api/invocations").json()["invocations"]
    assert browser.head("/console").status_code == 200
    assert browser.get("/console/invocations/no such%2Dthing").status_code == 404
    for _, path, headers in stage.asked:
        assert path.startswith("/$default/")
        assert "cookie" not in headers


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("a=b+c", "a=b%20c"),
        ("b=1&a=2", "b=1&a=2"),
        ("a=%C3%A9%26&b=", "a=%C3%A9%26&b="),
        ("a=~-_.", "a=~-_."),
        ("a=C%2B%2B", "a=C%2B%2B"),
    ],
)
def test_a_query_as_browsers_write_it_is_signed(query: str, sent: str, browser: httpx.Client, stage: Stage) -> None:
    assert browser.get(f"/console?{query}").status_code == 200
    assert stage.asked[-1][1] == f"/$default/console?{sent}"


FOREIGN = {
    "no cookie": {"cookie": ""},
    "another cookie": {"cookie": "fiso-console-{port}=x"},
    "an attacker's name": {"host": "attacker.test:{port}"},
    "another name of loopback": {"host": "localhost:{port}"},
    "another port": {"host": "127.0.0.1:1"},
    "another origin": {"origin": "https://attacker.test"},
    "a server of another user": {"origin": "http://127.0.0.1:1"},
    "a page without an origin": {"origin": "null"},
    "another site": {"sec-fetch-site": "cross-site"},
    "another port of this site": {"sec-fetch-site": "same-site"},
    "a large form": {"content-length": "100001"},
    "no length": {"content-length": "-1"},
    "chunks": {"transfer-encoding": "chunked"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_nobody_else_gets_in(headers: dict[str, str], browser: httpx.Client, door: Door, stage: Stage) -> None:
    port = str(door.server.server_port)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    shown = {"host": door.host, "cookie": cookie} | {n: v.replace("{port}", port) for n, v in headers.items()}
    answer = raw(door, "GET /console HTTP/1.1", *(f"{name}: {value}" for name, value in shown.items()))
    assert re.match(r"HTTP/1\.0 4\d\d ", answer), answer
    assert stage.asked == []
    assert "invocations" not in answer


def raw(door: Door, *lines: str) -> str:
    with socket.create_connection(("127.0.0.1", door.server.server_port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


@pytest.mark.parametrize(
    "target",
    [
        "/", "/v1/endpoints", "/consoles", "/console/../v1/endpoints", "/console/%2e%2e/v1/endpoints",
        "/console//x", "/console/..%2fv1", "/console/%5c", "/console/%00", "/console/%ff", "/api/%0d%0ax:y", "/healthz",
        "http://attacker.test/console", "console", "*", "/%63onsole/%2e", f"/console/{'a' * 5000}",
    ],
)  # fmt: skip
def test_only_the_console_is_behind_it(target: str, browser: httpx.Client, door: Door, stage: Stage) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    answer = raw(door, f"GET {target} HTTP/1.1", f"Host: {door.host}", f"Cookie: {cookie}")
    assert re.match(r"HTTP/1\.0 4\d\d ", answer), answer
    assert stage.asked == []


def test_redirects_and_the_consoles_own_cookies_work(browser: httpx.Client, stage: Stage) -> None:
    to = {"set-cookie": "own=1; Path=/; HttpOnly"}
    stage.told = {
        "/console/absolute": (302, {"location": f"{stage.url}/console/next?x=1", **to}, b""),
        "/console/relative": (303, {"location": "next"}, b""),
        "/console/elsewhere": (302, {"location": ELSEWHERE}, b""),
    }
    found = {path: browser.get(path) for path in stage.told}
    assert [answer.headers["location"] for answer in found.values()] == [
        "/console/next?x=1",
        "/console/next",
        ELSEWHERE,
    ]
    assert not [answer for answer in found.values() if "set-cookie" in answer.headers]
    browser.get("/console")
    assert stage.asked[-1][2]["cookie"] == "own=1"
    assert browser.post("/console/x", content=b"a=b", headers={"content-type": "a/b"}).status_code == 405
    assert stage.asked[-1][2]["origin"] == stage.url.removesuffix("/$default")


def test_a_gateway_that_refuses_is_told_without_what_was_signed(browser: httpx.Client, stage: Stage) -> None:
    stage.told["/console/x"] = (403, {"content-type": "application/json"}, json.dumps(SECRETS).encode())
    answer = browser.get("/console/x")
    assert (answer.status_code, len(answer.text.splitlines())) == (403, 1)
    assert not [secret for secret in SECRETS if secret in answer.text]


class Expired:
    """Credentials of a process that fails and says too much."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        raise CredentialRetrievalError(provider="custom-process", error_msg=KEY.secret_key)


@pytest.mark.parametrize("kind", ["unreachable", "another key", "expired", "silent", "a port that is taken"])
def test_what_is_wrong_from_the_start_is_one_line(kind: str, stage: Stage) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
        port = 0
        if kind == "silent":
            taken.listen()
        gateway = {
            "unreachable": by_caller(closed),
            "another key": by_caller(stage.url, "wrong"),
            "expired": Gateway(url=stage.url, auth=SignedByCaller(Expired(), "us-east-1")),
            "silent": by_caller(closed, timeout_s=0.3),
            "a port that is taken": by_caller(stage.url),
        }[kind]
        if kind == "a port that is taken":
            port = taken.getsockname()[1]
        with pytest.raises(CommandError) as told, serving(gateway, port):
            pass
    assert len(str(told.value).splitlines()) == 1
    assert not [secret for secret in SECRETS if secret in str(told.value)]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_a_browser_that_comes_from_a_file_ends_on_the_console(door: Door, stage: Stage, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<meta http-equiv="refresh" content="0;url={door.entry}">')
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
        "--disable-component-update --remote-debugging-port=0"
    ).split()
    words = [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", f"file://{page}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        ends_at = time.monotonic() + 60
        while time.monotonic() < ends_at and not [path for _, path, _ in stage.asked if "refresh.js" in path]:
            time.sleep(0.05)
        browser.terminate()
    assert stage.asked[0][1] == "/$default/console"
    assert {path.partition("?")[0].rsplit("/", 1)[1] for _, path, _ in stage.asked} >= {"console.css", "refresh.js"}


BROWSER = """#!{python}
import os, pathlib, sys
page = pathlib.Path(sys.argv[1].removeprefix("file://"))
pathlib.Path({seen!r}).write_text(f"{{sys.argv[1]}} {{oct(page.stat().st_mode & 0o777)}} {{page.read_text()}}")
"""


def test_the_command_says_the_address_serves_and_ends_by_ctrl_c(stage: Stage, tmp_path: Path) -> None:
    """What starts the browser shows the other users of the machine no address that would let them in."""
    seen, browser = tmp_path / "seen", tmp_path / "browser"
    browser.write_text(BROWSER.format(python=sys.executable, seen=str(seen)))
    browser.chmod(0o700)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FISO_"))},
        "BROWSER": str(browser),
        "AWS_ACCESS_KEY_ID": KEY.access_key,
        "AWS_SECRET_ACCESS_KEY": KEY.secret_key,
        "AWS_SESSION_TOKEN": KEY.token,
    }
    words = [
        sys.executable,
        "-c",
        "from fiso_cli.main import app; app()",
        "console",
        "--stage",
        "prod",
        "--api-url",
        stage.url,
        "--json",
        "--open",
    ]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        try:
            assert command.stdout is not None
            entry = json.loads(command.stdout.readline())["url"]
            with httpx.Client(trust_env=False, timeout=30) as client:
                client.get(entry)
                assert client.get(entry.rpartition("/")[0] + "/console").status_code == 200
            ends_at = time.monotonic() + 20
            while time.monotonic() < ends_at and not seen.exists():
                time.sleep(0.02)
            command.send_signal(signal.SIGINT)
            out, err = command.communicate(timeout=30)
        finally:
            command.kill()  # what fails above must not wait for it for ever
    assert (command.returncode, out, err) == (0, "", "")
    address, mode, page = seen.read_text().split(" ", 2)
    assert (mode, entry in page, entry.rpartition("/")[2] in address) == ("0o600", True, False)
    assert not Path(address.removeprefix("file://")).exists()
