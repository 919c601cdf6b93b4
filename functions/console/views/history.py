"""History: what a function did in a span, from the counts that were kept of its minutes and hours and the present ones.

A sum over any span is two reads; a chart is one query. No record is looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.rollup import NOTHING_COUNTED, ByEndpoint, Counts, Rollup, rollup_of
from fiso.domain.state import LATENCY_BOUNDS_MS, EndpointState
from functions.console.sources import Sources

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
STEPS = ((6 * HOUR, MINUTE), (DAY, 5 * MINUTE), (8 * DAY, HOUR), (100 * DAY, 6 * HOUR))
"""How wide a column of a chart is, by the span up to which it is so."""
States = Mapping[EndpointId, EndpointState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """[start, end), in columns of `step`. The newest span ends with the column that is not over yet."""

    start: datetime
    end: datetime
    step: timedelta

    @classmethod
    def until(cls, end: datetime, length: timedelta) -> "Span":
        step = next(step for longest, step in STEPS if length <= longest)
        last = floor(end, step) + step
        return cls(start=last - step * max(1, -(-length // step)), end=last, step=step)

    @property
    def by_hour(self) -> bool:
        return self.step >= HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What happened within one step that begins at `at`."""

    at: datetime
    counts: ByEndpoint
    total: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A span of one function. Columns are those in which something happened, the oldest first."""

    span: Span
    columns: tuple[Column, ...]

    @property
    def counts(self) -> ByEndpoint:
        found: dict[EndpointId, Counts] = {}
        for column in self.columns:
            for endpoint, counts in column.counts.items():
                found[endpoint] = found.get(endpoint, NOTHING_COUNTED).plus(counts)
        return found

    @property
    def total(self) -> Counts:
        return total({number: column.total for number, column in enumerate(self.columns)})


def read(sources: Sources, function: FunctionName, states: States, span: Span) -> History:
    """The columns of a span; `states` are the function's as they are now."""
    kept = list[Rollup]()
    if sources.rollups is not None:
        kept.extend(
            sources.rollups.between(
                function, span.start, span.end, by_hour=span.by_hour, step_s=int(span.step.total_seconds())
            )
        )
    present = rollup_of(states)
    if present is not None and span.start <= present.at < span.end:
        kept.append(present)
    return History(span=span, columns=tuple(columns(kept, span)))


def columns(rollups: Sequence[Rollup], span: Span) -> list[Column]:
    """What each rollup adds to the one before it, in the column of its minute. The first of all is told from nothing:
    what it had counted before anything was kept happened nobody knows when."""
    found: dict[datetime, dict[EndpointId, Counts]] = {}
    for before, later in pairwise(sorted(rollups, key=lambda rollup: (rollup.at, rollup.folded))):
        if later.at < span.start:
            continue
        column = found.setdefault(floor(later.at, span.step), {})
        for endpoint, counts in since(before, later).items():
            column[endpoint] = column.get(endpoint, NOTHING_COUNTED).plus(counts)
    return [Column(at=at, counts=counts, total=total(counts)) for at, counts in sorted(found.items())]


def sums(sources: Sources, function: FunctionName, states: States, start: datetime) -> ByEndpoint:
    """What happened since `start`, by one read."""
    present = rollup_of(states)
    if present is None or sources.rollups is None or present.at < start:
        return {}
    before = sources.rollups.newest_before(function, start)
    if before is None:  # all that is kept is younger
        by_hour = present.at - start > DAY
        before = next(iter(sources.rollups.between(function, start, present.at, by_hour=by_hour)), None)
    return since(before, present) if before is not None else {}


def since(before: Rollup, later: Rollup) -> dict[EndpointId, Counts]:
    return {id: counts.since(before.counts.get(id)) for id, counts in later.counts.items()}


def total(counts: Mapping[EndpointId, Counts] | Mapping[int, Counts]) -> Counts:
    found = NOTHING_COUNTED
    for each in counts.values():
        found = found.plus(each)
    return found


def percentile_ms(counts: Counts, share: float) -> float | None:
    """Within the bounds that latencies are counted by, evenly spread in each; the last bound for what is beyond it."""
    wanted, seen, low = share * counts.answers, 0, 0.0
    if not counts.answers:
        return None
    for bound, count in zip(LATENCY_BOUNDS_MS, counts.latencies, strict=False):
        if count and seen + count >= wanted:
            return low + (bound - low) * (wanted - seen) / count
        seen, low = seen + count, float(bound)
    return low


def mean_ms(counts: Counts) -> float | None:
    return counts.latency_us / counts.answers / 1000 if counts.answers else None


def failing_since(history: History, *, share: float = 0.05) -> datetime | None:
    """The first of the columns, without a gap until the last one, in which more than `share` of the requests ended in
    an error; None where the last one is well."""
    found: datetime | None = None
    for column in reversed(history.columns):
        counts = column.total
        if counts.requests and counts.errors / counts.requests <= share:
            break
        if counts.errors:
            found = column.at
    return found


def saved_usd(counts: ByEndpoint, home: EndpointId | None) -> float | None:
    """What these calls would have cost more at home by its own mean price in this time; negative for what they cost
    more than that. None where home was not called. No control group stands behind it (docs/measured.md)."""
    at_home = counts.get(home) if home is not None else None
    if at_home is None or not at_home.attempts:
        return None
    each, of_all = at_home.cost_usd / at_home.attempts, total(counts)
    return each * of_all.attempts - of_all.cost_usd


def floor(moment: datetime, step: timedelta) -> datetime:
    """The beginning of its step, counted from midnight."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step
