"""Requests: what a caller asked for, already parsed and bounded."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from fiso.domain.endpoint import FunctionName

InvocationId = NewType("InvocationId", str)
TenantId = NewType("TenantId", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationRequest:
    """One request to route. `body` is the bytes as sent; `deadline_at` is absolute, FISO's reserve taken off."""

    invocation_id: InvocationId
    function: FunctionName
    tenant: TenantId
    received_at: datetime
    deadline_at: datetime
    body: bytes
    content_type: str | None = None
    query: str = ""
    path_suffix: str = ""
    accept: str | None = None
    traceparent: str | None = None
    idempotency_key: str | None = None
    user_region: str | None = None
