"""A stage for attacks: the genuine orchestrator handler on ports in memory that count what reaches them."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import UUID

from fiso.access_ports import IssuerKeys
from fiso.codecs.lease_token import Keyring
from fiso.domain.access import AuthMode
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Idempotent, Policy
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.request import InvocationId, InvocationRequest
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
)
from fiso_client.core.answers import FunctionAnswer
from functions.orchestrator import handler, wiring
from tests.tokens import AUDIENCE, ISSUER

FUNCTION = FunctionName("word-count")
OWN_HEADERS = ("x-fiso-invocation-id", "x-fiso-overhead-ms")
BY_TOKEN = AccessSettings(mode=AuthMode.JWT, issuer=ISSUER, audiences=(AUDIENCE,))
BY_SIGNATURE = AccessSettings(mode=AuthMode.IAM)
UNASKED = AccessSettings(mode=AuthMode.NONE)
_ANSWER = FunctionAnswer(status=200, body=b"ok", headers={"content-type": "text/plain"})


class Context:
    """A Lambda context with time to spare."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left."""
        return 29_000


class CountingLog(InMemoryInvocationLog):
    """A log that counts every touch."""

    def __init__(self) -> None:
        super().__init__()
        self.touches = 0

    def open(self, record: OpenRecord) -> None:
        """One write."""
        self.touches += 1
        super().open(record)

    def close(self, record: InvocationRecord) -> bool:
        """One write."""
        self.touches += 1
        return super().close(record)

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        """One read."""
        self.touches += 1
        return super().find(invocation_id)


class CountingSnapshots(InMemorySnapshots):
    """A catalog that counts its reads."""

    touches = 0

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """One read."""
        self.touches += 1
        return super().current(unless_version=unless_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a stage answered. `told` is everything a caller could learn from: status, headers, body, without what
    differs between any two requests (the id and the time it took)."""

    status: int
    told: str


class AttackedStage:
    """One execution environment of the orchestrator, and what happened behind it."""

    def __init__(self, access: AccessSettings, issuer_keys: IssuerKeys | None = None) -> None:
        self.log, self.snapshots = CountingLog(), CountingSnapshots(_snapshot())
        self.calls: list[InvocationRequest] = []
        settings = OrchestratorSettings(
            stage="prod",
            log_table="l",
            state_table="s",
            bucket="b",
            model_dir=Path("/nowhere"),
            allow_loopback=False,
            access=access,
        )
        metrics = InMemoryMetrics()
        ports = wiring.Ports(
            snapshots=self.snapshots,
            states=InMemoryEndpointStates(),
            layer=InMemoryModelStore(),
            models=InMemoryModelStore(),
            log=self.log,
            shared_breakers=InMemorySharedBreakers(),
            caller=InMemoryFunctionCaller(self._answer),
            metrics=metrics,
            issuer_keys=issuer_keys,
            lease_keys=lambda: InMemoryLeaseKeys(Keyring.parsed(f"k1:{token_hex()}")),
        )
        self.edge = wiring.build(settings, metrics=metrics, ports=ports)

    @property
    def side_effects(self) -> int:
        """Calls of functions, touches of the log, reads of the catalog so far."""
        return len(self.calls) + self.log.touches + self.snapshots.touches

    def send(self, event: Mapping[str, Any]) -> Said:
        """One event through the handler."""
        response = handler.answer_event(self.edge, event, Context())
        headers = {name: value for name, value in response["headers"].items() if name not in OWN_HEADERS}
        return Said(status=response["statusCode"], told=f"{response['statusCode']} {headers} {_told(response)}")

    def _answer(self, _: Endpoint, request: InvocationRequest, __: float) -> FunctionAnswer:
        self.calls.append(request)
        return _ANSWER


def _told(response: Mapping[str, Any]) -> str:
    if response.get("isBase64Encoded") or not response["headers"]["content-type"].endswith("json"):
        return str(response["body"])
    document = json.loads(response["body"])
    document.pop("invocation_id", None)
    return json.dumps(document, sort_keys=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the log's lines of thousands of refusals off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def an_id(number: int) -> InvocationId:
    """An invocation's id."""
    return InvocationId(str(UUID(int=number)))


def _snapshot() -> Snapshot:
    endpoint = Endpoint(
        id=EndpointId("aws"), provider=Provider.AWS, region="us-east-1", memory_mb=512, address="https://aws.example"
    )
    policy = Policy(version=1, idempotent=Idempotent.YES)
    entry = CatalogEntry(name=FUNCTION, function_type="text", endpoints=(endpoint,), policy=policy)
    return Snapshot(version=1, published_at=datetime.now(UTC), functions={FUNCTION: entry})
