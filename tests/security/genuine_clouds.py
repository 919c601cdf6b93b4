"""The orchestrator with its genuine callers in front of one server on this machine: what no caller can send fails here
as it would in a cloud."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Thread
from typing import Any

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, Provider
from fiso.domain.request import InvocationRequest
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import OK
from fiso.testing.rig import Rig
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.builders import an_endpoint
from tests.functional.lease_servers import serving

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def at(url: str, provider: Provider, **changes: Any) -> Endpoint:
    """An endpoint of that cloud, at the server; the same for Lambda, whose API it stands for."""
    return an_endpoint(provider, address=ARN if provider is Provider.AWS else url, **changes)


@contextmanager
def rig_over(url: str, *entries: CatalogEntry, **changes: Any) -> Iterator[Rig]:
    """All clouds are the server at `url`, save an endpoint whose address is "good": it answers by itself."""
    clock = ManualClock()
    with closing(HttpTransport(dial=PublicDial(allow_loopback=True))) as transport:
        http = HttpCaller(transport, clock=clock, allow_loopback=True)
        service = SignedService(
            endpoint=AwsEndpoint(service="lambda", region="us-east-1", url=url),
            credentials=Credentials(access_key="test", secret_key="test"),
            transport=transport,
            clock=clock,
        )
        clouds = ByProvider(
            {Provider.AWS: LambdaCaller(lambda _: service, clock=clock), Provider.AZURE: http, Provider.GCP: http}
        )

        def respond(endpoint: Endpoint, request: InvocationRequest, timeout_ms: float) -> FunctionAnswer:
            return OK if endpoint.address == "good" else clouds.call(endpoint, request, timeout_ms=timeout_ms)

        yield Rig(*entries, respond=respond, clock=clock, **changes)


TAKEN = b'{"statusCode": 200, "headers": {"content-type": "application/json"}, "body": "{}"}'


@contextmanager
def taking_all() -> Iterator[tuple[str, list[str]]]:
    """Lambda's Invoke API and plain HTTP at once: every call is well. Its address, and the paths that were called."""
    called: list[str] = []

    def respond(path: str, _: dict[str, str], __: bytes) -> tuple[int, dict[str, str], bytes]:
        called.append(path)
        return 200, {"content-type": "application/json"}, TAKEN

    with serving(respond) as server:
        yield server.url, called


@contextmanager
def answering_with(waiting: list[bytes]) -> Iterator[str]:
    """A server that answers each request with the next of some raw bytes, then hangs up; its address."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(1)
                    with suppress(OSError):
                        _read_request(connection)
                        connection.sendall(waiting.pop(0))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _read_request(connection: socket.socket) -> None:
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += connection.recv(65_536)
    head, _, body = seen.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
