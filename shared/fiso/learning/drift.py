"""Drift of a log: the last day against the days before, for each endpoint of each function on its own.

So a change of the mix, which routing itself makes, is none. Calendar features are left out: an hour is no news. What is
judged is how large a change is, not how sure: with many rows every difference is sure. Features are compared by the
normalised Wasserstein distance (scipy's, over the standard deviation of the reference), times and sizes as logarithms.

A day counts when it lies further from the usual than `threshold`, than each of the reference's own days, and than
chance explains: the prediction interval of one more day (Student's t over the reference's days), shared by all measures
of a report, so that one report in ALARMS_ONE_IN is wrong where nothing changes. Weekends and slow waves are in the
days' own differences. docs/decisions/0034-drift.md
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite, log, nan, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fiso.domain.drift import DriftFinding, DriftKind, DriftReport
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.learning.dataset import Floats
from fiso.prediction.features import NAMES
from fiso.prediction.predictor import SHORTEST_MS

THRESHOLD = 0.1
"""The brief's."""
CALENDAR = frozenset({"day_of_week", "hour_of_day"})
CODES = frozenset({"cloud_provider_encoded", "function_type_encoded", "region_encoded"})
"""The same for every call of an endpoint."""
WATCHED = tuple(name for name in NAMES if name not in CALENDAR | CODES)
EXPLAIN = tuple(WATCHED.index(name) for name in ("request_size_bytes", "in_flight", "idle_seconds"))
"""What a call's time is explained by. Not by the endpoint's recent mean: that follows the change that is looked for."""
FEWEST_ROWS = 30
"""Of an endpoint on a day, to say anything of it."""
FEWEST_DAYS = 7
"""A week: without one, a weekend is a change."""
MOST_ROWS_COMPARED = 2_000
"""Of an endpoint's reference, evenly thinned: more say the same of a distance."""
ALARMS_ONE_IN = 10_000
FINDINGS_KEPT = 50
DAY_S = 86_400.0

Mask: TypeAlias = NDArray[np.bool_]
Group: TypeAlias = tuple[FunctionName, EndpointId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of one endpoint as arrays: seconds since the epoch, WATCHED features as logarithms, ln of latency (NaN
    for a failure or a cold start), ln of the served prediction (NaN for none), failed 0 or 1."""

    at: Floats
    features: Floats
    log_ms: Floats
    said_log_ms: Floats
    failed: Floats


def calls_of(records: Iterable[InvocationRecord]) -> dict[Group, Calls]:
    """Of each endpoint of each function, what FISO itself saw of it: what tenants report raises no alarm."""
    rows: dict[Group, list[tuple[float, ...]]] = {}
    for record in records:
        row = _row(record)
        endpoint = record.result.endpoint
        if row is not None and endpoint is not None:
            rows.setdefault((record.request.function_name, endpoint), []).append(row)
    return {group: _columns(np.array(numbers)) for group, numbers in rows.items()}


def _row(record: InvocationRecord) -> tuple[float, ...] | None:
    result, decision = record.result, record.decision
    if record.status is not RecordStatus.FINAL or result.execution_time_ms is None or decision.lease_id is not None:
        return None
    seen = [decision.features.get(name, nan) for name in WATCHED]
    if not all(isfinite(value) and value >= 0 for value in seen) or not result.execution_time_ms > 0:
        return None
    is_warm = not result.error_occurred and not result.cold_start and result.response_status < 400
    said = decision.raw_latency_ms
    return (
        record.timestamp.timestamp(),
        log(max(result.execution_time_ms, SHORTEST_MS)) if is_warm else nan,
        log(max(said, SHORTEST_MS)) if said is not None and isfinite(said) else nan,
        float(result.error_occurred),
        *seen,
    )


def _columns(rows: Floats) -> Calls:
    return Calls(
        at=rows[:, 0], log_ms=rows[:, 1], said_log_ms=rows[:, 2], failed=rows[:, 3], features=np.log1p(rows[:, 4:])
    )


def report(
    calls: Mapping[Group, Calls],
    *,
    now: datetime,
    learned_until: datetime | None = None,
    champion_version: str | None = None,
    threshold: float = THRESHOLD,
) -> DriftReport:
    """The day up to `now` against the days that end by `learned_until`, at least the FEWEST_DAYS oldest ones; all days
    before, where no champion has learned."""
    ages = {group: _ages(of.at, now) for group, of in calls.items()}
    days = _reference_days(ages.values(), now, learned_until)
    seen = DriftReport(
        at=now,
        threshold=threshold,
        reason="",
        champion_version=champion_version,
        learned_until=learned_until,
        reference_days=len(days),
        rows=sum(len(age) for age in ages.values()),
    )
    if len(days) < FEWEST_DAYS:
        return replace(seen, reason=f"too few days to compare with: {len(days)} of the {FEWEST_DAYS} that are needed")
    measured = [
        (group, list(_measures(calls[group], age, days))) for group, age in sorted(ages.items()) if np.any(age == 0)
    ]
    told = [(group, measures) for group, measures in measured if measures]
    return _judged(seen, told, thin=len(measured) - len(told))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """One number of the day and of each reference day that has calls enough. `is_distance`: only more is a change."""

    kind: DriftKind
    today: float
    usual: Floats
    feature: str | None = None
    is_distance: bool = False


def _ages(at: Floats, now: datetime) -> Floats:
    """Whole days before `now`; negative for what a clock that is ahead wrote."""
    ages: Floats = np.floor((now.timestamp() - at) / DAY_S)
    return ages


def _reference_days(ages: Iterable[Floats], now: datetime, learned_until: datetime | None) -> list[float]:
    known = {float(age) for of in ages for age in np.unique(of) if age >= 1}
    if learned_until is None:
        return sorted(known)
    since_days = (now - learned_until).total_seconds() / DAY_S
    learned = {age for age in known if age >= since_days}
    return sorted(learned | set(sorted(known)[-FEWEST_DAYS:]))


def _measures(calls: Calls, ages: Floats, days: list[float]) -> Iterator[_Measure]:
    """Nothing where the day or the reference is thin."""
    today = ages == 0
    usual = [of_day for day in days if np.count_nonzero(of_day := ages == day) >= FEWEST_ROWS]
    if np.count_nonzero(today) < FEWEST_ROWS or len(usual) < FEWEST_DAYS:
        return
    reference = np.logical_or.reduce(usual)
    for column, name in enumerate(WATCHED):
        yield _distance(name, calls.features[:, column], today, usual, reference)
    yield from _means(DriftKind.FAILURE, calls.failed, today, usual)
    missed = np.abs(calls.log_ms - calls.said_log_ms)
    yield from _means(DriftKind.ERROR, missed, today, usual, is_distance=True)
    yield from _means(DriftKind.CONCEPT, _unexplained(calls, reference), today, usual)


def _distance(name: str, values: Floats, today: Mask, usual: list[Mask], reference: Mask) -> _Measure:
    """The normalised Wasserstein distance of the day, and of each reference day, from the reference."""
    whole = values[reference]
    thinned = np.sort(whole)[:: max(1, len(whole) // MOST_ROWS_COMPARED)]
    # A feature that never changed has no spread of its own: a hundredth then counts as one deviation.
    scale = max(float(np.std(whole)), 0.01)

    def apart(day: Mask) -> float:
        return float(stats.wasserstein_distance(values[day], thinned)) / scale

    # From the other days: |F - G| is linear in what a day itself adds to the reference.
    own = [apart(day) / max(1 - np.count_nonzero(day) / len(whole), 0.1) for day in usual]
    return _Measure(kind=DriftKind.FEATURE, feature=name, today=apart(today), usual=np.array(own), is_distance=True)


def _means(
    kind: DriftKind, values: Floats, today: Mask, usual: list[Mask], *, is_distance: bool = False
) -> Iterator[_Measure]:
    known = np.isfinite(values)
    days = [float(np.mean(values[day & known])) for day in usual if np.count_nonzero(day & known) >= FEWEST_ROWS]
    if np.count_nonzero(today & known) >= FEWEST_ROWS and len(days) >= FEWEST_DAYS:
        mean = float(np.mean(values[today & known]))
        yield _Measure(kind=kind, today=mean, usual=np.array(days), is_distance=is_distance)


def _unexplained(calls: Calls, reference: Mask) -> Floats:
    """By how much each call's ln(latency) differs from what its size, load and idle time explain in the reference."""
    explain = np.column_stack([np.ones(len(calls.at)), calls.features[:, EXPLAIN]])
    learned = reference & np.isfinite(calls.log_ms)
    if not np.any(learned):
        return calls.log_ms
    weights, *_ = np.linalg.lstsq(explain[learned], calls.log_ms[learned], rcond=None)
    left: Floats = calls.log_ms - explain @ weights
    return left


def _judged(seen: DriftReport, told: list[tuple[Group, list[_Measure]]], *, thin: int) -> DriftReport:
    measures = sum(len(of) for _, of in told)
    found = [_finding(group, each, seen.threshold, measures) for group, of in told for each in of]
    found.sort(key=lambda one: (not one.is_drift, -abs(one.effect)))
    drifting = [one for one in found if one.is_drift]
    whole = replace(
        seen,
        endpoints=len(told),
        thin=thin,
        measures=measures,
        drifting=len(drifting),
        largest=abs(drifting[0].effect) if drifting else 0.0,
        findings=tuple(found[:FINDINGS_KEPT]),
    )
    if not told:
        return replace(whole, reason=f"no endpoint has {FEWEST_ROWS} calls a day: there is nothing to compare")
    if not drifting:
        return replace(
            whole, reason=f"no drift: {measures} measures of {len(told)} endpoints lie within their usual days"
        )
    return replace(whole, reason=f"drift: {len(drifting)} of {measures} measures; most, {words_of(drifting[0])}")


def _chance(measure: _Measure, rare: float) -> float:
    """How far one more day lies from the usual one by chance, but for a share of days as `rare` as this."""
    # A distance is skewed to the right: its square root is closer to a normal distribution.
    usual = np.sqrt(measure.usual) if measure.is_distance else measure.usual
    reach = float(stats.t.isf(rare if measure.is_distance else rare / 2, len(usual) - 1))
    spread = reach * float(np.std(usual, ddof=1)) * sqrt(1 + 1 / len(usual))
    if not measure.is_distance:
        return spread
    return pow(float(np.mean(usual)) + spread, 2) - float(np.mean(measure.usual))


def words_of(finding: DriftFinding) -> str:
    """One finding in words."""
    what = finding.feature or finding.kind.value
    return f"{finding.function_name} on {finding.endpoint}: {what} {finding.effect:+.2f} (chance {finding.noise:.2f})"


def _finding(group: Group, measure: _Measure, threshold: float, measures: int) -> DriftFinding:
    effect = measure.today - float(np.mean(measure.usual))
    noise = _chance(measure, 1 / (ALARMS_ONE_IN * measures))
    size = effect if measure.is_distance else abs(effect)
    own = measure.usual - np.mean(measure.usual)
    farthest = float(np.max(own if measure.is_distance else np.abs(own)))
    function_name, endpoint = group
    return DriftFinding(
        function_name=function_name,
        endpoint=endpoint,
        kind=measure.kind,
        feature=measure.feature,
        effect=round(effect, 4),
        noise=round(noise, 4),
        is_drift=size >= threshold and size > max(noise, farthest),
    )
