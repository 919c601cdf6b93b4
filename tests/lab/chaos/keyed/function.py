"""The function of an experiment: an HTTP server that counts what it runs, per idempotency key."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Executions = dict[str, list[bytes]]


@dataclass(slots=True, kw_only=True)
class CountingFunction:
    """What ran, in order: per key the payloads. `takes_s` is how long a run takes."""

    takes_s: float
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ran: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def note(self, key: str, payload: bytes) -> int:
        """One run begins; gives its number under this key."""
        with self._lock:
            self._ran[key].append(payload)
            return len(self._ran[key])

    def executions(self) -> Executions:
        """What ran so far."""
        with self._lock:
            return {key: list(payloads) for key, payloads in self._ran.items()}


@contextmanager
def serving(takes_s: float) -> Iterator[CountingFunction]:
    """The function behind a free port; gone with the context."""
    function = CountingFunction(takes_s=takes_s)
    server = _Server(("127.0.0.1", 0), _handler(function))
    function.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield function
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed does not read its answer; that is the experiment."""


def _handler(function: CountingFunction) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            payload = self.rfile.read(int(self.headers["content-length"]))
            key = self.headers.get("x-key") or ""  # as the caller spells it: the key itself comes scoped
            number = function.note(key, payload)
            time.sleep(function.takes_s)
            body = f"run {number} of {key} for ".encode() + payload
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the experiment keeps a history of its own."""

    return Handler
