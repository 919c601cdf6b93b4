"""Charts: the geometry of the small drawings, in percent of their box, so that templates only draw. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from fiso.domain.record import AttemptSummary, InvocationRecord
from functions.console.views.queries import CalledProvider, Ending, ending_of
from functions.console.views.summaries import ProviderFigures, percentile

CEILING_OVER_P95 = 1.25
LEAST_WIDTH = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of a bar: where it starts and how long it is, in percent, and the class that colours it."""

    start: float
    width: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One invocation in the strip: a column that stands on the ground line."""

    start: float
    width: float
    height: float
    kind: str
    record: InvocationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The newest invocations, oldest first. Columns taller than `ceiling_ms` are cut there, and `cut` counts them."""

    columns: tuple[Column, ...]
    ceiling_ms: float
    cut: int


def shares(parts: Sequence[ProviderFigures]) -> tuple[Segment, ...]:
    """Provider shares as one bar."""
    segments, start = [], 0.0
    for part in parts:
        segments.append(Segment(start=round(start, 3), width=round(part.share * 100, 3), kind=part.provider))
        start += part.share * 100
    return tuple(segments)


def length(value: float | None, largest: float | None) -> float:
    """A value's bar beside the largest of its column, in percent."""
    if value is None or not largest or value <= 0:
        return 0.0
    return round(min(100.0, max(LEAST_WIDTH, 100 * value / largest)), 3)


def strip(records: Sequence[InvocationRecord]) -> Strip:
    """One column per record (given newest first), as tall as its latency."""
    latencies = [record.result.execution_time_ms or 0.0 for record in records]
    p95_ms, tallest_ms = percentile(latencies, 0.95) or 0.0, max(latencies, default=0.0)
    ceiling_ms = min(tallest_ms, p95_ms * CEILING_OVER_P95) or tallest_ms or 1.0
    width = 100 / max(1, len(records))
    columns = tuple(
        Column(
            start=round(position * width, 3),
            width=round(width * 0.8, 3),
            height=round(max(4.0, min(100.0, 100 * (record.result.execution_time_ms or 0.0) / ceiling_ms)), 2),
            kind=kind_of(record),
            record=record,
        )
        for position, record in enumerate(reversed(records))
    )
    return Strip(columns=columns, ceiling_ms=ceiling_ms, cut=sum(value > ceiling_ms for value in latencies))


def kind_of(record: InvocationRecord) -> str:
    """The class that colours a record: its provider, or its error."""
    if ending_of(record) is not Ending.OK:
        return "error"
    return record.result.cloud_provider or CalledProvider.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedAttempt:
    """One attempt on the time line of its invocation."""

    attempt: AttemptSummary
    offset_ms: float
    bar: Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All attempts of an invocation on one scale that begins when the request came."""

    total_ms: float
    attempts: tuple[TimedAttempt, ...]


def timeline(record: InvocationRecord) -> Timeline:
    """The attempts in order."""
    offsets = [max(0.0, (a.started_at - record.timestamp).total_seconds() * 1000) for a in record.attempts]
    ends = [offset + attempt.latency_ms for offset, attempt in zip(offsets, record.attempts, strict=True)]
    total_ms = max(ends, default=0.0)
    return Timeline(
        total_ms=total_ms,
        attempts=tuple(
            TimedAttempt(attempt=attempt, offset_ms=offset, bar=_bar(attempt, offset, total_ms))
            for offset, attempt in zip(offsets, record.attempts, strict=True)
        ),
    )


def _bar(attempt: AttemptSummary, offset_ms: float, total_ms: float) -> Segment:
    start = 100 * offset_ms / total_ms if total_ms else 0.0
    kind = "error" if attempt.failure is not None or (attempt.status or 0) >= 500 else "ok"
    return Segment(start=round(min(start, 99.0), 3), width=length(attempt.latency_ms, total_ms), kind=kind)
