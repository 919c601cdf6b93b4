"""What stands around the SSRF experiment: a canary on this machine, names that lie, connections that are noted."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fiso.domain.address import is_loopback
from tests.lab.chaos.experiments.ssrf_corpus import HOSTILE_NAMES

HERE = "127.0.0.1"


@dataclass(kw_only=True)
class Canary:
    """A server that nobody may reach; `hits` counts every connection, whatever is sent on it."""

    port: int
    hits: int = 0

    def hits_so_far(self) -> int:
        """The count, once what is on its way has arrived: the canary's own last connection says so."""
        before = self.hits
        with socket.create_connection((HERE, self.port), 1.0) as last:
            last.settimeout(5.0)
            last.recv(1)
        self.hits = max(before, self.hits - 1)
        return self.hits


@contextmanager
def canary() -> Iterator[Canary]:
    """A canary while the block runs."""
    with socket.create_server((HERE, 0)) as listener:
        listener.settimeout(0.05)
        counted = Canary(port=listener.getsockname()[1])
        over = threading.Event()

        def count() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    connection, _ = listener.accept()
                    counted.hits += 1
                    connection.close()

        counting = threading.Thread(target=count, daemon=True)
        counting.start()
        try:
            yield counted
        finally:
            over.set()
            counting.join()


@dataclass(kw_only=True)
class World:
    """Looks names up and connects, as `PublicDial` asks for it.

    A name that is not among `names` stands for this machine: the worst that it could. This machine is connected to in
    earnest, so that a hole shows at the canary; any other number is noted in `numbers` and not connected to.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=lambda: HOSTILE_NAMES)
    numbers: list[str] = field(default_factory=list)
    lookups: int = 0

    def lookup(self, host: str, port: int, _timeout_s: float) -> Sequence[str]:
        """Numbers in any writing as the system reads them, else as `names` say."""
        self.lookups += 1
        if host in self.names:
            return self.names[host]
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return (HERE,)
        return tuple(str(answer[4][0]) for answer in answers)

    def connect(self, number: tuple[str, int], timeout_s: float) -> socket.socket:
        """To this machine only."""
        self.numbers.append(number[0])
        if is_loopback(number[0]):
            return socket.create_connection(number, timeout_s)
        raise ConnectionRefusedError("the experiment connects to this machine only")


@contextmanager
def redirecting(location: str) -> Iterator[str]:
    """A function on this machine that answers `/301` to `/308` with that status and a location; its address."""

    class Redirects(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(int(self.path[1:4]))
            self.send_header("location", location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the experiment says what happened."""

    with ThreadingHTTPServer((HERE, 0), Redirects) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield f"http://{HERE}:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()
