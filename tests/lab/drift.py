"""Drift alarms measured: months in which nothing changes, and one in which one endpoint becomes three times slower.

    python -m tests.lab drift --seeds 50

A world has days and weekends, levels that wander by the hour and by the day, calls that queue behind each other and
tails. It is stationary: its law is the same every week.
"""

from collections import Counter
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import numpy as np
import typer
from scipy.signal import lfilter

from fiso.domain.drift import DriftReport
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.learning import drift
from fiso.learning.dataset import Floats
from fiso.learning.drift import Calls, Group, Mask
from fiso_cli.rendering import Document, Output, Table, figure, progress, text

START = datetime(2026, 3, 2, tzinfo=UTC)
FUNCTIONS, ENDPOINTS = 3, 4
STEP = 3.0
FACTORS = (1.25, 1.5, 2.0, STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """`days` that were looked at, and those of them that raised an alarm."""

    days: int
    alarms: int
    reports: tuple[DriftReport, ...]


def world(seed: int, days: int, *, calls_a_day: int = 200) -> dict[Group, Calls]:
    """The calls of a stationary world, by endpoint of each function."""
    rng = np.random.default_rng(seed)
    return {
        (FunctionName(f"function-{f}"), EndpointId(f"endpoint-{e}")): _endpoint(
            rng, days, calls_a_day * rng.uniform(0.2, 2.0)
        )
        for f in range(FUNCTIONS)
        for e in range(ENDPOINTS)
    }


def _endpoint(rng: np.random.Generator, days: int, calls_a_day: float) -> Calls:
    hours = np.arange(days * 24)
    is_weekend = (hours // 24) % 7 >= 5
    busy = 1 + 0.7 * np.sin((hours % 24 - 8) / 24 * 2 * np.pi)
    share = np.exp(_wandering(rng, len(hours), spread=0.2, hold=0.97))
    rate = calls_a_day / 24 * busy * np.where(is_weekend, 0.5, 1.0) * share
    counts = rng.poisson(rate)
    hour = np.repeat(hours, counts)
    at = np.sort((hour + rng.uniform(0, 1, len(hour))) * 3600)
    in_flight = rng.poisson(0.2 + rate[hour] / calls_a_day * 12)
    size = rng.lognormal(7, 1.0, len(at))
    level = _wandering(rng, len(hours), spread=0.08, hold=0.9)[hour]
    log_ms = rng.uniform(3, 6) + 0.15 * np.log1p(size) + 0.1 * in_flight + level + 0.3 * rng.standard_t(4, len(at))
    recent = lfilter([0.1], [1, -0.9], log_ms - log_ms.mean()) + log_ms.mean()
    gaps = np.diff(at, prepend=at[:1] - 60)
    said = log_ms.mean() + 0.15 * (np.log1p(size) - np.log1p(size).mean()) + rng.normal(0, 0.05)
    seen = {
        "request_size_bytes": np.log1p(size),
        "historical_avg_latency": recent,
        "current_load_factor": np.log1p(in_flight / 10),
        "in_flight": np.log1p(in_flight),
        "idle_seconds": np.log1p(gaps),
        "memory_mb": np.full(len(at), np.log1p(512)),
    }
    return Calls(
        at=at + START.timestamp(),
        features=np.column_stack([seen[name] for name in drift.WATCHED]),
        log_ms=log_ms,
        said_log_ms=said,
        failed=(rng.uniform(0, 1, len(at)) < 0.01).astype(np.float64),
    )


def _wandering(rng: np.random.Generator, steps: int, *, spread: float, hold: float) -> Floats:
    """An autoregressive walk of one step an hour, stationary from its first step on."""
    noise = rng.normal(0, spread * (1 - hold**2) ** 0.5, steps)
    noise[0] = rng.normal(0, spread)
    walked: Floats = lfilter([1], [1, -hold], noise)
    return walked


def slower(calls: dict[Group, Calls], group: Group, *, since_day: int, factor: float = STEP) -> dict[Group, Calls]:
    """The same calls, with one endpoint slower from a day on, its recent mean included."""
    of = calls[group]
    added = np.where(of.at >= START.timestamp() + since_day * drift.DAY_S, np.log(factor), 0.0)
    features = of.features.copy()
    features[:, drift.WATCHED.index("historical_avg_latency")] += added
    return calls | {group: replace(of, log_ms=of.log_ms + added, features=features)}


def looked_at(calls: dict[Group, Calls], days: range, *, learned_day: int | None = None) -> Alarms:
    """A report at the end of each of the days, over the 30 days before. The champion learns every night, or it has
    learned on one day and never again."""
    reports = []
    for day in days:
        now = START + timedelta(days=day)
        learned = now - timedelta(days=1) if learned_day is None else START + timedelta(days=learned_day)
        reports.append(drift.report(_window(calls, now), now=now, learned_until=learned))
    alarms = sum(report.is_drift for report in reports)
    return Alarms(days=len(reports), alarms=alarms, reports=tuple(reports))


def _window(calls: dict[Group, Calls], now: datetime) -> dict[Group, Calls]:
    end = now.timestamp()
    seen = {group: (of.at < end) & (of.at >= end - 30 * drift.DAY_S) for group, of in calls.items()}
    return {group: masked(of, seen[group]) for group, of in calls.items() if np.any(seen[group])}


def masked(of: Calls, rows: Mask) -> Calls:
    """Some of the calls."""
    return Calls(**{each.name: getattr(of, each.name)[rows] for each in fields(of)})


def measured(
    seeds: Annotated[int, typer.Option(min=1, help="Worlds of 30 stationary days each.")] = 50,
) -> Output:
    """Watch 30 stationary days of each world, twice: the champion learns each night, or has not since the seventh day.
    Then one endpoint becomes slower by a factor for a day.

    \b
    python -m tests.lab drift --seeds 50
    """
    days, alarmed, found = Counter[str](), Counter[str](), Counter[float]()
    with progress("drift", seeds) as bar:
        for seed in range(seeds):
            calls = world(seed, 38)
            for name, learned in (("learns each night", None), ("learned on the seventh day", 7)):
                seen = looked_at(calls, range(8, 38), learned_day=learned)
                days[name] += seen.days
                alarmed[name] += seen.alarms
            group = list(calls)[seed % len(calls)]
            for factor in FACTORS:
                changed = slower(calls, group, since_day=29, factor=factor)
                found[factor] += looked_at(changed, range(30, 31)).alarms
            bar.advance()
    rows: list[Document] = [
        {"what": f"alarms, champion {name}", "of": days[name], "count": alarmed[name]} for name in days
    ]
    rows += [{"what": f"found within the day, {f} times slower", "of": seeds, "count": found[f]} for f in FACTORS]
    table = Table(
        title=f"{seeds} worlds", columns=[text("what"), figure("of", "of"), figure("raised", "count")], rows=rows
    )
    return Output(document={"seeds": seeds, "rows": rows}, shown=[table])
