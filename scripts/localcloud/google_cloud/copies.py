"""Copies: what is deployed, running under the vendor's functions framework, each behind a door that asks who calls.

A copy's interpreter is started without `site`: it finds the framework's libraries and its own folder, nothing of this
checkout. So a package that is not whole does not run here either.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localcloud import doors
from localcloud.google_cloud import telemetry
from localcloud.google_cloud.identity import refusal
from localcloud.google_cloud.world import Document, Refused, World

HOST = "127.0.0.1"
STARTS_WITHIN_S = 30.0
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "host", "authorization", "keep-alive"})
_PROGRAM = """
import sys
sys.path.append({libraries!r})
sys.path.insert(0, {folder!r})
import functions_framework
from functions_framework._http import create_server
app = functions_framework.create_app({target!r}, "main.py", "http")
from importlib import util
spec = util.spec_from_file_location("local_door", {doors!r})
door = sys.modules["local_door"] = util.module_from_spec(spec)
spec.loader.exec_module(door)
app.wsgi_app = door.GuardedWsgi(
    application=app.wsgi_app, port={port}, door=door.Door.FUNCTION, behind=frozenset([{behind}])
)
create_server(app, False, control_socket_disable=True).run({host!r}, {port})
"""


@dataclass(slots=True)
class _Copy:
    door: ThreadingHTTPServer
    process: "subprocess.Popen[bytes] | None" = None
    port: int = 0


class Copies:
    """The running copies of a world, by their services' names."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._copies: dict[str, _Copy] = {}
        world.started, world.removed = self.start, self.stop

    def start(self, name: str, service: Document) -> str:
        """Start a service's newest revision in place of the one before; its address stays. `Refused` where the
        container does not come up, as Cloud Run says it."""
        copy = self._copies.get(name) or self._opened(name)
        port = _free_port()
        process = self._spawned(service, port, behind=copy.door.server_address[1])
        if not _comes_up(process, port):
            _end(process)
            text = f"The user-provided container failed to start and listen on the port defined by PORT={port}."
            raise Refused(400, "FAILED_PRECONDITION", text)
        before, copy.process, copy.port = copy.process, process, port
        if before:
            _end(before)
        return f"http://{HOST}:{copy.door.server_address[1]}"

    def stop(self, name: str) -> None:
        """End what runs by a service's name."""
        copy = self._copies.pop(name.removeprefix("run/"), None)
        if copy is None:
            return
        copy.door.shutdown()
        copy.door.server_close()
        if copy.process:
            _end(copy.process)

    def close(self) -> None:
        """End all."""
        for name in [*self._copies]:
            self.stop(name)

    def _opened(self, name: str) -> _Copy:
        copies, world = self._copies, self._world

        class Door(_Door):
            def admitted(self) -> tuple[int, int]:
                own = copies[name]
                audience = f"http://{HOST}:{own.door.server_address[1]}"
                return refusal(world, name, audience, self.headers.get("authorization", "")), own.port

            def told(self, status: int, seconds: float) -> None:
                url = f"http://{HOST}:{copies[name].door.server_address[1]}{self.path}"
                telemetry.tell(world, name, method=self.command, url=url, status=status, seconds=seconds)

        copy = _Copy(ThreadingHTTPServer((HOST, 0), Door))
        copy.door.daemon_threads = True
        threading.Thread(target=copy.door.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._copies[name] = copy
        return copy

    def _spawned(self, service: Document, port: int, behind: int) -> "subprocess.Popen[bytes]":
        built, container = service["image"], service["template"]["containers"][0]
        own = {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}
        program = _PROGRAM.format(
            libraries=sysconfig.get_paths()["purelib"],
            folder=built["folder"],
            target=built["target"],
            host=HOST,
            port=port,
            doors=doors.__file__,
            behind=behind,
        )
        command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", program]
        around = {"PATH": os.defpath, "PORT": str(port), "K_SERVICE": service["name"].rpartition("/")[2], **own}
        log = (self._world.folder / "copies.log").open("ab")
        with log:
            return subprocess.Popen(
                command, cwd=built["folder"], env=around, stdout=log, stderr=log, start_new_session=True
            )


class _Door(BaseHTTPRequestHandler):
    """Cloud Run's front: no request reaches a copy whose caller may not call it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def admitted(self) -> tuple[int, int]:
        """The status of a refusal or 0, and the copy's port."""
        raise NotImplementedError

    def told(self, status: int, seconds: float) -> None:
        """A request that a copy answered, or should have."""
        raise NotImplementedError

    def _serve(self) -> None:
        began = time.monotonic()
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        named = {name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers}
        own = int(self.connection.getsockname()[1])
        visit = doors.Visit(headers=named, caller=self.client_address, port=own)
        is_refused = doors.refusal(visit, doors.Door.FUNCTION) is not None
        status, port = (403, 0) if is_refused else self.admitted()
        if status:
            self._send(status, [("content-type", "text/html")], b"<h1>Error: Forbidden</h1>" if status == 403 else b"")
            return
        connection = http.client.HTTPConnection(HOST, port, timeout=300)
        try:
            passed = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            connection.request(self.command, self.path, body=content, headers=passed)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
            whole = answer.read()
            self.told(answer.status, time.monotonic() - began)
            self._send(answer.status, kept, whole)
        except (OSError, http.client.HTTPException):
            self.told(503, time.monotonic() - began)
            self._send(503, [("content-type", "text/plain")], b"Service Unavailable")
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Copies log for themselves."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _comes_up(process: "subprocess.Popen[bytes]", port: int) -> bool:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return True
        time.sleep(0.05)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The copy and its workers: they are a process group of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
