"""`fiso invoke | explain | endpoints | tail` against a small server that speaks the HTTP contract."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fiso_cli.main import app
from tests.functional.contract_server import DECISION, RECORD, ContractServer, serving
from tests.lab.bound_process import bound

CHECKOUT = Path(__file__).resolve().parents[2]
FISO = (sys.executable, "-c", "from fiso_cli.main import app; app()")


@pytest.fixture
def server() -> Iterator[ContractServer]:
    with serving() as contract:
        yield contract


def environment(url: str) -> dict[str, str]:
    paths = os.pathsep.join([str(CHECKOUT / "shared"), str(CHECKOUT / "scripts")])
    return {**os.environ, "FISO_API_URL": url, "PYTHONPATH": paths, "NO_COLOR": "1", "COLUMNS": "200"}


def fiso(url: str, *arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin, env=environment(url))


def on_a_terminal(url: str, *arguments: str, columns: int = 80) -> str:
    """What a terminal of so many columns shows, colours left out."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {**environment(url), "TERM": "xterm"}
    del environ["COLUMNS"]
    with subprocess.Popen([*FISO, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as running:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        running.wait(timeout=60)
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how a terminal ends
        return b""


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_invoke_prints_the_functions_bytes_and_says_who_answered(server: ContractServer) -> None:
    server.body = bytes(range(256))
    done = fiso(server.url, "invoke", "compress", "--data", "one two")
    assert done.exit_code == 0
    assert done.stdout_bytes == bytes(range(256))
    assert re.search(
        rb"200 from azure/somewhere; reason score; .* ms; .*model m-1; invocation inv-1", done.stderr_bytes
    )


def test_invoke_sends_what_was_asked_for(server: ContractServer, tmp_path: Path) -> None:
    source = tmp_path / "graph.json"
    source.write_bytes(b'{"size": 3}')
    options = ["--query", "top=2", "--query", "w=a b&c", "--user-region", "eu-west-1", "--idempotency-key", "k1"]
    done = fiso(server.url, "invoke", "graph-bfs", "--data", f"@{source}", "--timeout-ms", "900", *options)
    assert done.exit_code == 0
    path, headers, body = server.seen[0]
    assert path == "/api/v1/invoke/graph-bfs?top=2&w=a%20b%26c"
    assert body == b'{"size": 3}'
    assert headers["content-type"] == "application/json"
    assert headers["x-fiso-user-region"] == "eu-west-1"
    assert headers["idempotency-key"] == "k1"
    assert headers["x-fiso-timeout-ms"] == "900"


@pytest.mark.parametrize("method", ["GET", "put", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_invoke_speaks_every_method_with_a_path_and_headers(server: ContractServer, method: str) -> None:
    options = ["-X", method, "--path", "users/7 %41", "-H", "If-Match: 3", "-H", "if-match:4", "-H", "x-a: b: c"]
    assert fiso(server.url, "invoke", "graph-bfs", *options).exit_code == 0
    path, headers, body = server.seen[0]
    assert (headers["x-method"], path, body) == (method.upper(), "/api/v1/invoke/graph-bfs/users/7%20%41", b"")
    assert (headers["if-match"], headers["x-a"], "content-type" in headers) == ("3, 4", "b: c", False)


def test_invoke_sends_what_is_no_json_as_bytes_and_reads_standard_input(server: ContractServer) -> None:
    assert fiso(server.url, "invoke", "compress", "--data", "-", stdin=b"\x00\xffNaN").exit_code == 0
    assert server.seen[0][1]["content-type"] == "application/octet-stream"
    assert server.seen[0][2] == b"\x00\xffNaN"


def test_invoke_writes_the_body_to_a_file(server: ContractServer, tmp_path: Path) -> None:
    done = fiso(server.url, "invoke", "compress", "--data", "x", "--output", str(tmp_path / "out.z"))
    assert (done.exit_code, done.stdout_bytes) == (0, b"")
    assert (tmp_path / "out.z").read_bytes() == server.body


def test_invoke_as_json_is_one_document(server: ContractServer) -> None:
    document = json.loads(fiso(server.url, "invoke", "word-count", "--data", "x", "--json").stdout)
    assert document["provider"] == "azure"
    assert document["problem"] is None
    assert document["body"] == {"total": 3}


def test_a_functions_own_error_is_shown_and_exits_non_zero(server: ContractServer) -> None:
    server.function_status, server.body = 500, b"it broke"
    done = fiso(server.url, "invoke", "word-count", "--data", "x")
    assert (done.exit_code, done.stdout_bytes) == (1, b"it broke")
    assert b"the function failed by itself (status 500)" in done.stderr_bytes


def test_many_requests_are_bounded_and_tallied_per_provider(server: ContractServer) -> None:
    server.delay_s = 0.01
    done = fiso(server.url, "invoke", "word-count", "--data", "x", "-n", "30", "-c", "4", "--json")
    document = json.loads(done.stdout_bytes)
    assert done.exit_code == 0
    assert server.most_at_once == 4
    assert (document["requests"], document["failures"], document["failovers"]) == (30, 0, 10)
    assert {row["provider"]: row["requests"] for row in document["by_provider"]} == {"aws": 10, "azure": 10, "gcp": 10}
    assert all(row["overhead_p50_ms"] == 1.5 for row in document["by_provider"])


def test_many_requests_with_failures_print_a_table_and_exit_non_zero(server: ContractServer) -> None:
    server.fail_every = 5
    done = fiso(server.url, "invoke", "word-count", "--data", "x", "-n", "20", "-c", "2")
    assert done.exit_code == 1
    assert b"20 requests, 4 failed" in done.stdout_bytes
    assert b"4 x status 404 Unknown function: no function 'nobody' in catalog version 4" in done.stderr_bytes


def test_ctrl_c_prints_what_was_done_and_exits_130(server: ContractServer) -> None:
    server.delay_s = 0.05
    command = [*FISO, "invoke", "word-count", "-d", "x", "-n", "5000", "-c", "2"]
    with subprocess.Popen(
        bound(command), env=environment(server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        while len(server.seen) < 10 and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert re.search(rb"\d+ requests, 0 failed, stopped after \d+ of 5000", out)


def test_explain_shows_the_ranking_and_who_is_left_out(server: ContractServer) -> None:
    done = fiso(server.url, "explain", "word-count", "--data", "one two")
    shown = done.stdout
    assert done.exit_code == 0
    assert re.search(
        r"gcp-us-east4 .*gcp/us-east4 .*0\.9123 .*1\.000 .*0\.990 .*11\.0 .*2e-06 .*99\.0 % .*100\.0 %", shown
    )
    assert re.search(r"azure-eastus .*denied_provider .*azure is denied", shown)
    assert json.loads(fiso(server.url, "explain", "word-count", "--json").stdout) == DECISION


def test_endpoints_say_until_when_a_breaker_is_open_and_why(server: ContractServer) -> None:
    done = fiso(server.url, "endpoints")
    assert done.exit_code == 0
    assert "open, until 10:00:30 UTC, after unreachable x3" in done.stdout


def test_tail_shows_each_invocation_with_its_why(server: ContractServer) -> None:
    done = fiso(server.url, "tail")
    line = done.stdout.splitlines()[1]
    assert done.exit_code == 0
    assert line.split()[:8] == ["10:00:00.000", "word-count", "gcp/us-east4", "score", "200", "12.5", "11.0", "2.1e-06"]
    assert line.endswith("score 0.910, next aws-us-east-1 0.840")


def test_tail_follows_until_ctrl_c_and_shows_each_record_once(server: ContractServer) -> None:
    command = [*FISO, "tail", "-f", "--json"]
    with subprocess.Popen(
        bound(command), env=environment(server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        server.records.append({**RECORD, "invocation_id": "inv-2", "timestamp": "2030-01-01T09:59:58.000Z"})
        second = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        rest, complaint = running.communicate(timeout=30)
    assert [first["invocation_id"], second["invocation_id"]] == ["inv-1", "inv-2"]
    assert (running.returncode, rest, complaint) == (0, b"", b"")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("explain word-count -d x", "chance: how likely an endpoint is called first"),
        ("endpoints", "open, until 10:00:30 UTC"),
        ("invoke word-count -d x -n 6", "failovers"),
        ("lease word-count", "wait ms: how long"),
        ("tail", "score 0.910, next"),
    ],
)
def test_every_table_fits_80_columns(server: ContractServer, arguments: str, said: str) -> None:
    shown = on_a_terminal(server.url, *arguments.split())
    assert " ".join(said.split()) in " ".join(shown.split()), shown
    assert [line for line in shown.splitlines() if len(line.split("\r")[-1]) > 80] == []


def test_on_a_terminal_the_answer_and_the_line_about_it_are_two_lines(server: ContractServer) -> None:
    answer, about, *rest = on_a_terminal(server.url, "invoke", "word-count", "-d", "x", columns=200).splitlines()
    assert (answer, rest) == ('{"total":3}', [])
    assert about.startswith("200 from azure/somewhere")


def test_tail_tells_an_unknown_function_from_one_that_nobody_called(server: ContractServer) -> None:
    server.records.clear()
    assert fiso(server.url, "tail", "--function", "word-count").exit_code == 0
    unknown = fiso(server.url, "tail", "--function", "nosuch")
    assert (unknown.exit_code, unknown.stdout_bytes) == (1, b"")
    assert b"no function 'nosuch' in the catalog" in unknown.stderr_bytes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "nobody"], "status 404 Unknown function: no function 'nobody' in catalog version 4"),
        (
            ["invoke", "word-count", "--data", "@/no/such/file"],
            "cannot read '/no/such/file': No such file or directory",
        ),
        (["invoke", "word-count", "--query", "top"], "--query 'top' is not of the form NAME=VALUE"),
        (["invoke", "word-count", "--header", "a b: c"], "--header 'a b: c' is not of the form 'Name: value'"),
        (["invoke", "word-count", "-H", "nothing"], "--header 'nothing' is not of the form 'Name: value'"),
        (["invoke", "word-count", "-X", "TRACE"], "--method 'TRACE' is none of"),
        (["invoke", "word-count", "-n", "2", "--output", "x"], "--output takes the answer of one request"),
        (["tail", "--api-url", "ftp://x"], "'ftp://x' is not an address"),
    ],
)
def test_a_failure_is_one_line_and_exits_non_zero(server: ContractServer, arguments: list[str], said: str) -> None:
    done = fiso(server.url, *arguments)
    assert done.exit_code != 0
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", ["invoke f", "invoke f -n 9 -c 3", "explain f", "endpoints", "tail", "tail -f"])
def test_an_api_that_is_not_there_is_one_line_with_the_way_out(arguments: str) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    done = fiso(url, *arguments.split())
    assert done.exit_code != 0
    assert f'cannot reach {url}: is the local cloud up? try "fiso local up" or "make run"' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
