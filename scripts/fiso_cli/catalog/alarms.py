"""Burn-rate alarms by function, of those that promise something (policy key `objectives`): what should stand in
CloudWatch, what does, and the difference. The stage's own alarms (`scripts/serverless/burn-rates.yml`) watch all
functions together; a small one that fails beside a large one rings here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiso.domain.catalog import CatalogEntry
from fiso.domain.policy import Objectives

MOST = 10
"""Functions with alarms of their own unless more are asked for: each costs MONTHLY_USD."""
MONTHLY_USD = 4 * 0.10 + 0.50
"""Four alarms of one metric and a composite one ("Amazon CloudWatch pricing", 2026-11)."""
METRIC = "ObjectiveBurn"
WINDOWS: Mapping[str, tuple[int, float]] = {
    "fast-hour": (3_600, 14.4),
    "fast-now": (300, 14.4),
    "slow-hours": (21_600, 6.0),
    "slow-now": (1_800, 6.0),
}
"""Seconds and burn rate of each, as the stage's own: 2 % of a month's allowance in an hour, 5 % in six."""
_MARK = "uses up what its objectives allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The functions that have alarms of their own, the strictest promises first, and those that are left to the
    stage's."""

    functions: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def monthly_usd(self) -> float:
        return len(self.functions) * MONTHLY_USD


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Functions whose alarms are to be made, or made anew; and names that are to go, composite ones first."""

    make: tuple[str, ...]
    remove: tuple[str, ...]


def wanted(entries: Sequence[CatalogEntry], most: int = MOST) -> Wanted:
    promised = sorted((_allowed(e.policy.objectives), e.name) for e in entries if e.policy.objectives)
    names = [str(name) for _, name in promised]
    return Wanted(functions=tuple(names[:most]), left=tuple(names[most:]))


def _allowed(promised: Objectives | None) -> float:
    """Of 100 requests, how many may miss."""
    if promised is None:
        return 100.0
    by_error = 100.0 if promised.availability is None else 100 - promised.availability
    return min(by_error, 100.0 if promised.latency_ms is None else 100 - promised.latency_share)


def name_of(stage: str, function: str, window: str = "") -> str:
    return f"fiso-{stage}-burn-{function}" + (f"-{window}" if window else "")


def parts(stage: str, function: str) -> list[dict[str, Any]]:
    """`PutMetricAlarm` of each window. They tell nobody."""
    return [
        {
            "AlarmName": name_of(stage, function, window),
            "AlarmDescription": f"Part of {name_of(stage, function)}.",
            "ActionsEnabled": False,
            "TreatMissingData": "notBreaching",
            "Namespace": "FISO",
            "MetricName": METRIC,
            "Dimensions": [{"Name": "service", "Value": f"fiso-{stage}"}, {"Name": "function", "Value": function}],
            "Statistic": "Average",
            "Period": period_s,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": rate,
            "EvaluationPeriods": 1,
        }
        for window, (period_s, rate) in WINDOWS.items()
    ]


def whole(stage: str, function: str, actions: Sequence[str]) -> dict[str, Any]:
    """`PutCompositeAlarm`: both windows of a pair, so that it rings soon and ends soon."""
    return {
        "AlarmName": name_of(stage, function),
        "AlarmDescription": f"{function} {_MARK} within days; `fiso diagnose {function} --stage {stage}` says why.",
        "ActionsEnabled": True,
        "AlarmRule": _rule(stage, function),
        "AlarmActions": [*actions],
        "OKActions": [*actions],
    }


def _rule(stage: str, function: str) -> str:
    ringing = {window: f'ALARM("{name_of(stage, function, window)}")' for window in WINDOWS}
    fast, slow = (f"({ringing[one]} AND {ringing[other]})" for one, other in _PAIRS)
    return f"{fast} OR {slow}"


_PAIRS = (("fast-hour", "fast-now"), ("slow-hours", "slow-now"))


class CloudWatchAlarms:
    """The alarms that stand. `client` is boto3's CloudWatch client."""

    def __init__(self, client: Any, stage: str) -> None:
        self._client, self._stage = client, stage

    def actions(self) -> tuple[str, ...]:
        """Whom the stage's own burn-rate alarm tells: these tell the same."""
        name = f"fiso-{self._stage}-fast-burn"
        found = self._client.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])
        return tuple(action for each in found.get("CompositeAlarms", []) for action in each.get("AlarmActions", []))

    def difference(self, functions: Sequence[str], actions: Sequence[str]) -> Difference:
        standing = dict(self._standing())
        make, keep = [], set[str]()
        for function in functions:
            whole_, parts_ = whole(self._stage, function, actions), parts(self._stage, function)
            keep |= {each["AlarmName"] for each in (whole_, *parts_)}
            if not all(_is_as(each, standing.get(each["AlarmName"], {})) for each in (whole_, *parts_)):
                make.append(function)
        gone = [name for name in standing if name not in keep]
        composite = [name for name in gone if "AlarmRule" in standing[name]]
        return Difference(make=tuple(make), remove=(*composite, *(name for name in gone if name not in composite)))

    def apply(self, found: Difference, actions: Sequence[str]) -> None:
        """Repeating it changes nothing. Parts come before what names them, and go after it."""
        for function in found.make:
            for part in parts(self._stage, function):
                self._client.put_metric_alarm(**part)
            self._client.put_composite_alarm(**whole(self._stage, function, actions))
        composite = [name for name in found.remove if not name.endswith(tuple(WINDOWS))]
        for name in composite:  # the API takes one composite alarm at a time
            self._client.delete_alarms(AlarmNames=[name])
        rest = [name for name in found.remove if name not in composite]
        for first in range(0, len(rest), 100):
            self._client.delete_alarms(AlarmNames=rest[first : first + 100])

    def _standing(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Those that are ours by what they watch, and not by their names alone: a stage called `prod-burn` has alarms
        whose names begin alike."""
        asked: dict[str, Any] = {
            "AlarmNamePrefix": f"fiso-{self._stage}-burn-",
            "AlarmTypes": ["CompositeAlarm", "MetricAlarm"],
            "MaxRecords": 100,
        }
        while True:
            page = self._client.describe_alarms(**asked)
            for each in page.get("MetricAlarms", []):
                service = {"Name": "service", "Value": f"fiso-{self._stage}"}
                if each.get("MetricName") == METRIC and service in each.get("Dimensions", []):
                    yield each["AlarmName"], each
            for each in page.get("CompositeAlarms", []):
                named = re.fullmatch(rf"fiso-{re.escape(self._stage)}-burn-(.+)", each["AlarmName"])
                if named and each.get("AlarmRule") == _rule(self._stage, named[1]):
                    yield each["AlarmName"], each
            if not page.get("NextToken"):
                return
            asked["NextToken"] = page["NextToken"]


def _is_as(wanted: Mapping[str, Any], standing: Mapping[str, Any]) -> bool:
    def plain(value: object) -> object:
        return sorted(map(str, value)) if isinstance(value, list) else value

    return all(
        plain(standing.get(key, [] if isinstance(value, list) else None)) == plain(value)
        for key, value in wanted.items()
    )
