"""`fiso.testing.Rig` as these tests use it: a function answers the calls, in genuine time."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fiso.access_ports import IssuerKeys, TenantUse
from fiso.domain.access import AuthMode
from fiso.domain.catalog import CatalogEntry
from fiso.ports import IdempotencyKeys
from fiso.settings import AccessSettings
from fiso.testing import rig
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryInvocationLog, InMemoryModelStore, Respond
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso.testing.rig import SETTINGS, LambdaContext, Stores, http_event
from tests.builders import an_entry
from tests.models import trusted

__all__ = ["BY_IAM", "SETTINGS", "LambdaContext", "Rig", "first_answer_of", "http_event", "problem_of", "signed"]

BY_IAM = AccessSettings(mode=AuthMode.IAM)


class Rig(rig.Rig):
    """The keys of `tests.models` are trusted. What is not given is in memory and well."""

    def __init__(  # noqa: PLR0913 - a test names the few it changes
        self,
        respond: Respond,
        *entries: CatalogEntry,
        log: InMemoryInvocationLog | None = None,
        layer: InMemoryModelStore | None = None,
        keys: IdempotencyKeys | None = None,
        clock: ManualClock | None = None,
        access: AccessSettings = SETTINGS.access,
        issuer_keys: IssuerKeys | None = None,
        quotas: str = "",
        tenant_use: TenantUse | None = None,
    ) -> None:
        clock = clock or ManualClock()
        stores = Stores(log=log or InMemoryInvocationLog(), layer=layer or InMemoryModelStore())
        self.log, self.snapshots, self.copy, self.models = stores.log, stores.snapshots, stores.copy, stores.models
        self.lease_keys = stores.lease_keys
        self.keys: IdempotencyKeys = keys or InMemoryIdempotencyKeys(clock=clock)
        super().__init__(
            *(entries or (an_entry(),)),
            respond=respond,
            stores=stores,
            clock=clock,
            settings=replace(SETTINGS, access=access, quotas=quotas),
            ports=lambda ports: replace(
                ports,
                issuer_keys=issuer_keys,
                tenant_use=tenant_use,
                idempotency_keys=lambda: self.keys,
                stage_keys=trusted(),
                packaged_keys=trusted(),
            ),
        )
        self.orchestrator = self.app.orchestrator


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
