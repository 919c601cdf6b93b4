"""Google Cloud Storage and Azure Blob Storage in memory, on loopback: as much of their REST as a front door there uses,
and the address that gives a container its token. Held against the official clients by
tests/contract/test_object_store.py. `python -m localcloud.drill.object_store PORT`.
"""

import json
import re
import sys
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape  # nosec B406: writes, reads nothing

HOST = "127.0.0.1"
_DATE = "Mon, 30 Nov 2026 12:00:00 GMT"
_MODIFIED = {"last-modified": _DATE}
_JSON, _XML = {"content-type": "application/json; charset=UTF-8"}, {"content-type": "application/xml"}
TOKEN = "a-containers-token"  # nosec B105 # of nothing


@dataclass(slots=True)
class Objects:
    """Objects by container and name: bytes and generation. `page` is how many a listing names at once."""

    page: int = 1_000
    stored: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    is_away: bool = False
    lost_answers: int = 0
    """So many objects more are stored, and whoever wrote them is told that it failed."""
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

    def listed(self, container: str, prefix: str, delimiter: str, after: str) -> "Listing":
        """One page: names with sizes and generations, what lies deeper by its folder alone, where the next begins."""
        with self.lock:
            found = sorted(
                (name, len(body), made) for (of, name), (body, made) in self.stored.items() if of == container
            )
        entries: dict[str, tuple[int, int] | None] = {}
        for name, size, made in found:
            deeper, end, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
            if name.startswith(prefix):
                entries[prefix + deeper + end if end else name] = None if end else (size, made)
        rest = [each for each in sorted(entries.items()) if each[0] > after]
        return Listing(rest[: self.page], rest[self.page - 1][0] if len(rest) > self.page else "")


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in order, each with size and generation, or none for a folder; after which name the next page begins."""

    entries: list[tuple[str, tuple[int, int] | None]]
    then: str


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
        elif parts.path.startswith(("/storage/", "/upload/storage/", "/download/storage/")):
            self._google(parts.path, asked, body)
        else:
            self._azure(parts.path, asked, body)

    do_PUT = do_POST = do_GET  # noqa: N815 - the base class calls them

    def _google(self, path: str, asked: dict[str, str], body: bytes) -> None:
        container, _, rest = path.partition("/b/")[2].partition("/o")
        if self.command == "POST":
            self._insert(container, asked, body)
        elif rest:
            found = self.server.objects.stored.get((container, unquote(rest[1:])))
            if found is None:
                self._google_error(404, "notFound")
            else:
                self._content(found[0], **{"x-goog-generation": str(found[1])})
        else:
            page = self._listed(container, asked, "pageToken")
            document: dict[str, Any] = {
                "kind": "storage#objects",
                "items": [
                    {"name": name, "bucket": container, "size": str(of[0]), "generation": str(of[1])}
                    for name, of in page.entries
                    if of is not None
                ],
                "prefixes": [name for name, of in page.entries if of is None],
            }
            if page.then:
                document["nextPageToken"] = page.then
            self._send(200, json.dumps(document).encode(), **_JSON)

    def _insert(self, container: str, asked: dict[str, str], body: bytes) -> None:
        """`uploadType=media`, and `multipart`, in which the object's name stands in the first part."""
        name = asked.get("name", "")
        if asked.get("uploadType") == "multipart":
            head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
            parts: Any = message_from_bytes(head + body).get_payload()
            said, content = parts
            name = json.loads(said.get_payload())["name"]
            body = content.get_payload(decode=True)
        condition = asked.get("ifGenerationMatch")
        made = self.server.objects.put(
            (container, name),
            body,
            absent=condition == "0",
            generation=int(condition) if condition and condition != "0" else None,
        )
        if made is None:
            self._google_error(412, "conditionNotMet")
        else:
            document = {"kind": "storage#object", "name": name, "bucket": container, "generation": str(made)}
            self._send(200, json.dumps(document | {"size": str(len(body))}).encode(), **_JSON)

    def _google_error(self, status: int, reason: str) -> None:
        error = {"code": status, "message": reason, "errors": [{"message": reason, "reason": reason}]}
        self._send(status, json.dumps({"error": error}).encode(), **_JSON)

    def _azure(self, path: str, asked: dict[str, str], body: bytes) -> None:
        container, _, name = path[1:].partition("/")
        objects, place = self.server.objects, (container, unquote(name))
        if "x-ms-version" not in self.headers:
            self._azure_error(400, "MissingRequiredHeader")
        elif self.command == "PUT":
            if self.headers.get("x-ms-blob-type") != "BlockBlob":
                self._azure_error(400, "InvalidHeaderValue")
                return
            match = self.headers.get("if-match")
            made = objects.put(
                place,
                body,
                absent=self.headers.get("if-none-match") == "*",
                generation=int(match.strip('"'), 16) if match else None,
            )
            if made is None:
                self._azure_error(*((412, "ConditionNotMet") if match else (409, "BlobAlreadyExists")))
            else:
                self._send(201, etag=f'"{made:#x}"', **_MODIFIED)
        elif asked.get("comp") == "list":
            self._send(200, _blobs(container, asked, self._listed(container, asked, "marker")), **_XML)
        else:
            found = objects.stored.get(place)
            if found is None:
                self._azure_error(404, "BlobNotFound")
            else:
                self._content(found[0], etag=f'"{found[1]:#x}"', **{"x-ms-blob-type": "BlockBlob"})

    def _azure_error(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0' encoding='utf-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._send(status, body.encode(), **(_XML | {"x-ms-error-code": code}))

    def _listed(self, container: str, asked: dict[str, str], token: str) -> Listing:
        objects = self.server.objects
        return objects.listed(container, asked.get("prefix", ""), asked.get("delimiter", ""), asked.get(token, ""))

    def _content(self, body: bytes, **headers: str) -> None:
        """All of it, or the part that was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("x-ms-range") or self.headers.get("range") or "")
        headers |= {"content-type": "application/octet-stream", **_MODIFIED}
        if asked is None or not body:
            self._send(200, body, **headers)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
        headers["content-range"] = f"bytes {first}-{last}/{len(body)}"
        self._send(206, body[first : last + 1], **headers)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def _send(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        if self.command != "GET" and status < 300 and self.server.objects.lost_answers > 0:
            self.server.objects.lost_answers -= 1
            status, body, headers = 503, b"", {}
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        if not self.server.keeps_connections:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def _blobs(container: str, asked: dict[str, str], page: Listing) -> bytes:
    """Azure's answer to List Blobs; clients take what they asked for from it when they ask for the next page."""
    echoed = "".join(
        f"<{name}>{escape(asked.get(name.lower(), ''))}</{name}>" for name in ("Prefix", "Marker", "Delimiter")
    )
    blobs = ""
    for name, of in page.entries:
        if of is None:
            blobs += f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"
        else:
            size, made = of
            blobs += (
                f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{_DATE}</Last-Modified>"
                f"<Etag>{made:#x}</Etag><Content-Length>{size}</Content-Length><BlobType>BlockBlob</BlobType>"
                "</Properties></Blob>"
            )
    return (
        f"<?xml version='1.0' encoding='utf-8'?><EnumerationResults ContainerName='{escape(container)}'>"
        f"{echoed}<Blobs>{blobs}</Blobs><NextMarker>{escape(page.then)}</NextMarker></EnumerationResults>"
    ).encode()


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve_forever()
