"""What passes through FISO, both ways: what a function sees of a request, and what a caller sees of an answer."""

import re
from dataclasses import replace
from datetime import datetime

from fiso.domain.request import InvocationRequest
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError

RETURNED_HEADERS = frozenset(
    "content-type content-encoding content-language cache-control etag last-modified location vary".split()
)
"""Headers of a function's answer that reach the caller. Everything else stays behind."""
LARGEST_RETURNED_HEADERS = 8 * 1024
"""Of all names and values that reach the caller: API Gateway's own limit is 10 KB, and FISO adds some."""
_PRINTABLE = re.compile(r"[\t -~]*")


def request_headers(request: InvocationRequest, now: datetime) -> dict[str, str]:
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


def returned_answer(answer: FunctionAnswer) -> FunctionAnswer:
    """The answer as the caller sees it; a header's value that could break out of its line stays behind.

    `ProviderError` when the headers are larger than any gateway returns.
    """
    passed = {
        name: value
        for name, value in answer.headers.items()
        if name in RETURNED_HEADERS and _PRINTABLE.fullmatch(value)
    }
    if sum(len(name) + len(value) for name, value in passed.items()) > LARGEST_RETURNED_HEADERS:
        raise ProviderError(Failure.BROKEN, f"the answer's headers are larger than {LARGEST_RETURNED_HEADERS} bytes")
    return replace(answer, headers=passed)
