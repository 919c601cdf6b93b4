"""A page in a browser and another user's process try to get into a running local cloud, each in every way we know."""

import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fiso_cli.access_key import AccessKey
from localcloud import cloud as clouds
from localcloud import signatures
from localcloud.demo.machine import Machine
from localcloud.layout import LocalCloud

PARTS_THAT_LISTEN = (
    "emulator",
    "lambda-host",
    "provider-proxy",
    "azure-host",
    "azure-cloud",
    "google-host",
    "postgres",
    "stream-pump",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ANOTHER_USER = 65533
FORM = {"content-type": "application/x-www-form-urlencoded"}
TEXT = {"content-type": "text/plain"}
INVOKE = "/2015-03-31/functions/fiso-local-sample-aws/invocations"
JSON_1 = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.ListTables"}
PLANTED = json.dumps({"FunctionName": "planted", "Runtime": "python3.11", "Role": "r", "Handler": "h", "Code": {}})
KNOWN = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=" + "0" * 64
)
PRESIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=" + "0" * 64
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A request that must not be let in. `part` names whose port, `listener` counts from the proxy's first one."""

    name: str
    part: str = "emulator"
    listener: int | None = None
    method: str = "POST"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def port(self, cloud: LocalCloud) -> int:
        return cloud.port(self.part) if self.listener is None else cloud.provider_base_port + self.listener


WAYS = [
    Way(name="creates a function", path="/2015-03-31/functions", headers=TEXT, body=PLANTED),
    Way(name="creates a user by a form", headers=FORM, body="Action=CreateUser&UserName=planted&Version=2010-05-08"),
    Way(
        name="creates a user with a key of its own",
        headers={**FORM, "authorization": KNOWN},
        body="Action=CreateUser&UserName=planted&Version=2010-05-08",
    ),
    Way(name="makes a bucket", method="PUT", path="/planted"),
    Way(name="makes a bucket with a signed address", method="PUT", path=f"/planted?{PRESIGNED}"),
    Way(name="lists tables", headers=JSON_1, body="{}"),
    Way(name="lists buckets", method="GET"),
    Way(name="invokes through the emulator", path=INVOKE, headers=TEXT, body="{}"),
    Way(name="resets the emulator", path="/_ministack/reset"),
    Way(name="configures the emulator", path="/_ministack/config", headers=TEXT, body="{}"),
    Way(name="downloads code", method="GET", path="/_ministack/lambda-code/000000000000/us-east-1/fiso-local-console"),
    Way(name="asks for leave", method="OPTIONS", headers={"access-control-request-method": "PUT"}),
    Way(name="invokes at the host", part="lambda-host", path=INVOKE, headers=TEXT, body="{}"),
    Way(name="invokes as the emulator does", part="lambda-host", path="/invoke/fiso-local-sample-aws", headers=TEXT),
    Way(name="looks at the host", part="lambda-host", method="GET", path="/status"),
    Way(name="invokes through the proxy", listener=0, path=INVOKE, headers=TEXT, body="{}"),
    Way(
        name="kills a cloud",
        part="provider-proxy",
        path="/fault",
        headers=TEXT,
        body='{"provider": "azure", "kind": "kill"}',
    ),
    Way(name="looks at the proxy", part="provider-proxy", method="GET", path="/status"),
    Way(name="calls the Azure function", part="azure-host", path="/api/word-count", headers=TEXT, body="a"),
    Way(name="calls the Google function", part="google-host", path="/word-count", headers=TEXT, body="a"),
    Way(name="calls the Azure copy", listener=1, path="/api/word-count", headers=TEXT, body="a"),
    Way(name="calls the Google copy", listener=3, path="/word-count", headers=TEXT, body="a"),
    Way(name="looks at the pump", part="stream-pump", method="GET", path="/healthz"),
]


@dataclass(frozen=True)
class Traces:
    """What an intruder would have changed."""

    functions: list[str]
    tables: list[str]
    buckets: list[str]
    users: list[str]
    proxy: object
    host: object


def traces(machine: Machine) -> Traces:
    stage, cloud = machine.stage, machine.cloud
    with urllib.request.urlopen(f"{cloud.url('provider-proxy')}/status") as answer:
        proxy = json.load(answer)
    with urllib.request.urlopen(f"{cloud.url('lambda-host')}/status") as answer:
        host = [(found["function"], found["invocations"]) for found in json.load(answer)["functions"]]
    return Traces(
        functions=[found["FunctionName"] for found in stage.client("lambda").list_functions()["Functions"]],
        tables=stage.client("dynamodb").list_tables()["TableNames"],
        buckets=[found["Name"] for found in stage.client("s3").list_buckets()["Buckets"]],
        users=[found["UserName"] for found in stage.client("iam").list_users()["Users"]],
        proxy=proxy,
        host=[line for line in host if "sample" in line[0]],
    )


NAMES_OF_LOOPBACK = ["localhost", "[::1]", "0.0.0.0", "127.0.0.2", "127.1", "a.localhost", "attacker.test"]
PAGE = """<!doctype html><meta charset=utf-8><pre id=seen>nothing</pre><script>
const ways = %s, sockets = %s;
const settled = (what, make) => new Promise(done => { try { make(done) } catch (error) { done("no: " + error) }
  setTimeout(() => done("no: silence"), 3000) }).then(came => what + ": " + came);
(async () => {
  const seen = [];
  for (const way of ways) {
    const url = "http://127.0.0.1:" + way.port + way.path;
    const body = ["GET", "HEAD"].includes(way.method) ? undefined : way.body;
    const options = {method: way.method, headers: way.headers, body};
    for (const credentials of ["omit", "include"])
      try { seen.push(way.name + ": in " + (await fetch(url, {...options, credentials})).status) }
      catch (error) { seen.push(way.name + ": no") }
    try { await fetch(url, {...options, mode: "no-cors"}) } catch (error) { }
    if (way.method == "POST" && way.body) navigator.sendBeacon(url, new Blob([way.body], {type: "text/plain"}));
  }
  for (const port of sockets) {
    const at = "127.0.0.1:" + port + "/";
    seen.push(await settled("websocket", done => {
      const one = new WebSocket("ws://" + at); one.onopen = () => done("in"); one.onerror = () => done("no") }));
    seen.push(await settled("events", done => {
      const one = new EventSource("http://" + at); one.onopen = () => done("in"); one.onerror = () => done("no") }));
    seen.push(await settled("script", done => {
      const one = document.createElement("script"); one.onload = () => done("in"); one.onerror = () => done("no");
      one.src = "http://" + at + "status"; document.body.append(one) }));
  }
  for (const name of %s) for (const way of ways) {
    const body = ["GET", "HEAD"].includes(way.method) ? undefined : way.body;
    try { await fetch("http://" + name + ":" + way.port + way.path, {method: way.method, body, mode: "no-cors"}) }
    catch (error) { }
  }
  for (const way of ways) await settled("elements", done => {
    const url = "http://127.0.0.1:" + way.port + way.path, frame = document.createElement("iframe");
    frame.name = "f" + Math.random();
    frame.onload = () => done("loaded");
    for (const [tag, attribute] of [["img", "src"], ["link", "href"], ["object", "data"], ["video", "src"]]) {
      const one = document.createElement(tag); one.rel = "stylesheet"; one[attribute] = url; document.body.append(one);
    }
    document.body.append(frame);
    const form = document.createElement("form"), field = document.createElement("input");
    const method = way.method == "GET" ? "GET" : "POST";
    Object.assign(form, {action: url, method, enctype: "text/plain", target: frame.name});
    Object.assign(field, {name: way.body || "a", value: ""});
    form.append(field); document.body.append(form); form.submit();
  });
  let found;
  const message = new Promise(done => {
    addEventListener("message", told => done(found = told.data));
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = "<script>const ways = " + JSON.stringify(ways).replaceAll("<", "\\u003c") + ";(async () => {" +
      "const seen = []; for (const way of ways) { const url = 'http://127.0.0.1:' + way.port + way.path;" +
      "const body = ['GET', 'HEAD'].includes(way.method) ? undefined : way.body;" +
      "try { await fetch(url, {method: way.method, body, mode: 'no-cors'}) } catch (error) { }" +
      "try { seen.push('null ' + way.name + ': in ' + (await fetch(url, {method: way.method, body})).status) }" +
      "catch (error) { seen.push('null ' + way.name + ': no') } } parent.postMessage(seen, '*') })()<" + "/script>";
    document.body.append(frame);
  });
  while (!found) await fetch(location.href);  // the browser's clock stands still meanwhile
  seen.push(...await message);
  document.getElementById("seen").textContent = seen.join("\\n") + "\\nthrough";
})();
</script>"""


@contextmanager
def site(page: str) -> Iterator[int]:
    """A web site of another origin; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def browsed(url: str, folder: Path) -> str:
    """What a browser shows to whom a name of the attacker's leads to this machine."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install Debian's package chromium")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=120000 --dump-dom"
    ).split()
    flags += ["--host-resolver-rules=MAP attacker.test 127.0.0.1", f"--user-data-dir={folder}", url]
    return subprocess.run([CHROMIUM, *flags], capture_output=True, text=True, timeout=100, check=True).stdout


def told(machine: Machine) -> list[dict[str, object]]:
    return [asdict(way) | {"port": way.port(machine.cloud)} for way in WAYS]


@pytest.mark.parametrize("name", ["127.0.0.1", "attacker.test"])
def test_a_page_gets_in_by_no_way(name: str, machine: Machine, tmp_path: Path) -> None:
    before = traces(machine)
    sockets = [machine.cloud.port(part) for part in ("emulator", "lambda-host", "provider-proxy")]
    with site(PAGE % (json.dumps(told(machine)), json.dumps(sockets), json.dumps(NAMES_OF_LOOPBACK))) as port:
        shown = browsed(f"http://{name}:{port}/", tmp_path)
    lines = shown.partition('<pre id="seen">')[2].partition("</pre>")[0].splitlines()
    assert lines[-1] == "through"
    assert len(lines) == 3 * len(WAYS) + 3 * len(sockets) + 1
    assert [line for line in lines if ": in" in line] == []
    assert traces(machine) == before


@pytest.mark.parametrize(
    ("part", "path"),
    [("emulator", "/_ministack/health"), ("lambda-host", "/status"), ("provider-proxy", "/status")],
)
def test_a_name_of_the_attackers_that_leads_here_shows_nothing(
    part: str, path: str, machine: Machine, tmp_path: Path
) -> None:
    shown = browsed(f"http://attacker.test:{machine.cloud.port(part)}{path}", tmp_path)
    assert "the request is for another host" in shown


INTRUDER = """
import encodings.idna, http.client, json, os, socket, struct, sys
orders = json.load(sys.stdin)
os.setgroups([]); os.setgid(orders["user"]); os.setuid(orders["user"])
def asked(way):
    connection = http.client.HTTPConnection("127.0.0.1", way["port"], timeout=10)
    connection.request(way["method"], way["path"], body=way["body"].encode(), headers=way["headers"])
    return connection.getresponse().status
def opened(path):
    return len(os.listdir(path)) if os.path.isdir(path) else len(open(path, "rb").read())
def told(what, *given):
    try:
        return str(what(*given))
    except Exception as error:
        return type(error).__name__
def first_word(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.settimeout(10)
        connection.sendall(b"GET / HTTP/1.1\\r\\nhost: 127.0.0.1:%d\\r\\n\\r\\n" % port)
        return connection.recv(12).decode("latin-1")
def postgres(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        said = struct.pack("!i", 196608) + b"user\\0fiso\\0database\\0fiso\\0\\0"
        connection.sendall(struct.pack("!i", len(said) + 4) + said)
        kind, _, code = struct.unpack("!cii", connection.recv(9))
        return kind.decode() + str(code)
print(json.dumps({
    "ports": {str(port): told(first_word, port) for port in orders.get("ports", [])},
    "postgres": {str(port): told(postgres, port) for port in orders.get("postgres", [])},
    "ways": {way["name"]: told(asked, way) for way in orders["ways"]},
    "files": {path: told(opened, path) for path in orders["files"]},
    "signals": {str(pid): told(os.kill, pid, 0) for pid in orders["pids"]},
}))
"""


def intrude(
    ways: Sequence[Mapping[str, object]] = (),
    files: Sequence[str] = (),
    pids: Sequence[int] = (),
    *,
    ports: Sequence[int] = (),
    postgres: Sequence[int] = (),
) -> dict[str, dict[str, str]]:
    """What another user's process gets to see."""
    orders = {"user": ANOTHER_USER, "ways": ways, "files": files, "pids": pids, "ports": ports, "postgres": postgres}
    done = subprocess.run(
        [sys.executable, "-I", "-c", INTRUDER], input=json.dumps(orders), capture_output=True, text=True, check=True
    )
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


def with_the_key(way: Way, cloud: LocalCloud, key: AccessKey) -> dict[str, object]:
    """The way, signed as its owner would: a stolen key is of no use to another user."""
    path, _, query = way.path.partition("?")
    headers = {**way.headers, "host": f"127.0.0.1:{way.port(cloud)}"}
    asked = signatures.Request(method=way.method, path=path, query=query, headers=headers, body=way.body.encode())
    signed = signatures.signed(asked, key, "lambda", "us-east-1", datetime.now(UTC))
    return asdict(way) | {"name": f"{way.name}, signed", "port": way.port(cloud), "headers": signed}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_users_process_gets_in_by_no_way(machine: Machine) -> None:
    cloud, before = machine.cloud, traces(machine)
    front = Way(name="calls the HTTP API", path="/_aws/execute-api/aaaaaaaaaa/$default/v1/invoke/f", body="a")
    health = Way(name="asks for health", method="GET", path="/_ministack/health")
    ways = told(machine) + [with_the_key(way, cloud, cloud.access_key) for way in WAYS]
    ways += [asdict(way) | {"port": way.port(cloud)} for way in (front, health)]
    state = sorted(str(path) for path in (cloud.state, *cloud.state.iterdir()))
    inside = [cloud.access_key_file, cloud.postgres_dir / "password", cloud.log_dir / "emulator.log"]
    running = clouds.Record.read(cloud.state).running.values()
    secrets = [f"/proc/{part.pid}/environ" for part in running]
    seen = intrude(ways, [*state, *map(str, inside), *secrets], [part.pid for part in running])
    assert set(seen["ways"].values()) == {"403"}, seen["ways"]
    assert set(seen["files"].values()) == {"PermissionError"}, seen["files"]
    assert set(seen["signals"].values()) == {"PermissionError"}
    assert traces(machine) == before


def family(pids: Iterable[int]) -> set[int]:
    """These processes and all that descend from them."""
    parents = {}
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            if entry.isdigit():
                stat = Path("/proc", entry, "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                parents[int(entry)] = int(stat[1])
    found = set(pids)
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def sockets_of(pids: Iterable[int]) -> set[str]:
    """The inodes of the sockets that they hold."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            for handle in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    found.add(os.readlink(f"/proc/{pid}/fd/{handle}"))
    return {name[len("socket:[") : -1] for name in found if name.startswith("socket:[")}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_whatever_listens_does_so_on_loopback_under_no_sockets_name_and_lets_no_other_user_in(machine: Machine) -> None:
    own = sockets_of(family(part.pid for part in clouds.Record.read(machine.cloud.state).running.values()))
    listening = []
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            host, port = fields[1].split(":")
            if fields[3] == "0A" and fields[9] in own:
                assert host == loopback, line
                listening.append(int(port, 16))
    assert len(listening) >= len(PARTS_THAT_LISTEN)
    named = [line.split() for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:]]
    assert [fields[7] for fields in named if len(fields) > 7 and fields[6] in own] == []
    database = machine.cloud.postgres_port
    seen = intrude(ports=[port for port in listening if port != database], postgres=[database])
    assert {word[9:] for word in seen["ports"].values()} == {"403"}, seen["ports"]
    assert seen["postgres"] == {str(database): "R10"}, "asks for a proof of the password (SASL)"


def test_all_that_is_written_is_its_owners_alone(machine: Machine) -> None:
    """Hard links of the developer's own packages keep their modes; nobody else gets as far as to them."""
    state = machine.cloud.state
    assert state.stat().st_mode & 0o077 == 0
    linked = state / "lambda"
    written = [path for path in state.rglob("*") if linked not in path.parents and not path.is_symlink()]
    assert len(written) > 20
    assert [str(path) for path in written if path.stat().st_mode & 0o077] == []


def test_the_emulator_tells_no_page_to_come_in(machine: Machine) -> None:
    with urllib.request.urlopen(f"{machine.cloud.emulator_url}/_ministack/health") as answer:
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    told = machine.stage.client("dynamodb").list_tables()["ResponseMetadata"]["HTTPHeaders"]
    assert not [name for name in told if name.startswith("access-control")]
