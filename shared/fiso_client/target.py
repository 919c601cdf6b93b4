"""Targets: where a client may call, and the lease (or the configured fallback) that says so."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fiso_client.core.grammar import is_path, is_region

DEFAULT_PATIENCE_S = 5.0
DEFAULT_TIMEOUT_S = 28.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One endpoint as a client sees it. `secret_ref` names a secret for `authentication`; the client must have it.

    `patience_s` is how long to wait for it while another one could still be tried. `ValueError` for a region or path
    that is none: they become part of what is called.
    """

    id: str
    provider: str
    address: str
    region: str = ""
    path: str = ""
    payload: str = "http"
    authentication: str = "none"
    secret_ref: str | None = None
    patience_s: float = DEFAULT_PATIENCE_S

    def __post_init__(self) -> None:
        if self.region and not is_region(self.region):
            raise ValueError(f"target {self.id[:80]!a}: {self.region[:80]!a} is no region's name")
        if not is_path(self.path):
            raise ValueError(f"target {self.id[:80]!a}: its path must be empty or plain segments, each after a /")


USUAL_OUTAGE_S = 900.0
"""How long a lease that is over serves an absent FISO's clients, where FISO did not say."""
USUAL_FAIL_OVER = frozenset({"not_run", "lost", "copy"})
"""After what another target is tried, where FISO does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lease as the client holds it, or a fallback, which has no token and is not reported. `tenant` is whose it is,
    `outage_s` how long it may serve when it is over and FISO cannot be reached, `region` which of FISO's gave it.

    `received_at` and `expires_at` are seconds of the client's `Stopwatch`, which goes forward only.
    """

    function: str
    targets: tuple[Target, ...]
    token: str | None
    received_at: float
    expires_at: float
    idempotent: str = "no"
    repeats_safe_methods: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    tenant: str = ""
    fail_over_on: frozenset[str] = USUAL_FAIL_OVER
    outage_s: float = USUAL_OUTAGE_S
    region: int = 0
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    """Gives each call under the lease its own number; `next` on it is atomic."""

    @property
    def lifetime_s(self) -> float:
        """How long it is good for."""
        return self.expires_at - self.received_at

    def may_repeat(self, idempotency_key: str | None, *, is_safe: bool = False) -> bool:
        """Whether a request that may have run can be run again, by the same rule as FISO's own dispatch."""
        if is_safe and self.repeats_safe_methods:
            return True
        return self.idempotent == "yes" or (self.idempotent == "deduplicates_on_key" and idempotency_key is not None)


def held_from(document: Mapping[str, Any], received_at: float, *, region: int = 0) -> Held:
    """What `POST /v1/decide/{function}` answered; `KeyError`, `TypeError` or `ValueError` for anything else.

    An endpoint whose region or path is none is left out.
    """
    return Held(
        function=str(document["function"]),
        targets=tuple(_target(row) for row in document["endpoints"] if _is_spelled(row)),
        token=str(document["token"]),
        received_at=received_at,
        expires_at=received_at + float(document["expires_in_ms"]) / 1000,
        idempotent=str(document["idempotent"]),
        repeats_safe_methods=document.get("repeats_safe_methods") is True,
        timeout_s=float(document["timeout_ms"]) / 1000,
        tenant=str(document.get("tenant", "")),
        fail_over_on=frozenset(document.get("fail_over_on", USUAL_FAIL_OVER)),
        outage_s=float(document.get("outage_ms", USUAL_OUTAGE_S * 1000)) / 1000,
        region=region,
    )


def _is_spelled(row: Mapping[str, Any]) -> bool:
    return is_region(str(row["region"])) and is_path(str(row["path"]))


def _target(row: Mapping[str, Any]) -> Target:
    return Target(
        id=str(row["id"]),
        provider=str(row["provider"]),
        address=str(row["address"]),
        region=str(row["region"]),
        path=str(row["path"]),
        payload=str(row["payload"]),
        authentication=str(row["authentication"]),
        secret_ref=row["secret_ref"],
        patience_s=float(row["patience_ms"]) / 1000,
    )
