"""Spans of a record, in OTLP's JSON (opentelemetry-proto 1.x, `ExportTraceServiceRequest`). Pure.

They are written by whoever folds the record, after the caller has its answer: no request waits for a collector, and a
frozen environment takes none with it. A span each for the request, the claim of its key, the decision, the intent's
write and every attempt. Those of the record's own write and of the answer that is kept under the key are told by the
next record of the same environment: none can say it of itself.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.trace import Traced, WrittenBefore, attempt_part, span_id

SERVER, CLIENT, INTERNAL = 2, 3, 1
ERROR = 2
_EPOCH = datetime.fromtimestamp(0, UTC)

Span = dict[str, Any]


def export_request(records: Iterable[InvocationRecord], *, service: str, version: str) -> dict[str, Any] | None:
    """The body of `POST /v1/traces`, None where no record is traced."""
    spans = [span for record in records for span in spans_of(record)]
    if not spans:
        return None
    resource = {
        "attributes": _attributes({"service.name": service, "service.version": version, "cloud.provider": "aws"})
    }
    scope = {"name": "fiso", "version": version}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def spans_of(record: InvocationRecord) -> Iterator[Span]:
    if (before := record.request.written_before) is not None:
        yield from _of_writes(before, record.request.kept_before_ms)
    traced = record.request.traced
    if traced is None:
        return
    begin, root = record.timestamp, span_id(record.invocation_id)
    claimed = begin + timedelta(milliseconds=record.request.claimed_ms or 0.0)
    opened = claimed + timedelta(milliseconds=traced.decided_ms)
    wrote = opened + timedelta(milliseconds=traced.opened_ms)
    ends = [wrote, *(_end(attempt) for attempt in record.attempts)]
    yield _span(
        record, traced, "", f"invoke {record.request.function_name}", SERVER, (begin, max(ends)), _request(record)
    )
    if record.request.claimed_ms is not None:
        yield _span(record, traced, "claim", "claim key", CLIENT, (begin, claimed), _STORE, parent=root)
    decision = record.decision
    told = {
        "fiso.reason": decision.reason.value if decision.reason else None,
        "fiso.candidates": len(decision.candidates),
        "fiso.model_version": decision.model_version,
        "fiso.policy_version": decision.policy_version,
    }
    yield _span(record, traced, "decide", "decide", INTERNAL, (claimed, opened), told, parent=root)
    yield _span(record, traced, "open", "write intent", CLIENT, (opened, wrote), _STORE, parent=root)
    numbers = Counter[str]()
    for attempt in sorted(record.attempts, key=lambda each: each.started_at):
        part = attempt_part(attempt.endpoint, numbers[attempt.endpoint])
        numbers[attempt.endpoint] += 1
        times = (attempt.started_at, _end(attempt))
        yield _span(record, traced, part, f"call {attempt.endpoint}", CLIENT, times, _attempt(attempt), parent=root)


def _span(
    record: InvocationRecord,
    traced: Traced,
    part: str,
    name: str,
    kind: int,
    times: tuple[datetime, datetime],
    told: Mapping[str, str | int | float | bool | None],
    *,
    parent: str | None = None,
) -> Span:
    begin, end = times
    failed = told.get("error.type") is not None
    span: Span = {
        "traceId": traced.trace_id,
        "spanId": span_id(record.invocation_id, part),
        "name": name,
        "kind": kind,
        "flags": 1,
        "startTimeUnixNano": _nanoseconds(begin),
        "endTimeUnixNano": _nanoseconds(max(begin, end)),
        "attributes": _attributes(told),
        "status": {"code": ERROR} if failed else {},
    }
    above = parent or traced.parent_id
    return span | {"parentSpanId": above} if above else span


_STORE = {"db.system.name": "aws.dynamodb", "db.operation.name": "PutItem"}


def _of_writes(before: WrittenBefore, kept_ms: float | None) -> Iterator[Span]:
    wrote = before.at + timedelta(milliseconds=max(0.0, before.took_ms))
    yield _of_write(before, "close", "write record", (before.at, wrote))
    if kept_ms is not None:
        kept = wrote + timedelta(milliseconds=max(0.0, kept_ms))
        yield _of_write(before, "complete", "keep answer", (wrote, kept))


def _of_write(before: WrittenBefore, part: str, name: str, times: tuple[datetime, datetime]) -> Span:
    return {
        "traceId": before.trace_id,
        "spanId": span_id(before.invocation_id, part),
        "parentSpanId": span_id(before.invocation_id),
        "name": name,
        "kind": CLIENT,
        "flags": 1,
        "startTimeUnixNano": _nanoseconds(times[0]),
        "endTimeUnixNano": _nanoseconds(times[1]),
        "attributes": _attributes(_STORE),
        "status": {},
    }


def _request(record: InvocationRecord) -> dict[str, str | int | float | bool | None]:
    result = record.result
    return {
        "fiso.invocation_id": record.invocation_id,
        "faas.name": record.request.function_name,
        "http.response.status_code": result.response_status,
        "fiso.endpoint": result.endpoint,
        "fiso.cost_usd": result.cost_usd,
        "fiso.overhead_ms": result.overhead_ms,
        "fiso.is_cold": result.cold_start,
        "error.type": str(result.response_status) if result.error_occurred else None,
    }


def _attempt(attempt: AttemptSummary) -> dict[str, str | int | float | bool | None]:
    is_error = attempt.failure is not None or attempt.verdict is not None
    return {
        "fiso.endpoint": attempt.endpoint,
        "http.response.status_code": attempt.status,
        "fiso.verdict": attempt.verdict.value if attempt.verdict else None,
        "faas.coldstart": attempt.cold_start,
        "error.type": (attempt.failure.value if attempt.failure else str(attempt.status)) if is_error else None,
    }


def _end(attempt: AttemptSummary) -> datetime:
    return attempt.started_at + timedelta(milliseconds=attempt.latency_ms)


def _attributes(told: Mapping[str, str | int | float | bool | None]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in told.items() if value is not None]


def _value(value: str | int | float | bool) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": value}


def _nanoseconds(moment: datetime) -> str:
    return str((moment - _EPOCH) // timedelta(microseconds=1) * 1000)
