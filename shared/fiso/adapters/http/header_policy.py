"""What passes through FISO, both ways: what a function sees of a request, and what a caller sees of an answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from fiso.domain.request import InvocationRequest
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.content import flaw_of
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.transport import HttpAnswer

PASSED_BACK = frozenset(
    "content-type content-encoding content-language cache-control etag last-modified location vary".split()
)
"""Headers of a function's answer that reach the caller. Everything else stays behind."""
LARGEST_PASSED_BACK = 8 * 1024
"""Of all names and values that reach the caller: API Gateway's own limit is 10 KB, and FISO adds some."""
_PRINTABLE = re.compile(r"[\t -~]*")
LONGEST_RUN_MS = 900_000.0
"""No function runs longer; a header that says so is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a provider says of an invocation beside its answer; None where it says nothing."""

    billed_ms: float | None = None
    memory_mb: int | None = None
    is_cold: bool | None = None


SILENT = Report()


def passed_headers(request: InvocationRequest, now: datetime) -> dict[str, str]:
    """The headers a function sees."""
    left_ms = max(0, int((request.deadline_at - now).total_seconds() * 1000))
    headers = {
        "content-type": request.content_type or "application/octet-stream",
        "x-fiso-invocation-id": request.invocation_id,
        "x-fiso-deadline-ms": str(left_ms),
    }
    if request.accept:
        headers["accept"] = request.accept
    if request.traceparent:
        headers["traceparent"] = request.traceparent
    if request.idempotency_key:
        headers["idempotency-key"] = request.idempotency_key
    return headers


def path_suffix(request: InvocationRequest) -> str:
    """What follows `/v1/invoke/{function}`, with its leading slash; empty when nothing does."""
    return "/" + quote(request.path_suffix.lstrip("/"), safe="/-_.~") if request.path_suffix else ""


def function_answer(answer: HttpAnswer, report: Report = SILENT, *, accept: str | None = None) -> FunctionAnswer:
    """A function's answer; `ProviderError` when it cannot be one. `accept` is what the caller takes.

    Cold or warm, and the billed time, are what the provider reports, else what the function says itself
    (`x-fiso-cold`, and its execution time in `x-fiso-exec-ms`, which the tariff then rounds).
    """
    if flaw := flaw_of(answer.status, answer.headers, answer.body, accept=accept):
        raise ProviderError(Failure.BROKEN, flaw)
    said_cold = {"1": True, "0": False}.get(answer.headers.get("x-fiso-cold", ""))
    said_ms = _milliseconds(answer.headers.get("x-fiso-exec-ms", ""))
    return FunctionAnswer(
        status=answer.status,
        body=answer.body,
        headers=_passed_back(answer.headers),
        cold=said_cold if report.is_cold is None else report.is_cold,
        billed_ms=said_ms if report.billed_ms is None else report.billed_ms,
        memory_used_mb=report.memory_mb,
        is_function_error=answer.status >= 500,
    )


def _passed_back(headers: Mapping[str, str]) -> dict[str, str]:
    """What the caller sees; a value that could break out of its line stays behind."""
    passed = {name: value for name, value in headers.items() if name in PASSED_BACK and _PRINTABLE.fullmatch(value)}
    if sum(len(name) + len(value) for name, value in passed.items()) > LARGEST_PASSED_BACK:
        raise ProviderError(Failure.BROKEN, f"the answer's headers are larger than {LARGEST_PASSED_BACK} bytes")
    return passed


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The provider's own wish, in whole seconds; a date or nonsense counts as none."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 6 else None


def _milliseconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= LONGEST_RUN_MS else None
