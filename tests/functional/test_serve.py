"""What a container that serves FISO does on the wire: bounds, slow and hostile clients, its end, its processes."""

import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from threading import Event, Thread

import pytest

from fiso.settings import BadSetting
from functions.server.wiring import ServerSettings, application_settings
from tests.functional.serving import HOST, INVOKE, answers, over_rigs, served

HEAD = b"POST /v1/invoke/word-count HTTP/1.1\r\nhost: a\r\n"
FULL = HEAD + b"content-length: 2\r\nconnection: close\r\n\r\n{}"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_one_connection_serves_many_requests_and_the_answer_is_whole() -> None:
    with served(over_rigs(answers("hello"))) as server:
        connection = server.connection()
        for number in range(3):
            connection.request("POST", INVOKE, body=b"{}", headers={"content-type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, answer.read(), number) == (200, b"hello", number)
            assert answer.headers["x-fiso-provider"]
        connection.request("HEAD", "/v1/nothing")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (404, b"")
        connection.request("GET", "/readyz")
        assert json.loads(connection.getresponse().read())["ready"] is True
        connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 69_200 + b"\r\n\r\n", 431),
        (HEAD + b"content-length: 6000000\r\n\r\n", 413),
        (HEAD + b"content-length: +2\r\n\r\n{}", 400),
        (HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
        (HEAD + b"content-length: 2, 2\r\n\r\n{}", 400),
        (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\nhost: a\n\n", 400),
    ],
)
def test_what_two_servers_could_read_differently_is_refused_and_the_connection_closed(
    request_bytes: bytes, status: int
) -> None:
    """Each followed by a request that a reader who is led astray would take for a second one."""
    with served(over_rigs(answers())) as server:
        answer = server.raw(request_bytes + FULL)
    assert status_of(answer) == status
    assert answer.count(b"HTTP/1.1 ") + answer.count(b"HTTP/1.0 ") == 1
    assert b"application/problem+json" in answer


def test_a_length_beside_chunks_leads_nobody_astray() -> None:
    """The chunks count (RFC 9112, 6.3), and what follows them is the next request, not a part of this one."""
    smuggled = HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    with served(over_rigs(answers())) as server:
        answer = server.raw(smuggled + FULL)
    assert answer.count(b"HTTP/1.1 200") == 2


def test_a_header_with_an_underscore_is_nobody() -> None:
    with served(over_rigs(answers())) as server:
        answer = server.raw(HEAD + b"X_Fiso_Timeout_Ms: nonsense\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    assert status_of(answer) == 200


def test_slow_clients_hold_up_nobody_and_are_given_up() -> None:
    with served(over_rigs(answers()), threads=1, slowest_s=0.5) as server:
        slow: list[bytes] = []
        threads = [Thread(target=lambda: slow.append(server.raw(HEAD, b"x: y\r\n", pause_s=0.2))) for _ in range(20)]
        for thread in threads:
            thread.start()
        assert status_of(server.raw(FULL)) == 200
        for thread in threads:
            thread.join()
    assert [status_of(answer) for answer in slow] == [408] * 20


def test_connections_that_are_reset_leave_nothing_behind() -> None:
    kept = HEAD + b"content-length: 2\r\n\r\n{}"
    with served(over_rigs(answers("hello"))) as server:
        for number in range(60):
            with socket.create_connection((HOST, server.port), timeout=10) as sock:
                sock.sendall(kept if number % 3 else kept[:-1])
                if number % 3 == 2:
                    assert status_of(sock.recv(65_536)) == 200
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ends_at = time.monotonic() + 20
        while server.listener.connections and time.monotonic() < ends_at:
            time.sleep(0.05)
        assert server.listener.connections == 0


def test_more_than_can_wait_is_refused_at_once_and_told_when_to_come_again() -> None:
    began, goes_on, found = Event(), Event(), list[bytes]()

    def wait() -> None:
        began.set()
        goes_on.wait(10)

    def ask() -> Thread:
        thread = Thread(target=lambda: found.append(server.raw(FULL)))
        thread.start()
        return thread

    with served(over_rigs(answers(wait=wait)), threads=1, queue=1) as server:
        threads = [ask()]
        assert began.wait(10)
        threads.append(ask())
        _await(lambda: len(server.listener._dispatcher.queue) == 1)
        threads += [ask() for _ in range(3)]
        _await(lambda: len(found) == 3)
        assert [status_of(answer) for answer in found] == [503] * 3
        assert all(b"\r\nRetry-After: 1\r\n" in answer for answer in found)
        goes_on.set()
        for thread in threads:
            thread.join()
    assert sorted(map(status_of, found)) == [200, 200, 503, 503, 503]


def test_what_is_begun_is_answered_before_the_end_and_readiness_ends_first() -> None:
    began, goes_on, found = Event(), Event(), list[bytes]()

    def wait() -> None:
        began.set()
        goes_on.wait(10)

    with served(over_rigs(answers(wait=wait)), lame_s=1.0) as server:
        idle = server.connection()
        idle.request("GET", "/readyz")
        assert idle.getresponse().read()
        thread = Thread(target=lambda: found.append(server.raw(FULL)))
        thread.start()
        assert began.wait(10)
        server.listener.begin_drain()
        idle.request("GET", "/readyz")
        answer = idle.getresponse()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        goes_on.set()
        thread.join()
        assert server.end()
    assert [status_of(answer) for answer in found] == [200]


def test_who_has_connected_before_the_end_is_answered() -> None:
    """As reported of servers that stop accepting first: what waits in the socket's backlog is cut off."""
    began, goes_on, found = Event(), Event(), list[bytes]()

    def wait() -> None:
        began.set()
        goes_on.wait(10)

    with ExitStack() as stack, served(over_rigs(answers(wait=wait)), connections=1) as server:
        thread = Thread(target=lambda: found.append(server.raw(FULL)))
        thread.start()
        assert began.wait(10)
        waiting = [stack.enter_context(socket.create_connection((HOST, server.port), timeout=20)) for _ in range(2)]
        for sock in waiting:
            sock.sendall(FULL)
        server.listener.begin_drain()
        goes_on.set()
        found += [b"".join(iter(partial(sock.recv, 65_536), b"")) for sock in waiting]
        thread.join()
        assert server.end()
    assert [status_of(answer) for answer in found] == [200] * 3


def test_workers_are_replaced_under_load_without_a_failed_request_and_one_that_dies_too() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.functional.serving"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert program.stderr is not None
    try:
        port = int(program.stderr.readline())
        statuses, over = list[int](), Event()

        def call() -> None:
            connection = http.client.HTTPConnection(HOST, port, timeout=20)
            while not over.is_set():
                connection.request("POST", INVOKE, body=b"{}")
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
            connection.close()

        threads = [Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        _await(lambda: len(statuses) > 20)
        before = _children(program.pid)
        program.send_signal(signal.SIGHUP)
        _await(lambda: len(_children(program.pid)) == 2 and not before & _children(program.pid))
        served_so_far = len(statuses)
        _await(lambda: len(statuses) > served_so_far + 20)
        over.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}
        dead = min(_children(program.pid))
        os.kill(dead, signal.SIGKILL)
        _await(lambda: len(_children(program.pid)) == 2 and dead not in _children(program.pid))
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    finally:
        program.kill()
        program.communicate()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"PORT": "http"}, "PORT must be a whole number"),
        ({"FISO_SERVE_WORKERS": "-1"}, "FISO_SERVE_WORKERS"),
        ({"FISO_SERVE_THREADS": "9999999"}, "up to 512"),
    ],
)
def test_a_limit_that_is_none_is_told(environ: dict[str, str], says: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(says)):
        ServerSettings.from_environ(environ)


STAGE = {"FISO_LOG_TABLE": "l", "FISO_STATE_TABLE": "s", "FISO_BUCKET": "b"}


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({"FISO_STAGE": "prod", "FISO_AUTH": "iam", "FISO_GATEWAY_HASHES": "a" * 64}, "0.0.0.0"),
        ({"FISO_STAGE": "local"}, "0.0.0.0"),
    ],
)
def test_nobody_is_let_in_on_a_headers_word(environ: dict[str, str], host: str) -> None:
    with pytest.raises(BadSetting, match="FISO_AUTH must be jwt"):
        application_settings(STAGE | environ, host)


def _children(pid: int) -> set[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


def _await(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.02)
