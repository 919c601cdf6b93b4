"""FISO's handler and a few endpoints behind genuine HTTP servers on loopback, each of which can be stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.record import InvocationRecord
from fiso.testing.rig import Rig
from fiso_client import Client
from tests.builders import NOW, an_endpoint, an_entry
from tests.edge import by_time
from tests.front_doors import at_a_door

HOST = "127.0.0.1"
Respond = Callable[[str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


class Server(ThreadingHTTPServer):
    """Answers every request by a function of path, headers (`x-method` among them) and body."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, respond: Respond, port: int = 0) -> None:
        self.respond = respond
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        named = {name.lower(): value for name, value in self.headers.items()} | {"x-method": self.command}
        status, headers, answer = self.server.respond(self.path, named, body)
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(answer)), "connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_POST  # noqa: N815 - the base class calls these

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(respond: Respond, port: int = 0) -> Iterator[Server]:
    """A server while the context lasts; then nobody listens there."""
    server = Server(respond, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class World:
    """Three endpoints and FISO, whose address stays the same when it is stopped and started again.

    `client` is what calls by its leases.
    """

    client: Callable[..., Any] = Client

    def __init__(self, **policy: Any) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.asked: list[str] = []
        self.statuses: dict[str, int] = {}
        self.fails = False
        self.says: tuple[int, bytes] | None = None
        """What FISO's front door answers in its place, or FISO itself, whatever it is asked."""
        self._endpoints = serving(self._endpoint)
        self.functions = self._endpoints.__enter__()
        self.rig = Rig(an_entry(*(self._target(provider) for provider in Provider), **policy))
        self.started_at = monotonic()
        self._fiso: Any = None
        self._port = 0
        self.start_fiso()

    def start_fiso(self) -> None:
        self._fiso = serving(self._answer, self._port)
        self._port = self._fiso.__enter__().server_port

    def stop_fiso(self) -> None:
        self._fiso.__exit__(None, None, None)
        self._fiso = None

    def close(self) -> None:
        if self._fiso is not None:
            self.stop_fiso()
        self._endpoints.__exit__(None, None, None)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def records(self) -> list[InvocationRecord]:
        return by_time(self.rig)

    def decided(self) -> int:
        """How often a lease was asked for."""
        return sum("/v1/decide/" in path for path in self.asked)

    def _target(self, provider: Provider) -> Endpoint:
        return an_endpoint(provider, id=EndpointId(provider), address=f"{self.functions.url}/{provider}")

    def _endpoint(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        name = path.strip("/").partition("/")[0]
        self.calls.append((name, headers, body))
        if self.statuses.get(name) in (429, 503):
            return self.statuses[name], *at_a_door(name, self.statuses[name])
        return self.statuses.get(name, 200), {"x-fiso-cold": "0", "x-fiso-exec-ms": "1.5"}, body.upper()

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        if self.fails:
            return 503, {}, b""
        if self.says is not None:
            return self.says[0], {}, self.says[1]
        self.rig.clock.now = NOW + timedelta(seconds=monotonic() - self.started_at)
        answer = self.rig.send(
            {
                "rawPath": path,
                "headers": headers,
                "requestContext": {"http": {"method": headers["x-method"]}},
                "body": body.decode(),
            }
        )
        return answer["statusCode"], answer["headers"], answer["body"].encode()
