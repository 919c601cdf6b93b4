"""What an orchestrator speaks to, over TLS on this machine: S3 with a signed catalog, empty tables, a function.

Each answer takes 4 ms. Runs in a process of its own: `python -m tests.lab.bench.cold_stores FOLDER`.
"""

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.clock import utc_now
from fiso.codecs import signature
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Policy
from fiso_cli.training import keys
from tests.certificates import self_signed
from tests.lab.bench.ours import EVENT
from tests.lab.bench.processor_share import Place
from tests.lab.chaos.folder_bucket import BUCKET, FolderBucket

ANSWERS_AFTER_S = 0.004
STAGE = "local"
FUNCTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The environment of a function that speaks to them."""

    environ: dict[str, str]


@contextmanager
def running(folder: Path, place: Place) -> Iterator[Stores]:
    """The stores, in a process that lasts as long as the block."""
    signer = keys.new()
    S3Snapshots(FolderBucket(folder=folder / "s3"), BUCKET, keys.sealing(signer, STAGE)).publish(catalog())
    certificate = self_signed(folder)
    authorities = folder / "authorities.pem"  # what is read for a connection is the machine's own, and this one
    usual = ssl.get_default_verify_paths().cafile
    authorities.write_text((Path(usual).read_text() if usual else "") + certificate.read_text())
    command = [sys.executable, "-m", "tests.lab.bench.cold_stores", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        place(process.pid)
        port = process.stdout.readline().strip()
        try:
            environ = environ_of(f"https://localhost:{port}", signature.text_of(signer.public.modulus))
            yield Stores(environ={**environ, "SSL_CERT_FILE": str(authorities)})
        finally:
            process.terminate()


def environ_of(url: str, catalog_key: str) -> dict[str, str]:
    """What a function is deployed with, where the stores are at an address."""
    return {
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": url,
        "FISO_STAGE": STAGE,
        "FISO_LOG_TABLE": "log",
        "FISO_STATE_TABLE": "states",
        "FISO_BUCKET": BUCKET,
        "FISO_ALLOW_LOOPBACK": "1",
        "FISO_CATALOG_KEYS": catalog_key,
        "POWERTOOLS_SERVICE_NAME": "fiso",
        "COLD_EVENT": json.dumps(EVENT),
    }


def catalog() -> Snapshot:
    """Three functions with three copies each."""
    functions = {}
    for name in ("word-count", *(f"other-{number}" for number in range(FUNCTIONS - 1))):
        endpoints = tuple(
            Endpoint(id=EndpointId(region), provider=Provider.AWS, region=region, memory_mb=512, address=f"fiso-{name}")
            for region in ("us-east-1", "eu-west-1", "us-west-2")
        )
        named = FunctionName(name)
        functions[named] = CatalogEntry(name=named, function_type="text", endpoints=endpoints, policy=Policy(version=1))
    return Snapshot(version=1, published_at=utc_now(), functions=functions)


class Answers(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = 65_536, True
    bucket: ClassVar[FolderBucket]

    def do_GET(self) -> None:
        """An object of S3's, or none."""
        body = self.bucket.content(self.path.partition(f"/{BUCKET}/")[2])
        self.answer(404 if body is None else 200, body or b"", etag='"1"')

    def do_POST(self) -> None:
        """A table without items, or the function."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if "x-amz-target" in self.headers:
            is_query = self.headers["x-amz-target"].endswith(".Query")
            self.answer(200, json.dumps({"Items": [], "Count": 0} if is_query else {}).encode())
        else:
            answer = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "3"}
            self.answer(200, json.dumps(answer).encode(), **{"x-amz-executed-version": "$LATEST"})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        time.sleep(ANSWERS_AFTER_S)
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body)), "content-type": "application/json"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main(folder: Path) -> None:
    """Serve until this process is ended."""
    Answers.bucket = FolderBucket(folder=folder / "s3")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_port, flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
