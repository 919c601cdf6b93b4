"""Traces: where a request stands in its caller's (W3C Trace Context), and the ids of FISO's own spans.

Ids follow from the invocation's, so that whoever has the record can tell them: a function is given its attempt's when
it is called, and the spans are made of the record later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from fiso.domain.endpoint import EndpointId

SAMPLED = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A request that is traced. `parent_id` is the caller's span, empty where FISO begins the trace. `decided_ms` is
    what the decision took, `opened_ms` the intent's write."""

    trace_id: str
    parent_id: str = ""
    decided_ms: float = 0.0
    opened_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBefore:
    """The write of an earlier, traced record: when it began and what it took. No record can tell that of itself, so the
    next one that the same environment writes does; of the last one of an environment nobody does."""

    trace_id: str
    invocation_id: str
    at: datetime
    took_ms: float


def span_id(invocation_id: str, part: str = "") -> str:
    """Of the request itself, or of a part of it (`attempt_part`)."""
    return blake2b(f"{invocation_id}/{part}".encode(), digest_size=8).hexdigest()


def attempt_part(endpoint: EndpointId, number: int) -> str:
    """An endpoint's attempts are numbered in the order in which they began, from 0."""
    return f"{endpoint}#{number}"


def begun(parent: str | None, invocation_id: str, ratio: float) -> Traced | None:
    """The trace of a request, None where it is not sampled. A caller's `traceparent` (a valid one) decides by its own
    flag; without one a share of requests is traced, by their ids, which are drawn at random."""
    if parent is not None:
        _, trace_id, parent_id, flags = parent.split("-")[:4]
        return Traced(trace_id=trace_id, parent_id=parent_id) if int(flags, 16) & SAMPLED else None
    trace_id = invocation_id.replace("-", "")
    is_drawn = int(trace_id[-14:], 16) < ratio * 16**14  # the bits of a version-4 UUID that are all random
    return Traced(trace_id=trace_id) if is_drawn else None


def below(headers: Mapping[str, str], traced: Traced, invocation_id: str, part: str) -> dict[str, str]:
    """The headers of a part of the request: what the function does is below its span. The flags stay as they came."""
    flags = headers["traceparent"].split("-")[3] if "traceparent" in headers else "01"
    return {**headers, "traceparent": f"00-{traced.trace_id}-{span_id(invocation_id, part)}-{flags}"}
