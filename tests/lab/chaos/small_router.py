"""A small router: the orchestrator's own handler over a bucket in a folder, its other stores and the clouds in memory.

For experiments on what the stores do to requests: the functions answer at once, so what is measured is FISO's own.
"""

import json
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from fiso import telemetry
from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.aws.s3_models import S3ModelStore
from fiso.domain.access import AuthMode
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Idempotent, Policy
from fiso.ports import Clock, EndpointStates, LeaseKeys, ModelStore, Snapshots
from fiso.prediction.signature import PublicKeys
from fiso.settings import AccessSettings, OrchestratorSettings
from fiso.testing.memory import (
    InMemoryEndpointStates,
    InMemoryFunctionCaller,
    InMemoryInvocationLog,
    InMemoryMetrics,
    InMemoryModelStore,
    InMemorySharedBreakers,
    Respond,
)
from fiso_client.core.answers import FunctionAnswer
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from functions.orchestrator.wiring import App
from tests.lab.chaos.folder_bucket import FolderBucket

BUCKET = "b"
FUNCTION = FunctionName("word-count")
PLACES = {Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}
DENIED = Provider.GCP
"""What the policy forbids: no fault may ever let a request through to it."""
ANSWER = FunctionAnswer(status=200, body=b"ok", headers={"content-type": "text/plain"})


class Context:
    """A Lambda context with time to spare."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left."""
        return 29_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one request came to. `own_ms` is FISO's own time."""

    status: int
    own_ms: float
    headers: Mapping[str, str]
    document: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SmallRouter:
    """One execution environment."""

    edge: App
    log: InMemoryInvocationLog
    metrics: InMemoryMetrics
    caller: InMemoryFunctionCaller

    def invoke(self) -> Reply:
        """One request through the whole handler."""
        return self.send("POST", f"/v1/invoke/{FUNCTION}", '{"text": "a b"}')

    def health(self) -> Reply:
        """`GET /healthz`."""
        return self.send("GET", "/healthz", "")

    def send(self, method: str, path: str, body: str) -> Reply:
        """One event through the handler."""
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {"content-type": "application/json"},
            "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
            "body": body,
            "isBase64Encoded": False,
        }
        response = answer_event(self.edge, event, Context())
        is_json = "json" in str(response["headers"].get("content-type"))
        return Reply(
            status=int(response["statusCode"]),
            own_ms=float(response["headers"]["x-fiso-overhead-ms"]),
            headers=response["headers"],
            document=json.loads(response["body"]) if is_json else {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a small router stands on; what is not given is in memory and well."""

    snapshots: Snapshots
    stage_keys: PublicKeys = field(default_factory=dict)
    packaged_keys: PublicKeys = field(default_factory=dict)
    models: ModelStore = field(default_factory=InMemoryModelStore)
    layer: ModelStore = field(default_factory=InMemoryModelStore)
    states: EndpointStates = field(default_factory=InMemoryEndpointStates)
    copy: Snapshots | None = None
    clock: Clock = lambda: datetime.now(UTC)
    ticks: Callable[[], float] = monotonic
    respond: Respond = lambda *_: ANSWER
    lease_keys: LeaseKeys | None = None


def build(outside: Outside) -> SmallRouter:
    """A cold environment."""
    telemetry.logger().setLevel(logging.CRITICAL)  # a line a request is not what is measured
    log, metrics = InMemoryInvocationLog(), InMemoryMetrics()
    caller, keys = InMemoryFunctionCaller(outside.respond), outside.lease_keys
    ports = wiring.Ports(
        snapshots=outside.snapshots,
        copy=outside.copy,
        states=outside.states,
        layer=outside.layer,
        models=outside.models,
        log=log,
        shared_breakers=InMemorySharedBreakers(),
        caller=caller,
        metrics=metrics,
        clock=outside.clock,
        ticks=outside.ticks,
        lease_keys=(lambda: keys) if keys is not None else None,
        draw=random.Random(1).random,  # nosec B311 - draws of an experiment, no secrets
        stage_keys=outside.stage_keys,
        packaged_keys=outside.packaged_keys,
    )
    settings = OrchestratorSettings(
        stage="local",
        log_table="l",
        state_table="s",
        bucket=BUCKET,
        model_dir=Path(),
        allow_loopback=False,
        access=AccessSettings(mode=AuthMode.NONE),
    )
    return SmallRouter(
        edge=wiring.build(settings, metrics=metrics, ports=ports), log=log, metrics=metrics, caller=caller
    )


def catalog(*, timeout_ms: int = 10_000) -> CatalogEntry:
    """One function on three clouds, of which one is denied."""
    endpoints = tuple(
        Endpoint(
            id=EndpointId(provider), provider=provider, region=region, memory_mb=512, address=f"https://{provider}"
        )
        for provider, region in PLACES.items()
    )
    policy = Policy(version=1, idempotent=Idempotent.YES, denied_providers=frozenset({DENIED}), timeout_ms=timeout_ms)
    return CatalogEntry(name=FUNCTION, function_type="text", endpoints=endpoints, policy=policy)


def snapshots_in(bucket: FolderBucket) -> S3Snapshots:
    """The published snapshots of a bucket."""
    return S3Snapshots(bucket, BUCKET)


def models_in(bucket: FolderBucket) -> S3ModelStore:
    """The published models of a bucket."""
    return S3ModelStore(bucket, BUCKET)
