"""Measures: figures over the rows of a load, each against a part of the scorecard."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tests.lab.chaos.figures import Figure, Op, quantile, quantile_at_most, share_reached
from tests.lab.chaos.rig.rows import Row, latencies, of_phase

BASELINE, FAULT, RECOVERY = "baseline", "fault", "recovery"
FOUR_NINES = 0.9999
FAILED_BEFORE_OPEN = 5
MOST_CONTROL_MS = 30.0
"""A way to a worker and back takes a few milliseconds, 15 at most beside a busy build; where it takes this long, the
machine was not ours."""
LEAST_UNDISTURBED = 0.25
SHORTEST_OPEN_S, LONGEST_OPEN_S, JITTER = 2.0, 30.0, 0.8
"""A breaker that opened waits 2 s before its first probe, twice as long after each one that failed, at most 30 s, each
less 20 % at the most."""


def preferred(rows: Sequence[Row]) -> str:
    """The provider that answered most of the latest half: the one whose loss hurts most."""
    latest = sorted(rows, key=lambda row: row.intended_s)[len(rows) // 2 :]
    return Counter(row.provider for row in latest if row.provider).most_common(1)[0][0]


def healthy(rows: Sequence[Row]) -> list[Row]:
    """The baseline, less those that the fault still caught under way."""
    begins_s = min((row.intended_s for row in of_phase(rows, FAULT)), default=float("inf"))
    return [row for row in of_phase(rows, BASELINE) if row.intended_s + row.latency_ms / 1000 < begins_s]


def faulted(rows: Sequence[Row]) -> list[Row]:
    """Those of the fault's time, and those that it caught under way."""
    spared = set(map(id, healthy(rows)))
    return [row for row in of_phase(rows, BASELINE, FAULT) if id(row) not in spared]


def undisturbed(rows: Sequence[Row]) -> tuple[list[Row], Figure]:
    """Those that the machine itself did not hold up, by the control beside them; and the share of them, which must be
    large enough to say something. What is left out does not depend on what became of it."""
    kept = [row for row in rows if row.control_ms is None or row.control_ms <= MOST_CONTROL_MS]
    held_up = len(rows) - len(kept)
    name = f"share that the machine did not hold up ({held_up} left out)"
    return kept, Figure(
        name=name, value=len(kept) / len(rows), op=Op.AT_LEAST, target=LEAST_UNDISTURBED, unit="share", n=len(rows)
    )


def success(rows: Sequence[Row], target: float = FOUR_NINES, name: str = "success") -> Figure:
    """The share that the function answered."""
    return share_reached(name, sum(row.is_success for row in rows), len(rows), target)


def added(rows: Sequence[Row], share: float, target_ms: float, *, name: str) -> Figure:
    """By how much a latency quantile of the fault's time exceeds the baseline's."""
    before, during = latencies(healthy(rows)), latencies(faulted(rows))
    known = quantile(before, share)
    limit = quantile_at_most(during, share)
    return Figure(
        name=name,
        value=quantile(during, share) - known,
        op=Op.AT_MOST,
        target=target_ms,
        unit="ms",
        n=len(during),
        bound=None if limit is None else limit - known,
    )


def at_most(name: str, value: float, target: float, unit: str, n: int) -> Figure:
    """A figure without a limit of its own that must not exceed a target."""
    return Figure(name=name, value=value, op=Op.AT_MOST, target=target, unit=unit, n=n)


def latency(name: str, values: Sequence[float], share: float, target_ms: float) -> Figure:
    """A latency quantile that must not exceed a target."""
    return Figure(
        name=name,
        value=quantile(values, share),
        op=Op.AT_MOST,
        target=target_ms,
        unit="ms",
        n=len(values),
        bound=quantile_at_most(values, share),
    )


def failed_tries(rows: Sequence[Row], endpoint: str) -> Figure:
    """The most failed tries at an endpoint by one environment, less the probes that its breaker allows in that time."""
    failed_at: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row.environment is not None:
            failed_at[row.environment] += [
                row.intended_s for tried, failure in row.tried if tried == endpoint and failure is not None
            ]
    beyond = [len(times) - probes_within(max(times) - min(times)) for times in failed_at.values() if times]
    return at_most("failed tries per environment", max(beyond, default=0), FAILED_BEFORE_OPEN, "tries", len(failed_at))


def probes_within(seconds: float) -> int:
    """How many probes a breaker allows in a time, at the most: waits of 2, 4, 8, 16, 30, 30, ... s, less jitter."""
    count, wait_s = 0, SHORTEST_OPEN_S
    left_s = seconds
    while left_s + 1e-9 >= wait_s * JITTER:
        left_s -= wait_s * JITTER
        wait_s = min(LONGEST_OPEN_S, 2 * wait_s)
        count += 1
    return count


def attempts_per_request(rows: Sequence[Row], target: float) -> Figure:
    """The mean of attempts over those that were answered, by the function or by FISO."""
    tried = [row.attempts for row in rows if row.status]
    return at_most("attempts per request", sum(tried) / len(tried), target, "attempts", len(tried))


def breaker_changes(rows: Sequence[Row], target: float) -> Figure:
    """The most openings and closings of one breaker in one environment, per minute."""
    by_environment: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.at):
        if row.environment is not None:
            by_environment[row.environment].append(row)
    minutes = (max(row.at for row in rows) - min(row.at for row in rows)) / 60
    most = max((_most_changes(of_one) for of_one in by_environment.values()), default=0)
    return at_most("breaker changes", most / minutes, target, "per minute and environment", len(by_environment))


def seconds_until_well(rows: Iterable[Row], since_s: float, *, share: float = 0.9) -> float:
    """After how many seconds a second's requests succeed to this share; infinity if they never do."""
    bins: dict[int, list[bool]] = defaultdict(list)
    for row in rows:
        bins[int(row.intended_s - since_s)].append(row.is_success)
    well = [second for second, fates in sorted(bins.items()) if sum(fates) >= share * len(fates)]
    return float(well[0]) if well else float("inf")


def _most_changes(rows: Sequence[Row]) -> int:
    changes: Counter[str] = Counter()
    for earlier, later in pairwise(rows):
        changes.update(set(earlier.open_breakers) ^ set(later.open_breakers))
    return max(changes.values(), default=0)
