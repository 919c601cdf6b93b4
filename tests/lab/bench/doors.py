"""Front doors side by side: `fiso serve`, LiteLLM's proxy and a bare gunicorn, each one process before one upstream.

What counts is how many requests one second of a processor serves, by the kernel's count of what the server's process
used, and what a door adds to a call that is made directly; callers, stores and upstream are other processes.
LiteLLM's proxy needs packages that nothing here does: BENCH_LITELLM names the interpreter of an environment that has
them (`pip install 'litellm[proxy]'`); without it its row has no rival.
"""

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.clock import utc_now
from fiso.codecs import signature
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Idempotent, Policy
from fiso_cli.local_stage import MODELS
from fiso_cli.training import keys
from tests.lab.bench.rows import Row, at_least, at_most_of_rival, row
from tests.lab.chaos.folder_bucket import BUCKET, FolderBucket

HOST, STAGE, LITELLM = "127.0.0.1", "local", "BENCH_LITELLM"
CALLERS, REQUESTS, TURNS, EACH = 8, 4_000, 10, 40
TIMES, ADDED = 3.0, 0.5
"""What is promised beside LiteLLM's proxy: requests a second of a processor, and share of what it adds (p50)."""
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
BARE = """
def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One server under load: where it is, what it is asked, and whose time counts."""

    name: str
    port: int
    path: str
    pid: int

    def spent_s(self) -> float:
        """Seconds of a processor that its processes used so far."""
        ticks = 0
        for pid in _tree(self.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> list[float]:
        """Of each process that serves: of several the parent does not."""
        _, *workers = _tree(self.pid)
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in workers or [self.pid]]
        return [each * os.sysconf("SC_PAGE_SIZE") / 1e6 for each in pages]


def rows(say: Callable[[str], None]) -> Sequence[Row]:
    """Requests a processor's second, and added p50; each beside LiteLLM's proxy and a bare gunicorn."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        upstream = stack.enter_context(stores(Path(folder)))
        doors = {"ours": stack.enter_context(ours(Path(folder), upstream))}
        doors["gunicorn"] = stack.enter_context(_bare(Path(folder)))
        interpreter = os.environ.get(LITELLM, "")
        if interpreter:
            doors["litellm"] = stack.enter_context(_litellm(Path(folder), interpreter, upstream.port))
        else:
            say(f"LiteLLM's proxy is left out: {LITELLM} names no interpreter that has it")
        rates = {name: rate(door, REQUESTS) for name, door in doors.items()}
        added = _added(doors, upstream)
    return [
        _rate_row(rates, "litellm", TIMES),
        _rate_row(rates, "gunicorn", None),
        _added_row(added, "litellm", ADDED),
        _added_row(added, "gunicorn", None),
    ]


def _rate_row(rates: Mapping[str, float], rival: str, times: float | None) -> Row:
    theirs = rates.get(rival)
    gate = at_least(times * theirs) if times and theirs else None
    name = f"serve_rate_vs_{rival}"
    return row(name, rates["ours"], "requests/cpu-s", rival=rival, rival_value=theirs, n=REQUESTS, gate=gate)


def _added_row(added: Mapping[str, float], rival: str, share: float | None) -> Row:
    theirs = added.get(rival)
    gate = at_most_of_rival(share) if share and theirs is not None else None
    name = f"serve_added_vs_{rival}"
    return row(name, added["ours"], "ms (p50)", rival=rival, rival_value=theirs, n=TURNS * EACH, gate=gate)


def rate(door: Door, requests: int) -> float:
    """Requests for each second of a processor, with several callers over kept connections."""
    load(door, CALLERS * 20)
    before = door.spent_s()
    load(door, requests)
    return requests / (door.spent_s() - before)


def load(door: Door, requests: int) -> None:
    """So many requests from CALLERS threads. `AssertionError` for one that fails."""
    failed: list[int] = []

    def call() -> None:
        connection = http.client.HTTPConnection(HOST, door.port, timeout=30)
        for _ in range(requests // CALLERS):
            status = _asked(connection, door)
            if status != 200:
                failed.append(status)
        connection.close()

    threads = [Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, f"{door.name}: {len(failed)} of {requests} failed, {failed[0]}"


def _added(doors: Mapping[str, Door], upstream: Door) -> Mapping[str, float]:
    """What each door adds to a direct call, in milliseconds; all of them in turn. The bare one calls nobody."""
    took: dict[str, list[float]] = {name: [] for name in (*doors, "direct")}
    for _ in range(TURNS):
        for name, door in (*doors.items(), ("direct", upstream)):
            connection = http.client.HTTPConnection(HOST, door.port, timeout=30)
            for number in range(EACH + 2):
                began = time.perf_counter()
                _asked(connection, door)
                if number >= 2:
                    took[name].append((time.perf_counter() - began) * 1000)
            connection.close()
    direct = median(took.pop("direct"))
    return {name: median(each) - (direct if name != "gunicorn" else 0.0) for name, each in took.items()}


def _asked(connection: http.client.HTTPConnection, door: Door) -> int:
    connection.request("POST", door.path, body=json.dumps(CHAT), headers={"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


@contextmanager
def _running(
    name: str, path: str, command: Sequence[str], port: int, environ: Mapping[str, str], folder: Path
) -> Iterator[Door]:
    log = folder / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=dict(environ), cwd=folder)
    door = Door(name=name, port=port, path=path, pid=process.pid)
    try:
        ends_at = time.monotonic() + 120
        while not _answers(door):
            if process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"{name} does not serve: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield door
    finally:
        process.terminate()
        process.wait(60)


def _answers(door: Door) -> bool:
    connection = http.client.HTTPConnection(HOST, door.port, timeout=10)
    try:
        return _asked(connection, door) == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def ours(folder: Path, upstream: Door, *, workers: int = 1) -> Iterator[Door]:
    signer, url = keys.new(), f"http://{HOST}:{upstream.port}"
    S3Snapshots(FolderBucket(folder=folder / "s3"), BUCKET, keys.sealing(signer, STAGE)).publish(_catalog(url))
    port = _free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",  # nosec B105 # of nothing
        "AWS_ENDPOINT_URL": url,
        "FISO_STAGE": STAGE,
        "FISO_LOG_TABLE": "log",
        "FISO_STATE_TABLE": "states",
        "FISO_BUCKET": BUCKET,
        "FISO_ALLOW_LOOPBACK": "1",
        "FISO_CATALOG_KEYS": signature.text_of(signer.public.modulus),
        "FISO_MODEL_DIR": str(MODELS),
        "FISO_SERVE_HOST": HOST,
        "FISO_SERVE_LAME_S": "0",
        "FISO_SERVE_WORKERS": str(workers),
        "PORT": str(port),
        "POWERTOOLS_SERVICE_NAME": "fiso",
    }
    command = [sys.executable, "-m", "functions.server"]
    with _running("ours", "/v1/invoke/chat", command, port, environ, folder) as door:
        yield door


def _catalog(url: str) -> Snapshot:
    """A function with three copies that may be repeated, all of them the upstream."""
    endpoints = tuple(
        Endpoint(id=EndpointId(region), provider=Provider.AZURE, region=region, memory_mb=512, address=f"{url}/copy")
        for region in ("eastus", "westus2", "northeurope")
    )
    name = FunctionName("chat")
    policy = Policy(version=1, idempotent=Idempotent.YES)
    entry = CatalogEntry(name=name, function_type="text", endpoints=endpoints, policy=policy)
    return Snapshot(version=1, published_at=utc_now(), functions={name: entry})


@contextmanager
def _bare(folder: Path) -> Iterator[Door]:
    (folder / "bare.py").write_text(BARE, encoding="utf-8")
    port = _free_port()
    words = ["-m", "gunicorn", "-k", "gthread", "--threads", "16", "-w", "1", "-b", f"{HOST}:{port}", "bare:app"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    with _running("gunicorn", "/", [sys.executable, *words], port, environ, folder) as door:
        yield door


@contextmanager
def _litellm(folder: Path, interpreter: str, upstream: int) -> Iterator[Door]:
    """Its proxy with one process, its log quiet, and no database: routing, and nothing beside it."""
    config = {
        "model_list": [
            {
                "model_name": "m",
                "litellm_params": {"model": "openai/m", "api_base": f"http://{HOST}:{upstream}/v1", "api_key": "k"},
            }
        ],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
    }
    file, port = folder / "litellm.json", _free_port()
    file.write_text(json.dumps(config), encoding="utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOG": "ERROR", "NO_PROXY": "*"}
    environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    words = [str(Path(interpreter).with_name("litellm")), "--config", str(file), "--host", HOST, "--port", str(port)]
    words += ["--num_workers", "1", "--telemetry", "False"]
    with _running("litellm", "/chat/completions", [interpreter, *words], port, environ, folder) as door:
        yield door


@contextmanager
def stores(folder: Path) -> Iterator[Door]:
    """S3, DynamoDB and what is called, in a process of their own."""
    (folder / "s3").mkdir()
    port = _free_port()
    command = [sys.executable, "-m", "tests.lab.bench.doors", str(folder), str(port)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    with _running("upstream", "/v1/chat/completions", command, port, environ, folder) as door:
        yield door


class _Answers(asyncio.Protocol):
    """One connection to the stores or to what is called; no request is sent before the answer to the one before."""

    def __init__(self, bucket: FolderBucket) -> None:
        self.bucket, self.came = bucket, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.came += data
        head, end, body = self.came.partition(b"\r\n\r\n")
        named = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        if end and len(body) >= (int(named[1]) if named else 0):
            self.came = b""
            self.answer(*self.of(head))

    def of(self, head: bytes) -> tuple[int, bytes]:
        method, path, _ = head.partition(b"\r\n")[0].decode().split(" ")
        if method == "GET":
            body = self.bucket.content(path.partition(f"/{BUCKET}/")[2])
            return (404 if body is None else 200), body or b""
        target = re.search(rb"(?i)\nx-amz-target: *\S+\.(\w+)", head)
        if target is None:
            return 200, json.dumps(COMPLETION).encode()
        return 200, b'{"Items": [], "Count": 0}' if target[1] == b"Query" else b"{}"

    def answer(self, status: int, body: bytes) -> None:
        head = f'HTTP/1.1 {status} x\r\ncontent-type: application/json\r\netag: "1"\r\ncontent-length: {len(body)}'
        self.transport.write(f"{head}\r\n\r\n".encode() + body)


async def _serve(folder: Path, port: int) -> None:
    bucket = FolderBucket(folder=folder / "s3")
    server = await asyncio.get_running_loop().create_server(lambda: _Answers(bucket), HOST, port, backlog=128)
    await server.serve_forever()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
