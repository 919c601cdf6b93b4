"""The orchestrator on in-memory ports, for tests of the service and of its handler."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fiso.access_ports import IssuerKeys, TenantUse
from fiso.codecs.lease_token import Keyring
from fiso.domain.access import AuthMode
from fiso.domain.catalog import CatalogEntry
from fiso.domain.record import InvocationRecord
from fiso.ports import IdempotencyKeys
from fiso.settings import AccessSettings, OrchestratorSettings
from fiso.testing.memory import (
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
from functions.orchestrator import wiring
from functions.orchestrator.handler import answer_event
from tests.builders import ManualClock, a_snapshot
from tests.models import trusted

SETTINGS = OrchestratorSettings.from_environ(
    {"FISO_STAGE": "local", "FISO_LOG_TABLE": "l", "FISO_STATE_TABLE": "s", "FISO_BUCKET": "b"}
)

BY_IAM = AccessSettings(mode=AuthMode.IAM)


class LambdaContext:
    """What the handler uses of Lambda's context."""

    def __init__(self, remaining_ms: int = 29_000) -> None:
        self._remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms


class Rig:
    """The orchestrator and everything it would speak to, in memory."""

    def __init__(  # noqa: PLR0913 - a test names the few it changes
        self,
        respond: Respond,
        *entries: CatalogEntry,
        log: InMemoryInvocationLog | None = None,
        layer: InMemoryModelStore | None = None,
        keys: IdempotencyKeys | None = None,
        clock: ManualClock | None = None,
        seed: int = 1,
        access: AccessSettings = SETTINGS.access,
        issuer_keys: IssuerKeys | None = None,
        quotas: str = "",
        tenant_use: TenantUse | None = None,
    ) -> None:
        self.log = log or InMemoryInvocationLog()
        self.metrics = InMemoryMetrics()
        self.snapshots = InMemorySnapshots(a_snapshot(*entries))
        self.copy = InMemorySnapshots()
        self.states = InMemoryEndpointStates()
        self.models = InMemoryModelStore()
        self.clock = clock or ManualClock()
        self.lease_keys = InMemoryLeaseKeys(Keyring.parsed(f"k1:{'a' * 32}"))
        self.keys: IdempotencyKeys = keys or InMemoryIdempotencyKeys(clock=self.clock)
        self.caller = InMemoryFunctionCaller(respond)
        ports = wiring.Ports(
            snapshots=self.snapshots,
            states=self.states,
            layer=layer or InMemoryModelStore(),
            models=self.models,
            log=self.log,
            caller=self.caller,
            shared_breakers=InMemorySharedBreakers(),
            metrics=self.metrics,
            clock=self.clock,
            draw=random.Random(seed).random,
            lease_keys=lambda: self.lease_keys,
            issuer_keys=issuer_keys,
            tenant_use=tenant_use,
            idempotency_keys=lambda: self.keys,
            copy=self.copy,
            stage_keys=trusted(),
            packaged_keys=trusted(),
        )
        self.edge = wiring.build(replace(SETTINGS, access=access, quotas=quotas), metrics=self.metrics, ports=ports)
        self.orchestrator = self.edge.orchestrator

    @property
    def only_record(self) -> InvocationRecord:
        (record,) = self.log.records.values()
        assert isinstance(record, InvocationRecord)
        return record

    def send(self, event: Mapping[str, Any], context: LambdaContext | None = None) -> dict[str, Any]:
        """One event through the handler's edge."""
        return answer_event(self.edge, event, context or LambdaContext())


def http_event(
    method: str = "POST", path: str = "/v1/invoke/word-count", body: str = '{"text": "a"}', **headers: str
) -> dict[str, Any]:
    """An HTTP API event as the gateway sends it. Header names are given with underscores."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"} | given,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": body,
        "isBase64Encoded": False,
    }


def signed(event: dict[str, Any], account: str = "111122223333") -> dict[str, Any]:
    """The event of a caller whose signature the gateway verified."""
    iam = {"accountId": account, "userArn": f"arn:aws:iam::{account}:user/somebody", "accessKey": "AKIA"}
    return {**event, "requestContext": {**event["requestContext"], "authorizer": {"iam": iam}}}


def problem_of(response: Mapping[str, Any]) -> dict[str, Any]:
    """The problem document of an error answer."""
    assert response["headers"]["content-type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response["body"])
    return document


def first_answer_of(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what is this request's own."""
    own = ("x-fiso-overhead-ms", "idempotent-replayed")
    return response | {"headers": {name: value for name, value in response["headers"].items() if name not in own}}
