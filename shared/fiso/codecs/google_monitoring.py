"""Google Cloud's form of what FISO tells it: log entries (logging.entries.write, v2) of attempts, and time series
(monitoring.timeSeries.create, v3) of folded states, under the brief's names of metrics.

A state's sums only grow and are the same whoever reads them, so a point that is written twice, or late, changes
nothing: Google refuses what is not newer. docs/observability.md
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from fiso.domain.state import LATENCY_BOUNDS_MS, EndpointState

Document: TypeAlias = dict[str, Any]
LOG, METRICS = "fiso-attempts", "custom.googleapis.com"
BEGAN = "2026-01-01T00:00:00Z"
"""When every sum began, as Google wants it of a cumulative series: before any state, and never another."""
LABELS = ("status",)


def entry(row: Mapping[str, object], project: str) -> Document:
    """A row (`services.log.monitored`) as a log entry. `insertId` and timestamp make a repeated one the same entry."""
    told = {name: value for name, value in row.items() if value is not None and name != "TimeGenerated"}
    made: Document = {
        "logName": f"projects/{project}/logs/{LOG}",
        "resource": _resource(project, str(row["stage"]), str(row["function_name"]), str(row["endpoint"])),
        "timestamp": row["TimeGenerated"],
        "insertId": f"{row['invocation_id']}-{row['attempt']}",
        "severity": "ERROR" if row["error_occurred"] else "INFO",
        "jsonPayload": told,
    }
    return made | ({"trace": f"projects/{project}/traces/{row['trace_id']}"} if row["trace_id"] else {})


def series(states: Iterable[EndpointState], *, project: str, stage: str, now: datetime) -> list[Document]:
    """A point of each series of these copies' states."""
    end = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return [
        {
            "metric": {"type": f"{METRICS}/{name}", "labels": labels},
            "resource": _resource(project, stage, state.function, state.endpoint),
            "metricKind": kind,
            "valueType": _VALUE_TYPES[next(iter(value))],
            "points": [{"interval": {"endTime": end, **({"startTime": BEGAN} if kind == SUM else {})}, "value": value}],
        }
        for state in states
        for name, kind, value, labels in _measures(state)
    ]


def _resource(project: str, stage: str, function: str, endpoint: str) -> Document:
    """A copy. Its region is in the endpoint's name: a label that is not always known would split a series in two."""
    labels = {"project_id": project, "location": "global", "namespace": f"fiso-{stage}"}
    return {"type": "generic_task", "labels": {**labels, "job": function, "task_id": endpoint}}


SUM, NOW = "CUMULATIVE", "GAUGE"
_VALUE_TYPES = {"int64Value": "INT64", "doubleValue": "DOUBLE", "distributionValue": "DISTRIBUTION"}


def _measures(state: EndpointState) -> Iterator[tuple[str, str, Document, Mapping[str, str]]]:
    totals = state.totals
    counted = {
        "attempts_total": state.attempts,
        "attempt_failures_total": state.failures,
        "cold_starts_total": state.cold_starts,
        "objective_slow_total": totals.slow,
        "predicted_answers_total": totals.foretold,
    }
    summed = {
        "cost_usd_total": state.cost_usd,
        "prediction_error_seconds_total": totals.error_us / 1e6,
        "recent_mean_error_seconds_total": totals.mean_error_us / 1e6,
    }
    for status, count in (("success", totals.requests - totals.errors), ("error", totals.errors)):
        yield "fiso_invocations_total", SUM, {"int64Value": str(count)}, {"status": status}
    for name, count in counted.items():
        yield f"fiso_{name}", SUM, {"int64Value": str(count)}, {}
    for name, amount in summed.items():
        yield f"fiso_{name}", SUM, {"doubleValue": amount}, {}
    if totals.latencies:
        yield "fiso_invocation_duration_seconds", SUM, {"distributionValue": _distribution(state)}, {}
    if state.attempts:
        yield "fiso_invocation_cost_usd", NOW, {"doubleValue": state.cost_usd / state.attempts}, {}
    yield "fiso_in_flight_requests", NOW, {"doubleValue": state.in_flight}, {}


def _distribution(state: EndpointState) -> Document:
    count = sum(state.totals.latencies)
    return {
        "count": str(count),
        "mean": state.totals.latency_us / 1e6 / count if count else 0.0,
        "bucketOptions": {"explicitBuckets": {"bounds": [bound / 1000 for bound in LATENCY_BOUNDS_MS]}},
        "bucketCounts": [str(each) for each in state.totals.latencies],
    }
