"""Time series: points as they are written and read, with the aligners and reducers that queries of them name.

Rules are Google's as documented (cloud.google.com/monitoring/custom-metrics/creating-metrics, api/ref_v3/rest/v3/
projects.alertPolicies#Aligner): 200 series a call, a point of a series every 5 s at the most often and in order, a
descriptor's kind and type for good, aligners for the kinds and types that they are for.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from localcloud.google_cloud.discovery import Invalid
from localcloud.google_cloud.filters import parsed
from localcloud.google_cloud.world import Document

SHORTEST = timedelta(seconds=5)
MOST_SERIES = 200
_PREFIXES = ("metric.type", "metric.labels.", "metric.label.", "resource.type", "resource.labels.", "resource.label.")
Value: TypeAlias = Any
"""A number, or a distribution as bounds and counts."""


def moment(text: str) -> datetime:
    """Of RFC 3339."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def _is_field(name: str) -> bool:
    return any(name == each or (each.endswith(".") and name.startswith(each)) for each in _PREFIXES)


@dataclass(slots=True)
class Series:
    """One series: what it is of, and its points by their ends."""

    head: Document
    points: list[tuple[datetime, Document]] = field(default_factory=list)

    def value(self, document: Document) -> Value:
        """Of a point."""
        given = document["value"]
        if "distributionValue" in given:
            return {name: float(count) for name, count in enumerate(given["distributionValue"]["bucketCounts"])}
        return float(next(iter(given.values())))

    @property
    def bounds(self) -> list[float]:
        """Upper ends of a distribution's buckets."""
        found: list[float] = self.points[-1][1]["value"]["distributionValue"]["bucketOptions"]["explicitBuckets"][
            "bounds"
        ]
        return found


def refusal(series: Series | None, given: Document, descriptor: Document | None, now: datetime) -> str:
    """Why a point is not taken; empty where it is."""
    (point,) = given["points"]
    end = moment(point["interval"]["endTime"])
    name = given["metric"]["type"]
    if descriptor and (descriptor["metricKind"], descriptor["valueType"]) != (given["metricKind"], given["valueType"]):
        return f"Value type for metric {name} must be {descriptor['valueType']}, of kind {descriptor['metricKind']}."
    if (
        given["metricKind"] == "CUMULATIVE"
        and moment(point["interval"].get("startTime", "9999-01-01T00:00:00Z")) >= end
    ):
        return "The start time must be before the end time for the non-gauge metric."
    if not now - timedelta(hours=25) < end < now + timedelta(minutes=5):
        return "One or more data points are too old or in the future."
    if series and series.points and end <= series.points[-1][0]:
        return (
            "Points must be written in order. One or more of the points specified had an older end time than the most "
            "recent point."
        )
    if series and series.points and end - series.points[-1][0] < SHORTEST:
        return "One or more points were written more frequently than the maximum sampling period configured for it."
    return ""


def queried(all_series: Iterable[Series], query: Mapping[str, str]) -> list[Document]:
    """What `timeSeries.list` answers: chosen, aligned, reduced. Raises `Invalid`."""
    holds = parsed(query["filter"], _is_field)
    if "metric.type" not in query["filter"]:
        raise Invalid("The provided filter does not specify exactly one metric.type.")
    chosen = [each for each in all_series if holds(_labelled(each.head))]
    aligner = query.get("aggregation.perSeriesAligner", "ALIGN_NONE")
    start, end = moment(query["interval.startTime"]), moment(query["interval.endTime"])
    period = timedelta(seconds=float(query.get("aggregation.alignmentPeriod", "60s").removesuffix("s")))
    if period < timedelta(seconds=60) and aligner != "ALIGN_NONE":
        raise Invalid("The alignment period must be at least 60 seconds.")
    aligned = [(each, list(_aligned(each, aligner, start, end, period))) for each in chosen]
    reducer = query.get("aggregation.crossSeriesReducer", "REDUCE_NONE")
    if reducer == "REDUCE_NONE":
        return [_told(each.head, points) for each, points in aligned if points]
    if aligner == "ALIGN_NONE":
        raise Invalid("A reducer needs an aligner.")
    groups: dict[tuple[tuple[str, str], ...], list[tuple[Series, list[tuple[datetime, Value]]]]] = {}
    for each, points in aligned:
        names = [name for name in query.get("aggregation.groupByFields", "").split(",") if name]
        key = tuple((name, str(_field(_labelled(each.head), name))) for name in names)
        groups.setdefault(key, []).append((each, points))
    return [_told(_grouped(key, members[0][0].head), _reduced(members, reducer)) for key, members in groups.items()]


def _labelled(head: Document) -> Document:
    """With the two ways in which labels are spoken of."""
    return {
        part: {**head[part], "label": head[part].get("labels", {}), "labels": head[part].get("labels", {})}
        for part in ("metric", "resource")
    }


def _field(document: Any, name: str) -> Any:
    if not _is_field(name):
        raise Invalid(f"The group by field {name} is not recognized.")
    for part in name.split("."):
        document = document.get(part, "") if isinstance(document, Mapping) else ""
    return document


_OF = {
    "ALIGN_NONE": (("GAUGE", "DELTA", "CUMULATIVE"), ("INT64", "DOUBLE", "DISTRIBUTION", "BOOL")),
    "ALIGN_DELTA": (("DELTA", "CUMULATIVE"), ("INT64", "DOUBLE", "DISTRIBUTION")),
    "ALIGN_RATE": (("DELTA", "CUMULATIVE"), ("INT64", "DOUBLE")),
    "ALIGN_MEAN": (("GAUGE",), ("INT64", "DOUBLE", "DISTRIBUTION")),
    "ALIGN_MAX": (("GAUGE",), ("INT64", "DOUBLE")),
    "ALIGN_SUM": (("GAUGE", "DELTA"), ("INT64", "DOUBLE", "DISTRIBUTION")),
    "ALIGN_PERCENTILE_99": (("GAUGE", "DELTA"), ("DISTRIBUTION",)),
    "ALIGN_PERCENTILE_50": (("GAUGE", "DELTA"), ("DISTRIBUTION",)),
}


def _aligned(
    series: Series, aligner: str, start: datetime, end: datetime, period: timedelta
) -> Iterator[tuple[datetime, Value]]:
    kinds, types = _OF.get(aligner, ((), ()))
    kind, type_ = series.head["metricKind"], series.head["valueType"]
    if kind not in kinds or type_ not in types:
        raise Invalid(f"{aligner} cannot be applied to metrics with kind {kind} and value type {type_}.")
    if aligner == "ALIGN_NONE":
        yield from ((at, series.value(point)) for at, point in series.points if start < at <= end)
        return
    ends = [end - period * number for number in range(int((end - start) / period) + 1)]
    for until in reversed(ends):
        value = _window(series, aligner, until - period, until) if until > start else None
        if value is not None:
            yield until, value


def _window(series: Series, aligner: str, start: datetime, end: datetime) -> Value | None:
    inside = [series.value(point) for at, point in series.points if start < at <= end]
    if not inside:
        return None
    if aligner in ("ALIGN_DELTA", "ALIGN_RATE") and series.head["metricKind"] == "CUMULATIVE":
        before = [series.value(point) for at, point in series.points if at <= start]
        change = _less(inside[-1], before[-1]) if before else inside[-1]
    else:
        change = _sum(inside)
    if aligner == "ALIGN_RATE":
        return change / (end - start).total_seconds()
    if aligner == "ALIGN_MEAN":
        return sum(inside) / len(inside)
    if aligner == "ALIGN_MAX":
        return max(inside)
    return _percentile(change, series.bounds, int(aligner[-2:])) if "PERCENTILE" in aligner else change


def _reduced(members: list[tuple[Series, list[tuple[datetime, Value]]]], reducer: str) -> list[tuple[datetime, Value]]:
    by_end: dict[datetime, list[Value]] = {}
    for _, points in members:
        for at, value in points:
            by_end.setdefault(at, []).append(value)
    found = []
    for at, values in sorted(by_end.items()):
        if reducer in ("REDUCE_SUM", "REDUCE_COUNT"):
            found.append((at, _sum(values) if reducer == "REDUCE_SUM" else float(len(values))))
        elif reducer in ("REDUCE_MEAN", "REDUCE_MAX"):
            found.append((at, max(values) if reducer == "REDUCE_MAX" else sum(values) / len(values)))
        elif reducer in ("REDUCE_PERCENTILE_50", "REDUCE_PERCENTILE_99") and isinstance(values[0], dict):
            found.append((at, _percentile(_sum(values), members[0][0].bounds, int(reducer[-2:]))))
        else:
            raise Invalid(f"{reducer} is not known here, or not for these values.")
    return found


def _sum(values: list[Value]) -> Value:
    if not isinstance(values[0], dict):
        return sum(values)
    return {bucket: sum(each[bucket] for each in values) for bucket in values[0]}


def _less(after: Value, before: Value) -> Value:
    if not isinstance(after, dict):
        return after - before
    return {bucket: after[bucket] - before[bucket] for bucket in after}


def _percentile(counts: Mapping[int, float], bounds: list[float], which: int) -> float:
    """Linear within the bucket; of what is above the last bound the bound itself."""
    wanted, below, low = sum(counts.values()) * which / 100, 0.0, 0.0
    for number, high in enumerate([*bounds, math.inf]):
        if below + counts[number] >= wanted and counts[number]:
            share = (wanted - below) / counts[number]
            return low if high == math.inf else low + (high - low) * share
        below, low = below + counts[number], high
    return low


def _grouped(key: tuple[tuple[str, str], ...], head: Document) -> Document:
    def labels(part: str) -> dict[str, str]:
        return {name.rpartition(".")[2]: value for name, value in key if name.startswith(f"{part}.")}

    return {
        **head,
        "metric": {"type": head["metric"]["type"], "labels": labels("metric")},
        "resource": {"type": head["resource"]["type"], "labels": labels("resource")},
    }


def _told(head: Document, points: Iterable[tuple[datetime, Value]]) -> Document:
    def value(each: Value) -> Document:
        if isinstance(each, dict):
            counts = [str(int(count)) for count in each.values()]
            return {"distributionValue": {"count": str(int(sum(each.values()))), "bucketCounts": counts}}
        return {"doubleValue": each}

    told = [
        {"interval": {"startTime": _text(at), "endTime": _text(at)}, "value": value(each)}
        for at, each in sorted(points, key=lambda each: each[0], reverse=True)
    ]
    return {**{name: head[name] for name in ("metric", "resource")}, "metricKind": "GAUGE", "points": told}


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
