"""Rows: what became of each request of a load, as it is written to history.jsonl."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NOBODY = 0
"""The status of a request that was answered by nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request. Latencies count from the intended start, so that a queue before FISO counts too.

    `intended_s` is seconds since the load began, `at` the answer's time (epoch seconds), `served_ms` the environment's
    own time, `tried` the endpoints called in order with their failures (from the record, so empty while unknown),
    `open_breakers` the environment's breakers that were not closed afterwards, `control_ms` how long the slowest
    control took in the second from its start: the same way there and back, without FISO.
    """

    at: float
    intended_s: float
    latency_ms: float
    status: int
    phase: str
    environment: int | None
    served_ms: float | None = None
    provider: str | None = None
    attempts: int = 0
    reason: str | None = None
    invocation_id: str | None = None
    overhead_ms: float | None = None
    key: str | None = None
    detail: str | None = None
    is_unknown: bool = False
    has_retry_after: bool = False
    tried: tuple[tuple[str, str | None], ...] = ()
    open_breakers: tuple[str, ...] = ()
    control_ms: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the function's answer came back."""
        return self.status == 200


def answered(fields: Mapping[str, Any], served: Mapping[str, Any] | None) -> Row:
    """A row from what the generator knows and what a worker said; None where nobody answered."""
    if served is None:
        return Row(status=NOBODY, **fields)
    response = served["response"]
    status, headers = response["statusCode"], response["headers"]
    own = _problem(response) if headers.get("content-type") == "application/problem+json" else {}
    return Row(
        status=status,
        served_ms=served["served_ms"],
        provider=headers.get("x-fiso-provider"),
        attempts=int(headers.get("x-fiso-attempts", 0)),
        reason=headers.get("x-fiso-reason"),
        invocation_id=headers.get("x-fiso-invocation-id"),
        overhead_ms=float(headers["x-fiso-overhead-ms"]) if "x-fiso-overhead-ms" in headers else None,
        detail=str(own.get("detail", ""))[:300] or None,
        is_unknown=own.get("unknown_outcome") is True,
        open_breakers=tuple(served.get("open_breakers", ())),
        has_retry_after="retry-after" in headers,
        **fields,
    )


def write(rows: Iterable[Row], file: Path) -> None:
    """One JSON line a row, in the order of the intended starts, added to what is there."""
    with file.open("a", encoding="utf-8") as lines:
        for row in sorted(rows, key=lambda row: row.intended_s):
            lines.write(json.dumps(asdict(row), separators=(",", ":")) + "\n")


def of_phase(rows: Sequence[Row], *phases: str) -> list[Row]:
    """Those of some phases."""
    return [row for row in rows if row.phase in phases]


def latencies(rows: Sequence[Row]) -> list[float]:
    """Milliseconds of those that were answered by the function."""
    return [row.latency_ms for row in rows if row.is_success]


def _problem(response: Mapping[str, Any]) -> Mapping[str, Any]:
    found = json.loads(response["body"])
    return found if isinstance(found, dict) else {}
