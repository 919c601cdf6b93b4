"""Requests: what a caller asked for, already parsed and bounded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from fiso.domain.endpoint import FunctionName
from fiso.domain.trace import Traced
from fiso_client.core.answers import METHOD_OVERRIDES

InvocationId = NewType("InvocationId", str)
TenantId = NewType("TenantId", str)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
"""What passes on to a function."""


class Prefer(StrEnum):
    """What counts for a request: the preferred of both has the weight of both."""

    LATENCY = "latency"
    COST = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What one request wishes for, within what its policy allows: nothing by default.

    `max_cost_usd` is what it may cost at most, by what is predicted; `exclude` names endpoints, providers and regions.
    """

    max_cost_usd: float | None = None
    prefer: Prefer | None = None
    exclude: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Short, for the log: equal wishes have equal texts."""
        told = [
            f"max_cost={self.max_cost_usd:.6g}" if self.max_cost_usd is not None else "",
            f"prefer={self.prefer}" if self.prefer else "",
            f"exclude={','.join(sorted(self.exclude))}" if self.exclude else "",
        ]
        return ";".join(filter(None, told))


UNSTEERED = Steering()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The session that a request belongs to, where its function keeps sessions: what names it, None for one that has
    not begun, and the function's own path as the caller wrote it (percent-encoded), for which a cookie is."""

    value: str | None
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationRequest:
    """One request to route. `body` is the bytes as sent; `deadline_at` is absolute, FISO's reserve taken off.

    `method`, `path_suffix` (percent-encoded) and `query` are as sent. `headers` are what passes on to a function: names
    in lower case, repeated ones joined, `cookie` among them, without what is between two hops only and without what
    identifies the caller to FISO (`services.request` reads nothing else). `source_ip`, `host` and `protocol` are the
    caller's own, for the function to see. `may_repeat` is what the policy says of it once it is dispatched: that it
    may run again where it may have run. `is_unkeyed`: its key could not be claimed, and protects it from nothing.
    `claimed_ms`: what claiming it took, for its trace.
    """

    invocation_id: InvocationId
    function: FunctionName
    tenant: TenantId
    received_at: datetime
    deadline_at: datetime
    body: bytes
    method: str = "POST"
    query: str = ""
    path_suffix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    source_ip: str = ""
    host: str = ""
    protocol: str = "HTTP/1.1"
    idempotency_key: str | None = None
    user_region: str | None = None
    steering: Steering = UNSTEERED
    session: Session | None = None
    may_repeat: bool = False
    is_unkeyed: bool = False
    claimed_ms: float | None = None
    traced: Traced | None = None

    @property
    def is_safe(self) -> bool:
        """Whether its method changes nothing by definition (RFC 9110, 9.2.1), so that it may be run again. One that
        asks the function by a header to take it for another method says nothing of the kind."""
        return self.method in SAFE_METHODS and METHOD_OVERRIDES.isdisjoint(self.headers)
