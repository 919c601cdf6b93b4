"""What callers got of what they were promised: per function availability, latency and what it cost, from the log.

A record without an end, or without an answer of 2xx to 4xx, is one without success: nobody was served. Intervals are
Wilson's, of the single request; hours in which much failed together make them too narrow, which the worst hour shows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import sqrt

from fiso.domain.record import InvocationRecord, RecordStatus
from fiso_cli.rendering import Part, Table, figure, ms, share, text, usd

Z = 1.96
FEWEST = 20
"""Requests of an hour that can be the worst one."""


@dataclass(slots=True)
class Function:
    """Counts of one function; latencies are whole answers': the calls and FISO's own time."""

    requests: int = 0
    served: int = 0
    failed_over: int = 0
    slow: int = 0
    judged: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    took_ms: list[float] = field(default_factory=list)
    hours: defaultdict[datetime, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    clouds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))

    def add(self, record: InvocationRecord) -> None:
        result = record.result
        is_served = record.status is RecordStatus.FINAL and not result.error_occurred and bool(record.attempts)
        self.requests += 1
        self.served += is_served
        self.failed_over += is_served and len(record.attempts) > 1
        hour = self.hours[record.timestamp.replace(minute=0, second=0, microsecond=0)]
        hour[0], hour[1] = hour[0] + 1, hour[1] + is_served
        if is_served:
            self.took_ms.append(sum(each.latency_ms for each in record.attempts) + (result.overhead_ms or 0.0))
        if result.is_slow is not None:
            self.judged, self.slow = self.judged + 1, self.slow + result.is_slow
        if result.cost_usd is None:
            self.unpriced += 1
        else:
            self.cost_usd += result.cost_usd
        if result.cloud_provider is not None:
            cloud = self.clouds[result.cloud_provider.value]
            cloud[0], cloud[1] = cloud[0] + 1, cloud[1] + (result.cost_usd or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One function's figures. Shares are 0 to 1; `worst_hour` None where no hour had FEWEST requests."""

    function: str
    requests: int
    availability: float
    availability_low: float
    availability_high: float
    failed_over: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    slow_share: float | None
    worst_hour: str | None
    worst_hour_availability: float | None
    cost_usd: float
    usd_per_million: float | None
    unpriced: int
    by_cloud: Mapping[str, Mapping[str, float]]


def of_records(records: Iterable[InvocationRecord]) -> list[Row]:
    """By function's name. A function of which nothing was logged has no row."""
    found: defaultdict[str, Function] = defaultdict(Function)
    for record in records:
        found[record.request.function_name].add(record)
    return [_row(name, of) for name, of in sorted(found.items())]


def wilson(good: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); it does not collapse where all or none were good."""
    at = good / of
    middle = (at + Z * Z / (2 * of)) / (1 + Z * Z / of)
    half = Z / (1 + Z * Z / of) * sqrt(at * (1 - at) / of + Z * Z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def quantile(ordered: Sequence[float], at: float) -> float | None:
    """The nearest rank's value, which somebody waited for."""
    return ordered[min(len(ordered) - 1, int(at * len(ordered)))] if ordered else None


def _row(name: str, of: Function) -> Row:
    low, high = wilson(of.served, of.requests)
    ordered = sorted(of.took_ms)
    hours = {hour: good / count for hour, (count, good) in sorted(of.hours.items()) if count >= FEWEST}
    worst = min(hours, key=lambda hour: hours[hour]) if hours else None
    priced = of.requests - of.unpriced
    return Row(
        function=name,
        requests=of.requests,
        availability=of.served / of.requests,
        availability_low=low,
        availability_high=high,
        failed_over=of.failed_over,
        p50_ms=quantile(ordered, 0.5),
        p95_ms=quantile(ordered, 0.95),
        p99_ms=quantile(ordered, 0.99),
        slow_share=of.slow / of.judged if of.judged else None,
        worst_hour=None if worst is None else f"{worst:%Y-%m-%d %H}:00 UTC",
        worst_hour_availability=None if worst is None else hours[worst],
        cost_usd=of.cost_usd,
        usd_per_million=1e6 * of.cost_usd / priced if priced else None,
        unpriced=of.unpriced,
        by_cloud={cloud: {"requests": n, "cost_usd": cost} for cloud, (n, cost) in sorted(of.clouds.items())},
    )


def document(rows: Sequence[Row]) -> dict[str, object]:
    return {"functions": [asdict(row) for row in rows]}


def sla_parts(rows: Sequence[Row]) -> list[Part]:
    """Availability and latency, and each function's worst hour."""
    if not rows:
        return ["the log has no records"]
    columns = [
        text("function"),
        figure("requests"),
        figure("served", "availability", share),
        figure("95 %", lambda row: f"{100 * row.availability_low:.2f} to {100 * row.availability_high:.2f}", spare=2),
        figure("by failover", "failed_over", spare=3),
        figure("p50 ms", "p50_ms", ms),
        figure("p95 ms", "p95_ms", ms),
        figure("p99 ms", "p99_ms", ms, spare=1),
        figure("too slow", "slow_share", share, spare=4),
    ]
    worst = [
        f"{row.function}: the worst hour was {row.worst_hour}, {100 * row.worst_hour_availability:.1f} % served"
        for row in rows
        if row.worst_hour is not None and row.worst_hour_availability is not None
    ]
    notes = ["served: a final answer that the function does not call an error. too slow: by the catalog's objective."]
    return [Table(title="What callers got", columns=columns, rows=rows, notes=notes), *worst]


def cost_parts(rows: Sequence[Row]) -> list[Part]:
    """What the functions' calls cost, by function and cloud."""
    if not rows:
        return ["the log has no records"]
    clouds = [
        {"function": row.function, "cloud": cloud, **found} for row in rows for cloud, found in row.by_cloud.items()
    ]
    functions = [
        text("function"),
        figure("requests"),
        figure("USD", "cost_usd", usd),
        figure("USD per million", "usd_per_million", usd),
        figure("without a price", "unpriced", spare=1),
    ]
    split = [text("function"), text("cloud"), figure("requests"), figure("USD", "cost_usd", usd)]
    notes = ["Estimated by list prices from the log; what a bill says: fiso report savings --bill."]
    return [
        Table(title="What calls cost", columns=functions, rows=rows),
        Table(title="by cloud that answered", columns=split, rows=clouds, notes=notes),
    ]
