"""The stores of a front door elsewhere, and the local server that stands for them, beside the vendors' own clients.

Azure's and Google's libraries work on what FISO's clients wrote, and the other way round. What both send to Azure for
one thing is compared; each of FISO's requests to Google is one that its discovery document describes.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import googleapiclient
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobPrefix, ContainerClient
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud import storage  # type: ignore[import-untyped]
from google.oauth2.credentials import Credentials

from fiso.adapters.aws.s3 import Bucket
from fiso.adapters.objects.clients import AZURE_VERSION, AzureObjects, GoogleObjects
from fiso.domain.errors import WriteConflict
from fiso_client.core.transport import HttpTransport
from localcloud.drill.object_store import Objects, Server

MIRROR, CLOUDS = "mirror", ("azure", "google")
NAMES = ["d/a b&c", "d/b", "d/e/f", "d/é+%", "x"]
ASKED = ("if-match", "if-none-match", "x-ms-blob-type", "range")
"""Headers that say what a request to a store is; `x-ms-range` is Azure's own name of the last."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(objects=Objects(page=2))
    thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport()
    yield made
    made.close()


class ToLoopback(RequestsTransport):  # type: ignore[misc]
    """Sends to the local server what Azure's library sends to an account, and keeps what that was."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.sent = url, list[Any]()

    def send(self, request: Any, **options: Any) -> Any:
        self.sent.append((request.method, request.url, dict(request.headers)))
        request.url = self.url + request.url.partition(".net")[2]
        return super().send(request, **options)


class Theirs:
    """What the vendor's own client does, in the words of the tests."""

    refusals: tuple[type[Exception], ...]
    absent: type[Exception]

    def __init__(self, cloud: str, server: Server) -> None:
        if cloud == "azure":
            self.over = ToLoopback(server.url)
            account = "https://account.blob.core.windows.net"
            self.container: Any = ContainerClient(account, MIRROR, transport=self.over, retry_total=0)
            self.refusals, self.absent = (ResourceExistsError, ResourceModifiedError), ResourceNotFoundError
        else:
            known: Any = Credentials("local")  # type: ignore[no-untyped-call]
            client = storage.Client(project="p", credentials=known, client_options={"api_endpoint": server.url})
            self.bucket: Any = client.bucket(MIRROR)
            self.refusals, self.absent = (PreconditionFailed,), NotFound
        self.cloud = cloud
        self.named = {"headers": {"authorization": "Bearer local"}}

    def read(self, name: str, first: int | None = None) -> bytes:
        if self.cloud == "azure":
            part = {} if first is None else {"offset": 0, "length": first}
            return bytes(self.container.download_blob(name, **part, **self.named).readall())
        end = None if first is None else first - 1
        return bytes(self.bucket.blob(name).download_as_bytes(end=end))

    def write(self, name: str, body: bytes, *, absent: bool = False, match: str | None = None) -> str:
        if self.cloud == "azure":
            conditions: dict[str, Any] = {} if match is None else {
                "etag": match, "match_condition": MatchConditions.IfNotModified
            }  # fmt: skip
            blob = self.container.get_blob_client(name)
            return str(blob.upload_blob(body, overwrite=not absent, **conditions, **self.named)["etag"])
        blob = self.bucket.blob(name)
        generation = 0 if absent else (None if match is None else int(match))
        blob.upload_from_string(body, if_generation_match=generation)
        return str(blob.generation)

    def listed(self, prefix: str, delimiter: str) -> tuple[list[tuple[str, int]], list[str]]:
        """Objects with sizes, and folders; page by page, as the library goes."""
        if self.cloud == "azure":
            found = list(self.container.walk_blobs(prefix, delimiter=delimiter, **self.named)) if delimiter else []
            found = found or list(self.container.list_blobs(name_starts_with=prefix, **self.named))
            folders = [each.name for each in found if isinstance(each, BlobPrefix)]
            return [(each.name, each.size) for each in found if not isinstance(each, BlobPrefix)], folders
        asked = self.bucket.list_blobs(prefix=prefix, delimiter=delimiter or None)
        blobs = [(each.name, each.size) for each in asked]
        return blobs, sorted(asked.prefixes)


def ours(cloud: str, server: Server, transport: HttpTransport) -> Bucket:
    kind = GoogleObjects if cloud == "google" else AzureObjects
    return Bucket(kind(transport, lambda: "local", url=server.url), MIRROR)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_each_reads_what_the_other_wrote(cloud: str, server: Server, transport: HttpTransport) -> None:
    own, theirs = ours(cloud, server, transport), Theirs(cloud, server)
    for number, name in enumerate(NAMES):
        body = f"{number} of {name}".encode()
        if number % 2:
            own.write(name, body, "text/plain")
        else:
            theirs.write(name, body)
        assert theirs.read(name) == own.read(name) == body
        assert theirs.read(name, 3) == own.read(name, first=3) == body[:3]
    with pytest.raises(theirs.absent):
        theirs.read("nothing")
    assert own.read("nothing") is None


@pytest.mark.parametrize("cloud", CLOUDS)
def test_both_are_refused_alike_where_a_condition_does_not_hold(
    cloud: str, server: Server, transport: HttpTransport
) -> None:
    own, theirs = ours(cloud, server, transport), Theirs(cloud, server)
    first = own.write("a", b"1", "text/plain", IfNoneMatch="*")
    with pytest.raises(theirs.refusals):
        theirs.write("a", b"2", absent=True)
    second = theirs.write("a", b"2", match=str(first))
    assert (own.etag("a"), own.read("a")) == (second, b"2")
    for name, match in (("a", str(first)), ("b", second)):
        with pytest.raises(WriteConflict):
            own.write(name, b"3", "text/plain", IfMatch=match)
    for name in ("a", "b"):
        with pytest.raises(theirs.refusals):
            theirs.write(name, b"3", match=str(first))
    with pytest.raises(WriteConflict):
        own.write("a", b"3", "text/plain", IfNoneMatch="*")
    assert own.read("a") == b"2"


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("prefix", ["", "d/", "d/é", "nothing/"])
def test_both_list_the_same_page_by_page(cloud: str, prefix: str, server: Server, transport: HttpTransport) -> None:
    own, theirs = ours(cloud, server, transport), Theirs(cloud, server)
    for name in NAMES:
        own.write(name, name.encode(), "text/plain")
    assert [(each.key, each.size) for each in own.entries(prefix)] == theirs.listed(prefix, "")[0]
    files, folders, then = list[Any](), list[str](), None
    while True:
        page = own.page(prefix, then=then, folders=True)
        files += [(each.key, each.size) for each in page.entries]
        folders += page.folders
        then = page.then
        if then is None:
            break
    if prefix != "nothing/":
        assert (files, sorted(folders)) == theirs.listed(prefix, "/")


class Kept(HttpTransport):
    """FISO's transport, which keeps what it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = list[tuple[str, str, dict[str, str]]]()

    def send(self, method: str, url: str, *, headers: Any, **options: Any) -> Any:
        self.sent.append((method, url, dict(headers)))
        return super().send(method, url, headers=headers, **options)


def meant(sent: tuple[str, str, dict[str, str]]) -> tuple[object, ...]:
    """A request without what its sender says of itself, or lets the store say by default."""
    method, url, headers = sent
    parts = urlsplit(url)
    lower = {name.lower().replace("x-ms-range", "range"): value for name, value in headers.items()}
    query = {
        name: value
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in ("include", "maxresults")
    }
    return method, parts.path, query, {name: lower[name] for name in ASKED if name in lower}


DONE: dict[str, tuple[Callable[[Bucket], object], Callable[[Theirs], object]]] = {
    "write": (lambda own: own.write("d/a b&c", b"1", "text/plain"), lambda they: they.write("d/a b&c", b"1")),
    "write once": (
        lambda own: own.write("d/é+%", b"1", "text/plain", IfNoneMatch="*"),
        lambda they: they.write("d/é+%", b"1", absent=True),
    ),
    "write over": (
        lambda own: own.write("a", b"1", "text/plain", IfMatch='"0x1"'),
        lambda they: they.write("a", b"1", match='"0x1"'),
    ),
    "read a part": (lambda own: own.read("a", first=3), lambda they: they.read("a", 3)),
    "list": (lambda own: own.page("d/"), lambda they: they.listed("d/", "")),
    "list folders": (lambda own: own.page("d/", folders=True), lambda they: they.listed("d/", "/")),
}


@pytest.mark.parametrize("done", DONE)
def test_what_is_sent_to_azure_is_what_its_own_client_sends(done: str, server: Server) -> None:
    theirs, transport = Theirs("azure", server), Kept()
    by_ours, by_theirs = DONE[done]
    with suppress(WriteConflict):
        by_ours(ours("azure", server, transport))
    with suppress(HttpResponseError):
        by_theirs(theirs)
    transport.close()
    first = meant(theirs.over.sent[0])
    assert meant(transport.sent[0]) == first
    version = {name.lower(): value for name, value in theirs.over.sent[0][2].items()}["x-ms-version"]
    assert version >= AZURE_VERSION, "a version that the service took before this one of the library's"


def test_what_is_sent_to_google_is_what_its_discovery_document_describes(server: Server) -> None:
    file = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "storage.v1.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    methods, general = document["resources"]["objects"]["methods"], document["parameters"]
    insert, get, listing = methods["insert"], methods["get"], methods["list"]
    transport = Kept()
    own = ours("google", server, transport)
    for method in (insert, listing):
        transport.sent.clear()
        if method is insert:
            own.write("d/a b&c", b"1", "text/plain", IfNoneMatch="*")
        else:
            own.page("d/", folders=True)
        ((verb, url, _),) = transport.sent
        upload = method.get("mediaUpload", {}).get("protocols", {}).get("simple", {}).get("path")
        path = upload if method is insert else f"/{document['servicePath']}{method['path']}"
        assert (verb, urlsplit(url).path) == (method["httpMethod"], path.replace("{bucket}", MIRROR))
        assert {name for name, _ in parse_qsl(urlsplit(url).query)} <= {*method["parameters"], *general}
    transport.sent.clear()
    assert own.read("d/a b&c", first=1) == b"1"
    ((verb, url, headers),) = transport.sent
    path = get["path"].replace("{bucket}", MIRROR).replace("{object}", "d%2Fa%20b%26c")
    assert (verb, urlsplit(url).path, headers["range"]) == ("GET", f"/{document['servicePath']}{path}", "bytes=0-0")
    assert get["supportsMediaDownload"]
    assert parse_qsl(urlsplit(url).query) == [("alt", "media")]
    assert "media" in general["alt"]["enum"] or general["alt"]["enum"] == ["json"]
    transport.close()
