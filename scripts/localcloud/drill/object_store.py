"""Google Cloud Storage and Azure Blob Storage in memory, on loopback: as much of their REST as a front door there uses,
and the address that gives a container its token. `python -m localcloud.drill.object_store PORT`.
"""

import json
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape  # nosec B406: writes, reads nothing

HOST = "127.0.0.1"
TOKEN = "a-containers-token"  # nosec B105 # of nothing


@dataclass(slots=True)
class Objects:
    """Objects by container and name: bytes and generation. `page` is how many a listing names at once."""

    page: int = 1_000
    stored: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    is_away: bool = False
    last: int = 0

    def put(self, place: tuple[str, str], body: bytes, *, absent: bool, generation: int | None) -> int | None:
        """The new generation; None where a condition does not hold."""
        with self.lock:
            standing = self.stored.get(place)
            if (absent and standing) or (generation is not None and (not standing or standing[1] != generation)):
                return None
            self.last += 1
            self.stored[place] = (body, self.last)
            return self.last

    def names(self, container: str, prefix: str, after: str) -> tuple[list[tuple[str, int]], str]:
        """Names with sizes, and after which name the next page begins."""
        with self.lock:
            found = sorted((name, len(body)) for (owner, name), (body, _) in self.stored.items() if owner == container)
        found = [(name, size) for name, size in found if name.startswith(prefix) and name > after]
        page = found[: self.page]
        return page, page[-1][0] if len(found) > self.page else ""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, objects: Objects | None = None, *, keeps_connections: bool = True) -> None:
        self.objects, self.keeps_connections = objects or Objects(), keeps_connections
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        parts, body = urlsplit(self.path), self._body()
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/computeMetadata/") or parts.path == "/token":
            self._send(200, json.dumps({"access_token": TOKEN, "expires_in": 3_600, "token_type": "Bearer"}).encode())  # nosec B105
        elif self.server.objects.is_away:
            self._send(503, b"away")
        elif self.headers.get("authorization") not in (f"Bearer {TOKEN}", "Bearer local"):
            self._send(401, b"no token")
        elif parts.path.startswith(("/storage/", "/upload/")):
            self._google(parts.path, asked, body)
        else:
            self._azure(parts.path, asked, body)

    do_PUT = do_POST = do_GET  # noqa: N815 - the base class calls them

    def _google(self, path: str, asked: dict[str, str], body: bytes) -> None:
        container, _, rest = path.partition("/b/")[2].partition("/o")
        objects = self.server.objects
        if self.command == "POST":
            condition = asked.get("ifGenerationMatch")
            made = objects.put(
                (container, asked["name"]),
                body,
                absent=condition == "0",
                generation=int(condition) if condition and condition != "0" else None,
            )
            self._send(412, b"{}") if made is None else self._send(200, json.dumps({"generation": str(made)}).encode())
        elif rest:
            found = objects.stored.get((container, unquote(rest[1:])))
            if found is None:
                self._send(404, b"{}")
            else:
                self._send(200, found[0], **{"x-goog-generation": str(found[1])})
        else:
            page, then = objects.names(container, asked.get("prefix", ""), asked.get("pageToken", ""))
            items = [{"name": name, "size": str(size)} for name, size in page]
            self._send(200, json.dumps({"items": items} | ({"nextPageToken": then} if then else {})).encode())

    def _azure(self, path: str, asked: dict[str, str], body: bytes) -> None:
        container, _, name = path[1:].partition("/")
        objects, place = self.server.objects, (container, unquote(name))
        if "x-ms-version" not in self.headers:
            self._send(400, b"no version")
        elif self.command == "PUT":
            match = self.headers.get("if-match")
            made = objects.put(
                place,
                body,
                absent=self.headers.get("if-none-match") == "*",
                generation=int(match.strip('"'), 16) if match else None,
            )
            self._send(409 if match is None else 412, b"") if made is None else self._send(201, etag=f'"{made:#x}"')
        elif asked.get("comp") == "list":
            page, then = objects.names(container, asked.get("prefix", ""), asked.get("marker", ""))
            blobs = "".join(
                f"<Blob><Name>{escape(each)}</Name><Properties><Content-Length>{size}</Content-Length></Properties></Blob>"
                for each, size in page
            )
            listed = f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{escape(then)}</NextMarker>"
            self._send(200, f"{listed}</EnumerationResults>".encode())
        else:
            found = objects.stored.get(place)
            if found is None:
                self._send(404, b"<Error><Code>BlobNotFound</Code></Error>")
            else:
                self._send(200, found[0], etag=f'"{found[1]:#x}"')

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        if not self.server.keeps_connections:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve_forever()
