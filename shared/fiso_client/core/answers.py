"""Answers: what a function answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
