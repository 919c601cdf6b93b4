"""Loopback: a server of the local cloud in threads of its own, and what its handlers share."""

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localcloud.doors import HOST, Door, Visit, refusal


class LoopbackHandler(BaseHTTPRequestHandler):
    """One connection, kept; an answer leaves in one piece."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def content(self, most: int | None = None) -> bytes:
        """The request's body, `most` bytes of it."""
        length = int(self.headers.get("content-length") or 0)
        return self.rfile.read(length if most is None else min(length, most))

    def refused(self) -> str | None:
        """Why whoever asks may not come in; None where they may."""
        named = {name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers}
        port = int(self.connection.getsockname()[1])
        return refusal(Visit(headers=named, caller=self.client_address, port=port), Door.CONTROL)

    def send(self, status: int, content: bytes, kind: str, headers: Mapping[str, str]) -> None:
        """An answer; `kind` is its content type."""
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Each request is in the caller's own progress."""


class LoopbackServer(ThreadingHTTPServer):
    """The server; `url` is where it is."""

    daemon_threads = True

    def __init__(self, handler: type[LoopbackHandler], port: int = 0) -> None:
        super().__init__((HOST, port), handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"
