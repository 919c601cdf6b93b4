"""A cloud on loopback that takes everything: Lambda's Invoke API and plain HTTP. It counts what reaches it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = b'{"statusCode": 200, "headers": {"content-type": "application/json"}, "body": "{}"}'


class Provider(ThreadingHTTPServer):
    """Every POST is answered at once, over kept-alive connections."""

    daemon_threads = True
    hits = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Provider

    def do_POST(self) -> None:
        """One call. Written in one piece: two would wait for each other."""
        self.server.hits += 1
        self.rfile.read(int(self.headers.get("content-length", "0")))
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n"
        self.wfile.write(head.encode() + ANSWER)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving() -> Iterator[Provider]:
    """The provider while the context lasts."""
    provider = Provider(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=provider.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.shutdown()
        thread.join()
        provider.server_close()
