"""Refusals in the form of Azure Resource Manager: `{"error": {"code", "message", "details"}}`."""

from collections.abc import Mapping, Sequence
from typing import Any


class Refused(Exception):
    """A request that gets an error for an answer."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message
        self.details, self.headers = list(details), dict(headers or {})

    @property
    def error(self) -> dict[str, Any]:
        """The error alone."""
        found: dict[str, Any] = {"code": self.code, "message": self.message}
        return found | ({"details": self.details} if self.details else {})
