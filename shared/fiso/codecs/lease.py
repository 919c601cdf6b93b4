"""Leases as compact documents (JSON types only) and back. What does not parse raises `ValueError` and its kin."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from fiso.codecs.typed import Document, Json
from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.lease import Lease, LeasedEndpoint, LeaseId
from fiso.domain.record import CandidateSummary
from fiso.domain.request import TenantId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
MOST_EXCLUSIONS = 8
LONGEST_DETAIL = 120
"""As many exclusions, and as much of their words, as a record keeps."""


def to_document(lease: Lease) -> Document:
    """A lease, compact: rows instead of objects, instants as milliseconds since the epoch."""
    return {
        "id": lease.id,
        "fn": lease.function,
        "tenant": lease.tenant,
        "from": _milliseconds(lease.issued_at),
        "to": _milliseconds(lease.expires_at),
        "ends": [_endpoint_row(endpoint) for endpoint in lease.endpoints],
        "others": [_summary_row(summary) for summary in lease.others],
        "out": [[e.endpoint, e.code, e.detail[:LONGEST_DETAIL]] for e in lease.exclusions[:MOST_EXCLUSIONS]],
        "why": lease.reason.value,
        "size": lease.request_size_bytes,
        "user": lease.user_region,
        "versions": [lease.policy_version, lease.snapshot_version, lease.model_version, lease.tariff_version],
    }


def from_document(document: Mapping[str, Json]) -> Lease:
    """What `to_document` made; `KeyError`, `TypeError` or `ValueError` for anything else."""
    policy, snapshot, model, tariff = _rows(document["versions"])
    user = document["user"]
    return Lease(
        id=LeaseId(_text(document["id"])),
        function=FunctionName(_text(document["fn"])),
        tenant=TenantId(_text(document["tenant"])),
        issued_at=_moment(document["from"]),
        expires_at=_moment(document["to"]),
        endpoints=tuple(_endpoint(_rows(row)) for row in _rows(document["ends"])),
        others=tuple(_summary(_rows(row)) for row in _rows(document["others"])),
        exclusions=tuple(_exclusion(_rows(row)) for row in _rows(document["out"])),
        reason=Reason(_text(document["why"])),
        request_size_bytes=_whole(document["size"]),
        user_region=None if user is None else _text(user),
        policy_version=_whole(policy),
        snapshot_version=_whole(snapshot),
        model_version=_text(model),
        tariff_version=_text(tariff),
    )


def _endpoint_row(endpoint: LeasedEndpoint) -> list[Json]:
    return [
        _summary_row(endpoint.summary),
        endpoint.provider.value,
        endpoint.region,
        endpoint.memory_mb,
        list(endpoint.features),
        endpoint.raw_latency_ms,
        endpoint.prediction_source,
    ]


def _endpoint(row: list[Json]) -> LeasedEndpoint:
    summary, provider, region, memory_mb, features, raw_latency_ms, source = row
    return LeasedEndpoint(
        summary=_summary(_rows(summary)),
        provider=Provider(_text(provider)),
        region=_text(region),
        memory_mb=_whole(memory_mb),
        features=tuple(_number(value) for value in _rows(features)),
        raw_latency_ms=_number(raw_latency_ms),
        prediction_source=_text(source),
    )


def _summary_row(summary: CandidateSummary) -> list[Json]:
    s = summary
    return [s.endpoint, s.latency_ms, s.cost_usd, s.success_probability, s.score, s.propensity, s.compared_ms, s.p95_ms]


def _summary(row: list[Json]) -> CandidateSummary:
    endpoint, latency_ms, cost_usd, success_probability, score, propensity, compared_ms, p95_ms = row
    return CandidateSummary(
        endpoint=EndpointId(_text(endpoint)),
        latency_ms=_number(latency_ms),
        cost_usd=None if cost_usd is None else _number(cost_usd),
        success_probability=_number(success_probability),
        score=_number(score),
        propensity=_number(propensity),
        compared_ms=None if compared_ms is None else _number(compared_ms),
        p95_ms=None if p95_ms is None else _number(p95_ms),
    )


def _exclusion(row: list[Json]) -> Exclusion:
    endpoint, code, detail = row
    return Exclusion(endpoint=EndpointId(_text(endpoint)), code=_text(code), detail=_text(detail))


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(value: Json) -> datetime:
    return _EPOCH + _whole(value) * _MILLISECOND


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {value!r}")
    return value


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)


def _whole(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, not {value!r}")
    return value


def _rows(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, not {value!r}")
    return value
