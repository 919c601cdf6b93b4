"""Records as plain documents (JSON types only) and back: one codec for the table, the archive and the HTTP API.

Compact where it counts: a record stays within 2 KB. What does not parse raises `InvalidRecord`; so does what parses but
cannot be: a record that is read can always be folded, stored and archived.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from fiso.codecs import record_values as values
from fiso.codecs.record_values import Json as Json
from fiso.codecs.record_values import parse_instant as parse_instant
from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import AttemptSummary, CandidateSummary, InvocationRecord, OpenRecord, RecordStatus
from fiso.domain.request import InvocationId, TenantId
from fiso_client.core.failures import Failure

Document: TypeAlias = dict[str, Json]

_PLAIN = (
    "invocation_id function_name request_size_bytes response_size_bytes execution_time_ms cost_usd region day_of_week "
    "hour_of_day cpu_utilization memory_utilization cold_start error_occurred user_region prediction_accuracy status "
    "tenant endpoint reason response_status billed_ms overhead_ms raw_latency_ms prediction_source policy_version "
    "snapshot_version model_version tariff_version cloud_provider lease_id"
).split()


def open_to_document(record: OpenRecord) -> Document:
    """An intent as a document, `status` open."""
    return {
        "invocation_id": record.invocation_id,
        "timestamp": instant(record.timestamp),
        "status": RecordStatus.OPEN.value,
        "tenant": record.tenant,
        "function_name": record.function_name,
        "deadline_at": instant(record.deadline_at),
        "request_size_bytes": record.request_size_bytes,
    }


def to_document(record: InvocationRecord) -> Document:
    """A closed record as a document."""
    document: Document = {name: _plain(getattr(record, name)) for name in _PLAIN}
    document["timestamp"] = instant(record.timestamp)
    document["features"] = {name: _short(value) for name, value in record.features.items()}
    document["candidates"] = [
        [
            c.endpoint,
            _short(c.latency_ms),
            _short(c.cost_usd),
            _short(c.success_probability),
            _short(c.score),
            c.propensity,
            _short(c.compared_ms),
            _short(c.p95_ms),
        ]
        for c in record.candidates
    ]
    document["exclusions"] = [[e.endpoint, e.code, e.detail[:120]] for e in record.exclusions[:8]]
    document["attempts"] = [_attempt_to_document(attempt) for attempt in record.attempts]
    return document


def from_document(document: Mapping[str, Json]) -> InvocationRecord | OpenRecord:
    """What `to_document` or `open_to_document` made; unknown keys are ignored."""
    try:
        if document["status"] == RecordStatus.OPEN:
            return _open_from(document)
        return _closed_from(document)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise InvalidRecord(f"record does not parse: {type(error).__name__}: {error}") from error


def instant(moment: datetime) -> str:
    """An aware datetime as ISO 8601 in UTC with milliseconds; sorts as text."""
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def _plain(value: object) -> Json:
    if isinstance(value, float):
        return _short(value)
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def _short(value: float | None) -> float | None:
    """Seven significant digits: more than any measurement here has, and half the bytes."""
    return None if value is None else float(f"{value:.7g}")


def _attempt_to_document(attempt: AttemptSummary) -> Document:
    document: Document = {
        "endpoint": attempt.endpoint,
        "started_at": instant(attempt.started_at),
        "latency_ms": _short(attempt.latency_ms),
    }
    optional: dict[str, Json] = {
        "status": attempt.status,
        "failure": attempt.failure.value if attempt.failure else None,
        "cold_start": attempt.cold_start,
        "billed_ms": attempt.billed_ms,
        "cost_usd": _short(attempt.cost_usd),
    }
    document.update({name: value for name, value in optional.items() if value is not None})
    return document


def _open_from(d: Mapping[str, Json]) -> OpenRecord:
    return OpenRecord(
        invocation_id=InvocationId(values.name(d["invocation_id"])),
        timestamp=values.moment(d["timestamp"]),
        tenant=TenantId(values.text(d["tenant"])),
        function_name=FunctionName(values.name(d["function_name"])),
        deadline_at=values.moment(d["deadline_at"]),
        request_size_bytes=values.whole(d["request_size_bytes"]),
    )


def _closed_from(d: Mapping[str, Json]) -> InvocationRecord:
    provider, reason, endpoint = (d.get("cloud_provider"), d.get("reason"), d.get("endpoint"))
    return InvocationRecord(
        invocation_id=InvocationId(values.name(d["invocation_id"])),
        timestamp=values.moment(d["timestamp"]),
        cloud_provider=Provider(values.text(provider)) if provider is not None else None,
        function_name=FunctionName(values.name(d["function_name"])),
        request_size_bytes=values.whole(d["request_size_bytes"]),
        response_size_bytes=values.whole(d["response_size_bytes"]),
        execution_time_ms=values.amount(d.get("execution_time_ms")),
        cost_usd=values.amount(d.get("cost_usd")),
        region=values.maybe_text(d.get("region")),
        day_of_week=values.whole(d["day_of_week"]),
        hour_of_day=values.whole(d["hour_of_day"]),
        cpu_utilization=values.number(d.get("cpu_utilization")),
        memory_utilization=values.number(d.get("memory_utilization")),
        cold_start=values.flag(d.get("cold_start")),
        error_occurred=values.flag(d["error_occurred"]) is True,
        user_region=values.maybe_text(d.get("user_region")),
        prediction_accuracy=values.number(d.get("prediction_accuracy")),
        status=RecordStatus(values.text(d["status"])),
        tenant=TenantId(values.text(d["tenant"])),
        endpoint=EndpointId(values.name(endpoint)) if endpoint is not None else None,
        reason=Reason(values.text(reason)) if reason is not None else None,
        response_status=values.whole(d["response_status"]),
        billed_ms=values.amount(d.get("billed_ms")),
        overhead_ms=values.amount(d.get("overhead_ms")),
        features={name: values.sure_number(value) for name, value in values.mapping(d.get("features") or {}).items()},
        raw_latency_ms=values.time(d.get("raw_latency_ms")),
        candidates=tuple(_candidate_from(values.sequence(row)) for row in values.sequence(d.get("candidates") or [])),
        exclusions=tuple(_exclusion_from(values.sequence(row)) for row in values.sequence(d.get("exclusions") or [])),
        attempts=tuple(_attempt_from(values.mapping(row)) for row in values.attempts(d.get("attempts") or [])),
        prediction_source=values.maybe_text(d.get("prediction_source")),
        policy_version=values.maybe_whole(d.get("policy_version")),
        snapshot_version=values.maybe_whole(d.get("snapshot_version")),
        model_version=values.maybe_text(d.get("model_version")),
        tariff_version=values.maybe_text(d.get("tariff_version")),
        lease_id=values.maybe_text(d.get("lease_id")),
    )


def _candidate_from(row: list[Json]) -> CandidateSummary:
    return CandidateSummary(
        endpoint=EndpointId(values.text(row[0])),
        latency_ms=values.sure_number(row[1]),
        cost_usd=values.number(row[2]),
        success_probability=values.sure_number(row[3]),
        score=values.sure_number(row[4]),
        propensity=values.sure_number(row[5]),
        compared_ms=values.number(row[6]) if len(row) > 6 else None,
        p95_ms=values.number(row[7]) if len(row) > 7 else None,
    )


def _exclusion_from(row: list[Json]) -> Exclusion:
    return Exclusion(endpoint=EndpointId(values.text(row[0])), code=values.text(row[1]), detail=values.text(row[2]))


def _attempt_from(row: Mapping[str, Json]) -> AttemptSummary:
    failure = row.get("failure")
    return AttemptSummary(
        endpoint=EndpointId(values.name(row["endpoint"])),
        started_at=values.moment(row["started_at"]),
        latency_ms=values.sure_time(row["latency_ms"]),
        status=values.maybe_whole(row.get("status")),
        failure=Failure(values.text(failure)) if failure is not None else None,
        cold_start=values.flag(row.get("cold_start")),
        billed_ms=values.amount(row.get("billed_ms")),
        cost_usd=values.amount(row.get("cost_usd")),
    )
