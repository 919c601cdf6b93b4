"""The orchestrator as it is deployed, around stores in memory that fail with secrets in their mouths: what it logs,
records and answers while providers and callers spill canaries."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fiso import telemetry
from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.codecs.record import open_to_document, to_document
from fiso.domain.access import AuthMode
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.policy import Idempotent, Policy
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.resilience.breakers import Breakers
from fiso.settings import AccessSettings, OrchestratorSettings
from fiso.testing.memory import (
    InMemoryEndpointStates,
    InMemoryInvocationLog,
    InMemoryModelStore,
    InMemorySharedBreakers,
    InMemorySnapshots,
)
from fiso_cli.log_redirect import lines_to
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from functions.orchestrator import handler, wiring

CREDENTIALS = Credentials(access_key="a", secret_key="s")  # nosec B106 # signs to a server of this experiment
SETTINGS = OrchestratorSettings(
    stage="local",
    log_table="l",
    state_table="s",
    bucket="b",
    model_dir=Path("/nonexistent"),
    allow_loopback=True,
    access=AccessSettings(mode=AuthMode.NONE),
)


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class FailingLog(InMemoryInvocationLog):
    """Takes records; while `says` is set, fails with that in its message."""

    says: str | None = None

    def open(self, record: OpenRecord) -> None:
        """Or not."""
        self._fail()
        super().open(record)

    def close(self, record: InvocationRecord) -> bool:
        """Or not."""
        self._fail()
        return super().close(record)

    def _fail(self) -> None:
        if self.says is not None:
            raise StoreUnavailable(f"dynamodb: {self.says}")


@dataclass(kw_only=True)
class Sinks:
    """All that FISO wrote and said: log lines and metrics as printed, records as stored, answers of its own making.
    `functions_said` are the functions' own answers, which pass as they are."""

    lines: io.StringIO = field(default_factory=io.StringIO)
    records: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    functions_said: list[str] = field(default_factory=list)

    def texts(self) -> Mapping[str, str]:
        """Each sink's whole text."""
        return {
            "log": self.lines.getvalue(),
            "records": "\n".join(self.records),
            "answers": "\n".join(self.answers),
        }


class Context:
    """A Lambda context with little time, so that hangs end soon."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left."""
        return 3_000


class Orchestrator:
    """One function with an endpoint on Lambda and one on Google, both at a provider on this machine."""

    def __init__(self, address: str, transport: HttpTransport, sinks: Sinks) -> None:
        self.log, self._sinks = FailingLog(), sinks
        http = HttpCaller(transport, clock=utc_now, allow_loopback=True)
        aws = LambdaCaller(lambda region: _service(address, region, transport), clock=utc_now)
        ports = wiring.Ports(
            snapshots=InMemorySnapshots(_snapshot(address)),
            states=InMemoryEndpointStates(),
            layer=InMemoryModelStore(),
            models=InMemoryModelStore(),
            log=self.log,
            shared_breakers=InMemorySharedBreakers(),
            caller=ByProvider({Provider.AWS: aws, Provider.GCP: http}),
            metrics=telemetry.metrics(),
        )
        self._edge = wiring.build(SETTINGS, metrics=ports.metrics, ports=ports)

    def send(self, event: Mapping[str, Any]) -> int:
        """One event through the handler; what comes of it goes into the sinks. The answer's status."""
        with redirect_stdout(self._sinks.lines):
            response = handler.answer_event(self._edge, event, Context())
            telemetry.flush()
        if response.get("isBase64Encoded", False):
            self._sinks.functions_said.append(str(response["body"]))
            response = {**response, "body": "", "headers": _fisos(response["headers"])}
        self._sinks.answers.append(json.dumps(response, ensure_ascii=False))
        for record in self.log.records.values():
            document = to_document(record) if isinstance(record, InvocationRecord) else open_to_document(record)
            self._sinks.records.append(json.dumps(document, ensure_ascii=False))
        self.log.records.clear()
        self._edge.orchestrator.dispatcher.breakers = Breakers()  # one try says nothing of the next
        return int(response["statusCode"])


@contextmanager
def orchestrating(address: str) -> Iterator[tuple[Orchestrator, Sinks]]:
    """An orchestrator, its log captured from where Lambda would read it."""
    sinks = Sinks()
    dial = PublicDial(allow_loopback=True)
    with lines_to(sinks.lines), closing(HttpTransport(dial=dial)) as transport:
        yield Orchestrator(address, transport, sinks), sinks


def event(path: str, *, body: str = "{}", query: str = "", headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An HTTP API event."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json", **(headers or {})},
        "requestContext": {"http": {"method": "POST", "path": path}, "stage": "$default"},
        "body": body,
        "isBase64Encoded": False,
    }


def _fisos(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that FISO adds to a function's answer."""
    return {name: value for name, value in headers.items() if name.startswith(("x-fiso", "server-timing"))}


def _service(address: str, region: str, transport: HttpTransport) -> SignedService:
    endpoint = AwsEndpoint(service="lambda", region=region, url=address)
    return SignedService(endpoint=endpoint, credentials=CREDENTIALS, transport=transport, clock=utc_now)


def _snapshot(address: str) -> Snapshot:
    functions = {
        FunctionName(name): _entry(FunctionName(name), provider, region, place)
        for name, provider, region, place in (
            ("by-lambda", Provider.AWS, "us-east-1", "f"),
            ("by-http", Provider.GCP, "us-east4", address),
        )
    }
    return Snapshot(version=1, published_at=utc_now(), functions=functions)


def _entry(name: FunctionName, provider: Provider, region: str, address: str) -> CatalogEntry:
    endpoint = Endpoint(id=EndpointId(name), provider=provider, region=region, memory_mb=512, address=address)
    policy = Policy(version=1, idempotent=Idempotent.YES, max_attempts=1, timeout_ms=2_000)
    return CatalogEntry(name=name, function_type="any", endpoints=(endpoint,), policy=policy)
