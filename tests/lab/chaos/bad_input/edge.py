"""The orchestrator's genuine edge: its handler, services and callers, over stores in memory and one provider.

No double stands between the handler and the wire: what a caller cannot send fails here as it would in a cloud.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.codecs.lease_token import Keyring
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Payload, Provider
from fiso.domain.policy import Idempotent, Policy
from fiso.settings import OrchestratorSettings
from fiso.testing.memory import (
    InMemoryEndpointStates,
    InMemoryInvocationLog,
    InMemoryLeaseKeys,
    InMemoryMetrics,
    InMemoryModelStore,
    InMemorySharedBreakers,
    InMemorySnapshots,
)
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from functions.orchestrator.http_answer import Response

FUNCTION = "word-count"
EVENT_FUNCTION = "event-only"
SETTINGS = OrchestratorSettings.from_environ(
    {"FISO_STAGE": "local", "FISO_LOG_TABLE": "log", "FISO_STATE_TABLE": "state", "FISO_BUCKET": "bucket"}
)


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class Context:
    """What the handler uses of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """As at the start of an invocation."""
        return 29_000


@dataclass(frozen=True, slots=True)
class Edge:
    """Answers events; `recorded` counts the records that each left."""

    edge: wiring.App
    log: InMemoryInvocationLog
    metrics: InMemoryMetrics

    def answer(self, event: object) -> Response:
        """One event through the handler, which is to raise nothing."""
        return answer_event(self.edge, event, Context())

    def forget(self) -> int:
        """Empty the stores, so that they do not grow; returns how many records there were."""
        recorded = len(self.log.records)
        self.log.records.clear()
        self.metrics.values.clear()
        return recorded


def build(provider_url: str, *, seed: int) -> Edge:
    """The edge in front of three clouds that are all one provider."""
    transport = HttpTransport()
    log, metrics, keys = InMemoryInvocationLog(), InMemoryMetrics(), InMemoryLeaseKeys(Keyring.parsed(f"k1:{'a' * 32}"))
    idempotency = InMemoryIdempotencyKeys(clock=utc_now)
    ports = wiring.Ports(
        snapshots=InMemorySnapshots(_snapshot(provider_url)),
        states=InMemoryEndpointStates(),
        layer=InMemoryModelStore(),
        models=InMemoryModelStore(),
        log=log,
        shared_breakers=InMemorySharedBreakers(),
        caller=_caller(provider_url, transport),
        metrics=metrics,
        clock=utc_now,
        draw=random.Random(seed).random,  # nosec B311 # repeatable on purpose
        lease_keys=lambda: keys,
        idempotency_keys=lambda: idempotency,
    )
    return Edge(wiring.build(SETTINGS, metrics=metrics, ports=ports), log, metrics)


def _caller(provider_url: str, transport: HttpTransport) -> ByProvider:
    http = HttpCaller(transport, clock=utc_now, allow_loopback=True)
    service = SignedService(
        endpoint=AwsEndpoint(service="lambda", region="us-east-1", url=provider_url),
        credentials=Credentials(access_key="test", secret_key="test"),  # nosec B106 # of no account
        transport=transport,
        clock=utc_now,
    )
    return ByProvider(
        {Provider.AWS: LambdaCaller(lambda _: service, clock=utc_now), Provider.AZURE: http, Provider.GCP: http}
    )


def _snapshot(provider_url: str) -> Snapshot:
    clouds = tuple(_endpoint(provider, provider_url) for provider in Provider)
    event_only = _endpoint(Provider.AWS, provider_url, payload=Payload.EVENT)
    entries = [(FUNCTION, clouds, 0.5), (EVENT_FUNCTION, (event_only,), 0.0)]
    functions = {
        FunctionName(name): CatalogEntry(
            name=FunctionName(name),
            function_type="text",
            endpoints=endpoints,
            policy=Policy(version=1, idempotent=Idempotent.NO, exploration=exploration),
        )
        for name, endpoints, exploration in entries
    }
    return Snapshot(version=1, published_at=utc_now(), functions=functions)


def _endpoint(provider: Provider, url: str, *, payload: Payload = Payload.HTTP) -> Endpoint:
    return Endpoint(
        id=EndpointId(provider),
        provider=provider,
        region={Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}[provider],
        memory_mb=512,
        address="arn:aws:lambda:us-east-1:0:function:f" if provider is Provider.AWS else url,
        path="/f",
        payload=payload,
    )
