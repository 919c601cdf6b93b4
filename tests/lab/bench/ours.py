"""The orchestrator as it is measured: the genuine handler on in-memory ports, with the packaged model.

As a module (`python -m tests.lab.bench.ours MODEL_DIR`) it is one cold start: it imports the runtime's client and the
handler, wires it, answers one request, says what that took, and exits. Imports nothing heavy.
"""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiso.domain.catalog import Snapshot
    from fiso.ports import Clock, InvocationLog
    from fiso.settings import OrchestratorSettings

Handle = Callable[[], Mapping[str, Any]]

EVENT: Mapping[str, Any] = {
    "version": "2.0",
    "rawPath": "/v1/invoke/word-count",
    "rawQueryString": "",
    "headers": {"content-type": "application/json", "x-fiso-user-region": "us-east-1"},
    "requestContext": {"http": {"method": "POST", "path": "/v1/invoke/word-count"}, "stage": "$default"},
    "body": '{"text": "the quick brown fox"}',
    "isBase64Encoded": False,
}


class Context:
    """A Lambda context with time to spare."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left."""
        return 29_000


def standing_clock() -> datetime:
    """A clock that is not FISO's own code."""
    return datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def handler(
    model_dir: Path,
    *,
    log: "InvocationLog | None" = None,
    is_repeatable: bool = False,
    clock: "Clock | None" = None,
) -> Handle:
    """A call that routes one request through the whole handler: three candidates, record into `log`, metrics, line.

    The function is as functions are unless their policy says more: a request that may have run is not repeated. One
    that `is_repeatable` is called in a thread, so that a hedge can begin beside it.
    """
    from fiso import telemetry
    from fiso.adapters.aws.models import LayerModelStore
    from fiso.testing.memory import (
        InMemoryEndpointStates,
        InMemoryFunctionCaller,
        InMemoryInvocationLog,
        InMemoryModelStore,
        InMemorySharedBreakers,
        InMemorySnapshots,
    )
    from fiso_client.core.answers import FunctionAnswer
    from functions.orchestrator import handler as edge_handler
    from functions.orchestrator import wiring

    answer = FunctionAnswer(status=200, body=b"ok", headers={"content-type": "text/plain"})
    metrics = telemetry.metrics()
    ports = wiring.Ports(
        snapshots=InMemorySnapshots(_catalog(is_repeatable=is_repeatable)),
        states=InMemoryEndpointStates(),
        layer=LayerModelStore(model_dir),
        models=InMemoryModelStore(),
        log=log or InMemoryInvocationLog(),
        caller=InMemoryFunctionCaller(lambda *_: answer),
        shared_breakers=InMemorySharedBreakers(),
        metrics=metrics,
        clock=clock or wiring.utc_now,
    )
    edge = wiring.build(_settings(model_dir), metrics=metrics, ports=ports)

    def handle() -> Mapping[str, Any]:
        response = edge_handler.answer_event(edge, EVENT, Context())
        telemetry.flush()
        return response

    return handle


def _settings(model_dir: Path) -> "OrchestratorSettings":
    from fiso.domain.access import AuthMode
    from fiso.settings import AccessSettings, OrchestratorSettings

    return OrchestratorSettings(
        stage="local",
        log_table="l",
        state_table="s",
        bucket="b",
        model_dir=model_dir,
        allow_loopback=False,
        access=AccessSettings(mode=AuthMode.NONE),
    )


def _catalog(*, is_repeatable: bool) -> "Snapshot":
    """One function with a copy on each cloud."""
    from fiso.domain.catalog import CatalogEntry, Snapshot
    from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
    from fiso.domain.policy import Idempotent, Policy

    places = {Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}
    endpoints = tuple(
        Endpoint(id=EndpointId(provider), provider=provider, region=region, memory_mb=512, address="https://x")
        for provider, region in places.items()
    )
    name = FunctionName("word-count")
    policy = Policy(version=1, idempotent=Idempotent.YES if is_repeatable else Idempotent.NO)
    entry = CatalogEntry(name=name, function_type="text", endpoints=endpoints, policy=policy)
    return Snapshot(version=1, published_at=datetime.now(UTC), functions={name: entry})


def main(model_dir: Path) -> None:
    """One cold start, measured from inside."""
    start = perf_counter()
    import awslambdaric.bootstrap  # noqa: F401 - the runtime's client, which every function pays for

    status = handler(model_dir)()["statusCode"]
    elapsed_ms = (perf_counter() - start) * 1000
    sys.stderr.write(f"{status} in {elapsed_ms:.1f} ms\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
