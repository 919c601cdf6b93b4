"""Logger and metrics of the functions, the logger on Powertools. Imported by `functions/` only.

Structured logs carry the fields of `LOGGED`, never a payload, a key or a token. This is the one place through which
every line goes, and what others wrote is redacted here (`core.redaction`). Metrics go out as one EMF line per set of
dimensions when `flush` is called, at the end of an invocation.
"""

import json
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from queue import SimpleQueue
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from fiso.domain.record import InvocationRecord
from fiso_client.core import redaction

NAMESPACE = "FISO"
_OWN = frozenset({"level", "location", "timestamp", "service", "sampling_rate", "xray_trace_id"})
"""Written by the logger itself."""
_SEALED = frozenset({"log_spill"})
"""Redacted by who wrote it, and marked since: the mark is over each byte."""
_TRACES = frozenset({"exception", "exception_name", "exception_notes"})
LOGGED = frozenset(
    "message invocation_id decision_id lease_id function endpoint provider region attempt attempts outcome reason "
    "status latency_ms overhead_ms log_spill cause closed_as_unknown has_more_open replayed unreadable unmarked "
    "contradicted all_lines_read merged published_version problems lambda_request_id gateway_request_id trace_id "
    "rows promoted by mode champion_version challenger_version champion_error challenger_error trigger".split()
)
"""The fields that a line may have beside those. Name a new one here; any other is left out, and said to be."""

_REDACTED = LOGGED - _SEALED
_IDS = frozenset({"lambda_request_id", "gateway_request_id", "trace_id"})
_LONGEST_ID = 64

_Dimensions = tuple[tuple[str, str], ...]
_MOST = 100


class EmbeddedMetrics:
    """The port `Metrics`: collects values, then writes them as embedded metrics.

    Each counts under the service and its dimensions (dashboards), and under the service alone (alarms). Written here:
    Powertools' own took a fifth of a request's time in memory.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._pending: SimpleQueue[tuple[_Dimensions, str, str, float]] = SimpleQueue()

    def add(self, name: str, value: float, unit: str, **dimensions: str) -> None:
        """Count one value of a metric. Safe while another thread flushes: refreshes count from theirs."""
        self._pending.put((tuple(sorted(dimensions.items())), name, unit, value))

    def flush(self) -> None:
        by_dimensions: dict[_Dimensions, list[tuple[str, str, float]]] = defaultdict(list)
        for _ in range(self._pending.qsize()):
            dimensions, name, unit, value = self._pending.get_nowait()
            by_dimensions[dimensions].append((name, unit, value))
        for dimensions, values in by_dimensions.items():
            for line in _embedded({"service": self._service, **dict(dimensions)}, values):
                sys.stdout.write(f"{line}\n")


def _embedded(labels: Mapping[str, str], values: Sequence[tuple[str, str, float]]) -> Iterator[str]:
    """Lines in CloudWatch's embedded metric format, each within its limits: 100 metrics, 100 values of each.

    docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    units: dict[str, str] = {}
    arrays: dict[str, list[float]] = {}
    for name, unit, value in values:
        units.setdefault(name, unit)
        arrays.setdefault(name, []).append(float(value))
        if len(arrays) == _MOST or len(arrays[name]) == _MOST:
            yield _line(labels, units, arrays)
            units, arrays = {}, {}
    if arrays:
        yield _line(labels, units, arrays)


def _line(labels: Mapping[str, str], units: Mapping[str, str], arrays: Mapping[str, list[float]]) -> str:
    dimensions = [["service"], [*labels]] if len(labels) > 1 else [["service"]]
    metrics = [{"Name": name, "Unit": unit} for name, unit in units.items()]
    stated = {"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}
    document = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [stated]}, **labels, **arrays}
    return json.dumps(document, separators=(",", ":"))


@cache
def service() -> str:
    """The service that metrics and logs are labelled with: one per stage."""
    return f"fiso-{os.environ.get('FISO_STAGE', 'unknown')}"


@cache
def metrics() -> EmbeddedMetrics:
    """The one collector of this execution environment."""
    return EmbeddedMetrics(service())


def identify(event: object, context: object) -> None:
    """Begin an invocation: from here on each line has Lambda's id of it, and API Gateway's where that called."""
    told = event.get("requestContext") if isinstance(event, Mapping) else None
    gateways = told.get("requestId") if isinstance(told, Mapping) else None
    ids = {"lambda_request_id": getattr(context, "aws_request_id", None), "gateway_request_id": gateways}
    logger().append_keys(**{name: id[:_LONGEST_ID] if isinstance(id, str) else None for name, id in ids.items()})


def flush() -> None:
    """Write the collected metrics; call at the end of an invocation.

    Never raises: it stands in a `finally`, where an error would take the answer's place.
    """
    try:
        metrics().flush()
    except Exception:
        logging.getLogger("fiso").exception("metrics are not written")


class RedactingFormatter(LambdaPowertoolsFormatter):
    """Lines of allowed fields only, without secrets and without control characters."""

    def serialize(self, log: Any) -> str:
        line: dict[str, Any] = {name: value for name, value in log.items() if name in _OWN}
        log = {name: value for name, value in log.items() if value is not None or name not in _IDS}
        line |= {name: redaction.redact_document(value) for name, value in log.items() if name in _REDACTED}
        line |= {name: value for name, value in log.items() if name in _SEALED}
        line |= {name: _trace(value) for name, value in log.items() if name in _TRACES}
        left_out = log.keys() - line.keys() - {"stack_trace"}  # the exception's own text has it already
        if left_out:
            line["fields_left_out"] = sorted(redaction.redact(name) for name in left_out)
        return super().serialize(line)


def _trace(value: object) -> str:
    return redaction.redact(str(value), limit=redaction.LONGEST_TEXT, keep_lines=True)


@cache
def logger() -> Logger:
    """The structured logger; everything under `fiso` and `functions` writes through it.

    Libraries write to Lambda's own handler, if they warn: the same formatter there.
    """
    structured = Logger(service=service(), logger_formatter=RedactingFormatter())
    for name in ("fiso", "functions"):
        plain = logging.getLogger(name)
        plain.handlers = structured.handlers
        plain.setLevel(logging.INFO)
        plain.propagate = False
    for handler in logging.getLogger().handlers:
        if type(handler).__module__.startswith("awslambdaric"):
            handler.setFormatter(RedactingFormatter(service=service()))
    return structured


def log_invocation(record: InvocationRecord) -> None:
    logger().info(
        "invocation",
        extra={
            "invocation_id": record.invocation_id,
            "trace_id": record.request.traced.trace_id if record.request.traced else None,
            "function": record.request.function_name,
            "endpoint": record.result.endpoint,
            "reason": record.decision.reason,
            "attempts": len(record.attempts),
            "outcome": record.result.response_status,
            "latency_ms": record.result.execution_time_ms,
            "overhead_ms": record.result.overhead_ms,
        },
    )
