"""Requests: what a caller asked for, already parsed and bounded, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionAnswer:
    """What a function answered: its own status, body and content type, passed through as they are.

    `cold` and `billed_ms` are None where the provider does not say.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cold: bool | None = None
    billed_ms: float | None = None
    memory_used_mb: int | None = None
    is_function_error: bool = False
