"""The rig: the deployed orchestrator over stores in memory, scripted endpoints and a clock that a test moves.

What a request goes through is the genuine handler and the genuine composition; only what lies outside is replaced. So
this stands above `functions`: it is a caller of the application, as API Gateway is. See docs/testing.md.
"""

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from fiso.codecs.lease_token import Keyring
from fiso.domain.access import AuthMode
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Idempotent, Mode, Policy
from fiso.domain.record import InvocationRecord
from fiso.domain.state import EndpointState
from fiso.services.log.ingest import ingest
from fiso.settings import AccessSettings, CatalogTrust, OrchestratorSettings
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import ScriptedEndpoints
from fiso.testing.memory import (
    InMemoryArchive,
    InMemoryEndpointStates,
    InMemoryFunctionCaller,
    InMemoryInvocationLog,
    InMemoryLeaseKeys,
    InMemoryMetrics,
    InMemoryModelStore,
    InMemorySharedBreakers,
    InMemorySnapshots,
    Respond,
)
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso.testing.memory_rollups import InMemoryRollups
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from functions.orchestrator.wiring import App, Ports

SETTINGS = OrchestratorSettings(
    stage="local",
    log_table="log",
    state_table="state",
    bucket="bucket",
    model_dir=Path(),
    allow_loopback=False,
    access=AccessSettings(mode=AuthMode.NONE),
    catalog=CatalogTrust(accepts_older_forms=True),
)
PLACES = {
    EndpointId("aws-us-east-1"): (Provider.AWS, "us-east-1"),
    EndpointId("azure-eastus"): (Provider.AZURE, "eastus"),
    EndpointId("gcp-us-east4"): (Provider.GCP, "us-east4"),
}
READ_AGAIN_S = 61.0
"""After so long without a request, every environment reads catalog, states and model before it decides."""
REMAINING_MS = 29_000
"""What Lambda leaves an orchestrator of its time-out when a request begins."""


@dataclass(kw_only=True)
class Stores:
    """What outlives an execution environment: give one rig's stores to another, and it is a second environment."""

    snapshots: InMemorySnapshots = field(default_factory=InMemorySnapshots)
    copy: InMemorySnapshots = field(default_factory=InMemorySnapshots)
    states: InMemoryEndpointStates = field(default_factory=InMemoryEndpointStates)
    layer: InMemoryModelStore = field(default_factory=InMemoryModelStore)
    models: InMemoryModelStore = field(default_factory=InMemoryModelStore)
    log: InMemoryInvocationLog = field(default_factory=InMemoryInvocationLog)
    archive: InMemoryArchive = field(default_factory=InMemoryArchive)
    shared_breakers: InMemorySharedBreakers = field(default_factory=InMemorySharedBreakers)
    rollups: InMemoryRollups = field(default_factory=InMemoryRollups)
    lease_keys: InMemoryLeaseKeys = field(default_factory=lambda: InMemoryLeaseKeys(Keyring.parsed(f"k1:{'a' * 32}")))
    keys: InMemoryIdempotencyKeys | None = None
    """Idempotency keys, by the first rig's clock where none are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def own_ms(self) -> float:
        """FISO's own time."""
        return float(self.headers["x-fiso-overhead-ms"])


class LambdaContext:
    """What the handler uses of Lambda's context."""

    def __init__(self, remaining_ms: int = REMAINING_MS) -> None:
        self._remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left."""
        return self._remaining_ms


Door: TypeAlias = Callable[[App, Mapping[str, Any], LambdaContext], dict[str, Any]]
"""How an event gets to the application: through the handler, or by another way that takes what HTTP can say."""
DOOR: ContextVar[Door] = ContextVar("DOOR", default=answer_event)
"""Of rigs that were given none of their own."""


class Rig:
    """One execution environment. Without `functions` there is `word-count` on three clouds; `respond` answers calls in
    place of the scripted endpoints, and in genuine time; `ports` changes whatever else lies outside."""

    def __init__(
        self,
        *functions: CatalogEntry,
        respond: Respond | None = None,
        stores: Stores | None = None,
        clock: ManualClock | None = None,
        seed: int = 1,
        settings: OrchestratorSettings = SETTINGS,
        ports: Callable[[Ports], Ports] = lambda ports: ports,
        door: Door | None = None,
    ) -> None:
        self._door = door or DOOR.get()
        self.clock, self.metrics, self.stores = clock or ManualClock(), InMemoryMetrics(), stores or Stores()
        draw = random.Random(seed).random  # nosec B311 # draws of a test, no secrets
        self.endpoints = ScriptedEndpoints(self.clock, random.Random(f"{seed} faults").random)  # nosec B311
        self.caller = InMemoryFunctionCaller(respond) if respond else self.endpoints
        self._batches = 0
        if functions or stores is None:
            self.publish(*(functions or (word_count(),)))
        self.keys = self.stores.keys = keys = self.stores.keys or InMemoryIdempotencyKeys(clock=self.clock)
        outside = Ports(
            snapshots=self.stores.snapshots,
            copy=self.stores.copy,
            states=self.stores.states,
            layer=self.stores.layer,
            models=self.stores.models,
            log=self.stores.log,
            shared_breakers=self.stores.shared_breakers,
            caller=self.caller,
            metrics=self.metrics,
            clock=self.clock,
            ticks=self.clock.ticks,
            draw=draw,
            lease_keys=lambda: self.stores.lease_keys,
            idempotency_keys=lambda: keys,
        )
        if respond is None:
            outside = replace(outside, stopwatch=self.clock.ticks, calls=lambda: self.endpoints)
        self.app = wiring.build(settings, metrics=self.metrics, ports=ports(outside))

    def invoke(self, function: str, *, body: str | bytes = b"", **headers: str) -> Answer:
        """`POST /v1/invoke/{function}`. Names of headers are given with underscores."""
        return self.request("POST", f"/v1/invoke/{function}", body=body, **headers)

    def request(self, method: str, path: str, *, body: str | bytes = b"", **headers: str) -> Answer:
        """Any request, as API Gateway hands it on."""
        response = self.send(http_event(method, path, body, **headers))
        text = response["body"]
        return Answer(
            status=response["statusCode"],
            headers=response["headers"],
            body=b64decode(text) if response.get("isBase64Encoded") else text.encode(),
        )

    def send(self, event: Mapping[str, Any], context: LambdaContext | None = None) -> dict[str, Any]:
        """One event through the handler; its answer as Lambda gives it."""
        return self._door(self.app, event, context or LambdaContext())

    def advance(self, seconds: float) -> None:
        """Let time pass. The stream has delivered by then: records are folded into the states."""
        self.clock.advance(seconds)
        self.fold()

    def fold(self) -> None:
        """Fold the closed records that are not folded yet, as the stream consumer does."""
        waiting = [record for record in self.records if record.invocation_id not in self.stores.states.folded]
        self._batches += 1
        kept = self.stores
        ingest(waiting, states=kept.states, archive=kept.archive, rollups=kept.rollups, batch_id=str(self._batches))

    @property
    def records(self) -> list[InvocationRecord]:
        """The closed records, in the order of their requests."""
        return [record for record in self.stores.log.records.values() if isinstance(record, InvocationRecord)]

    @property
    def only_record(self) -> InvocationRecord:
        """The record of the only request there was."""
        (record,) = self.records
        return record

    @property
    def states(self) -> dict[EndpointId, EndpointState]:
        """What is folded, by endpoint; of several functions the last one's."""
        return {endpoint: state for (_, endpoint), state in self.stores.states.states.items()}

    @property
    def calls(self) -> list[EndpointId]:
        """The endpoints called, in order."""
        return [endpoint for endpoint, _ in self.caller.calls]

    def answer(self, endpoint: str, answer: FunctionAnswer) -> None:
        """An endpoint answers like this from now on."""
        self._change(endpoint, answer=answer)

    def slow(self, endpoint: str, latency_ms: float) -> None:
        """An endpoint takes so long from now on."""
        self._change(endpoint, latency_ms=latency_ms)

    def fail(self, endpoint: str, failure: Failure, *, share: float = 1.0, times: int | None = None) -> None:
        """An endpoint fails this share of its calls from now on, or only the next so many."""
        self._change(endpoint, failure=failure, share=share, times=times)

    def heal(self, endpoint: str) -> None:
        """It fails no more."""
        self._change(endpoint, failure=None)

    def pin(self, function: str, endpoint: str) -> None:
        """Publish the kill switch for a function, and wait until it holds everywhere."""
        self.change_policy(function, mode=Mode.PIN, pinned=EndpointId(endpoint))
        self.advance(READ_AGAIN_S)

    def unpin(self, function: str) -> None:
        """Take it back, and wait."""
        self.change_policy(function, mode=Mode.ROUTE, pinned=None)
        self.advance(READ_AGAIN_S)

    def change_policy(self, function: str, **fields: Any) -> None:
        """Publish a function's policy with other fields of `Policy`; environments read it within 10 s."""
        entries = {entry.name: entry for entry in self._published}
        entry = entries[FunctionName(function)]
        policy = replace(entry.policy, version=entry.policy.version + 1, **fields)
        self.publish(*{**entries, entry.name: replace(entry, policy=policy)}.values())

    def publish(self, *functions: CatalogEntry) -> None:
        """Publish a catalog; environments read it within 10 s."""
        version = max(self.stores.snapshots.versions, default=0) + 1
        entries = {entry.name: entry for entry in functions}
        self.stores.snapshots.publish(Snapshot(version=version, published_at=self.clock(), functions=entries))

    @property
    def _published(self) -> Sequence[CatalogEntry]:
        newest = self.stores.snapshots.current()
        return tuple(newest.functions.values()) if newest else ()

    def _change(self, endpoint: str, **fields: Any) -> None:
        known = {one.id for entry in self._published for one in entry.endpoints}
        id = EndpointId(endpoint)
        if id not in known:
            raise ValueError(f"no endpoint {endpoint}; there are {', '.join(sorted(known))}")
        self.endpoints.set(id, replace(self.endpoints.script(id), **fields))


def word_count(**policy: Any) -> CatalogEntry:
    """A function on three clouds that may be repeated, with these fields of `Policy`; nothing is explored."""
    endpoints = tuple(
        Endpoint(id=id, provider=provider, region=region, memory_mb=512, address=f"https://{provider}.example")
        for id, (provider, region) in PLACES.items()
    )
    own: dict[str, Any] = {"version": 1, "idempotent": Idempotent.YES, "exploration": 0.0}
    return CatalogEntry(
        name=FunctionName("word-count"), function_type="text", endpoints=endpoints, policy=Policy(**(own | policy))
    )


def http_event(
    method: str = "POST",
    path: str = "/v1/invoke/word-count",
    body: str | bytes = '{"text": "a"}',
    **headers: str,
) -> dict[str, Any]:
    """An HTTP API event as API Gateway sends it. Names of headers are given with underscores."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    is_binary = isinstance(body, bytes)
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"} | given,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": is_binary,
    }
