"""CloudWatch's embedded metric format: the metrics that a log line carries. Pure; standard library only.

Format: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDatum:
    """One metric of one line under one set of dimensions."""

    namespace: str
    name: str
    unit: str
    values: tuple[float, ...]
    dimensions: tuple[tuple[str, str], ...]
    timestamp_ms: int


def metrics_of(line: str, received_ms: int) -> list[MetricDatum]:
    """The line's metrics, if any. What does not follow the format is left out, as CloudWatch does."""
    if not line.startswith("{") or '"CloudWatchMetrics"' not in line:
        return []
    try:
        document = json.loads(line)
    except ValueError:
        return []
    return list(_data(document, received_ms)) if isinstance(document, dict) else []


def _data(document: Mapping[str, object], received_ms: int) -> Iterator[MetricDatum]:
    metadata = _mapping(document.get("_aws"))
    timestamp = metadata.get("Timestamp")
    for directive in map(_mapping, _items(metadata.get("CloudWatchMetrics"))):
        for names in _items(directive.get("Dimensions")) or [[]]:
            for metric in map(_mapping, _items(directive.get("Metrics"))):
                values = _values(document.get(str(metric.get("Name"))))
                if values:
                    yield MetricDatum(
                        namespace=str(directive.get("Namespace")),
                        name=str(metric.get("Name")),
                        unit=str(metric.get("Unit", "None")),
                        values=values,
                        dimensions=tuple((str(n), str(document[str(n)])) for n in _items(names) if str(n) in document),
                        timestamp_ms=timestamp if isinstance(timestamp, int) else received_ms,
                    )


def _values(value: object) -> tuple[float, ...]:
    candidates = value if isinstance(value, list) else [value]
    numbers = [v for v in candidates if isinstance(v, int | float) and not isinstance(v, bool)]
    return tuple(map(float, numbers)) if len(numbers) == len(candidates) else ()


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
