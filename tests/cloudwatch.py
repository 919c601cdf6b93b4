"""A stand-in for CloudWatch's alarms, after its published rules (its user guide, "Alarm evaluation"):
the last periods alone, all of which must breach; what is missing counts as the alarm says. The emulator's evaluates
neither missing data nor several periods.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}


class Point(NamedTuple):
    """A value of a metric, so many seconds ago."""

    ago_s: float
    value: float


def state_of(alarm: Mapping[str, Any], points: Sequence[Point]) -> str:
    """OK or ALARM. An alarm that this does not know raises `KeyError`."""
    period, wanted = alarm["Period"], alarm["EvaluationPeriods"]
    breaching = [_breaches(alarm, [p.value for p in points if p.ago_s // period == back]) for back in range(wanted)]
    return "ALARM" if all(breaching) else "OK"


def _breaches(alarm: Mapping[str, Any], values: Sequence[float]) -> bool:
    if not values:
        return {"breaching": True, "notBreaching": False}[alarm["TreatMissingData"]]
    return OPERATORS[alarm["ComparisonOperator"]](_statistic(alarm, values), float(alarm["Threshold"]))


def _statistic(alarm: Mapping[str, Any], values: Sequence[float]) -> float:
    if "ExtendedStatistic" in alarm:
        share = float(alarm["ExtendedStatistic"].removeprefix("p")) / 100
        return sorted(values)[ceil(share * len(values)) - 1]
    known = {"Sum": sum(values), "Average": sum(values) / len(values), "Maximum": max(values)}
    return known[alarm["Statistic"]]
