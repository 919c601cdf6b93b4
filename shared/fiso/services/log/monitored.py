"""Monitored: what FISO knows of the calls of one cloud's copies, as rows for that cloud's own monitoring. Pure.

A row is an attempt, failed-over and hedged ones as well: those are what the copy's own cloud knows least of. What
clients report under leases is left out, of that FISO has the client's word alone. No payload, no address, no tenant.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from fiso.domain.endpoint import PLANS, FunctionName, Provider
from fiso.domain.record import AttemptSummary, InvocationRecord, RecordStatus
from fiso.domain.state import EndpointState
from fiso.ports import EndpointStates

Row: TypeAlias = dict[str, str | int | float | bool | None]
COLUMNS: Mapping[str, str] = {
    "TimeGenerated": "datetime",
    "invocation_id": "string",
    "attempt": "int",
    "stage": "string",
    "function_name": "string",
    "endpoint": "string",
    "region": "string",
    "response_status": "int",
    "error_occurred": "boolean",
    "failure": "string",
    "verdict": "string",
    "cold_start": "boolean",
    "is_slow": "boolean",
    "execution_time_ms": "real",
    "billed_ms": "real",
    "cost_usd": "real",
    "request_size_bytes": "long",
    "response_size_bytes": "long",
    "predicted_ms": "real",
    "recent_mean_ms": "real",
    "prediction_accuracy": "real",
    "prediction_source": "string",
    "model_version": "string",
    "trace_id": "string",
}
"""A row's columns and their types, in the words of Azure's tables. `TimeGenerated` is when the attempt began."""
_PROVIDER_OF = {plan.value: provider for provider, plans in PLANS.items() for plan in plans}


def rows(records: Iterable[InvocationRecord], provider: Provider, *, stage: str) -> list[Row]:
    """The attempts on a provider's copies. Told again, each has the same `invocation_id` and `attempt`."""
    return [
        _row(record, number, attempt, stage)
        for record in records
        if record.status is RecordStatus.FINAL and not record.decision.lease_id
        for number, attempt in _numbered(record)
        if _provider(record, attempt) is provider
    ]


def states_of(told: Iterable[Row], states: EndpointStates) -> Iterator[EndpointState]:
    """The folded states of the copies that rows tell of, read when they are asked for. Raises `StoreUnavailable`."""
    named: dict[FunctionName, set[object]] = {}
    for row in told:
        named.setdefault(FunctionName(str(row["function_name"])), set()).add(row["endpoint"])
    for function, endpoints in named.items():
        found = states.of_function(function)
        yield from (found[endpoint] for endpoint in sorted(found) if endpoint in endpoints)


def _numbered(record: InvocationRecord) -> Iterator[tuple[int, AttemptSummary]]:
    yield from enumerate(sorted(record.attempts, key=lambda each: each.started_at), start=1)


def _provider(record: InvocationRecord, attempt: AttemptSummary) -> Provider | None:
    """By the plan it was sold under, which is one provider's; in older records that of the copy that answered."""
    if attempt.plan is not None:
        return _PROVIDER_OF.get(attempt.plan.partition("/")[0])
    return record.result.cloud_provider if attempt.endpoint == record.result.endpoint else None


def _row(record: InvocationRecord, number: int, attempt: AttemptSummary, stage: str) -> Row:
    result, decision = record.result, record.decision
    # the same copy may have been tried before: what the record says of the answer is the last one's
    ended = attempt is max(
        (each for each in record.attempts if each.endpoint == result.endpoint),
        key=lambda each: each.started_at,
        default=None,
    )
    foretold = next((each.latency_ms for each in decision.candidates if each.endpoint == attempt.endpoint), None)
    return {
        "TimeGenerated": attempt.started_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "invocation_id": record.invocation_id,
        "attempt": number,
        "stage": stage,
        "function_name": record.request.function_name,
        "endpoint": attempt.endpoint,
        "region": result.region if attempt.endpoint == result.endpoint else None,
        "response_status": attempt.status,
        "error_occurred": attempt.failure is not None or attempt.verdict is not None,
        "failure": attempt.failure.value if attempt.failure else None,
        "verdict": attempt.verdict.value if attempt.verdict else None,
        "cold_start": attempt.cold_start,
        "is_slow": result.is_slow if ended else None,
        "execution_time_ms": attempt.latency_ms,
        "billed_ms": attempt.billed_ms,
        "cost_usd": attempt.cost_usd,
        "request_size_bytes": record.request.request_size_bytes,
        "response_size_bytes": result.response_size_bytes if ended else None,
        "predicted_ms": foretold,
        "recent_mean_ms": decision.features.get("historical_avg_latency") if ended else None,
        "prediction_accuracy": result.prediction_accuracy if ended else None,
        "prediction_source": decision.prediction_source if foretold is not None else None,
        "model_version": decision.model_version if foretold is not None else None,
        "trace_id": record.request.traced.trace_id if record.request.traced else None,
    }
