"""Summaries: what a number of records come to. Pure; a figure that nothing stands behind is None."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from fiso.domain.decision import PredictionSource, Reason
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.record import InvocationRecord
from fiso.domain.state import Compared, EndpointState
from fiso_client.core.breaker import CONSECUTIVE
from functions.console.views.queries import CalledProvider

TROUBLED_ERROR_RATE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of some records. Latency is the endpoint's that ended each request; cost is per request that called
    something and has a price."""

    count: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    errors: int
    failovers: int
    cost_usd: float | None
    unpriced: int
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFigures:
    """One provider's part."""

    provider: str
    share: float
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The newest invocations at a glance."""

    total: Figures
    providers: tuple[ProviderFigures, ...]
    oldest: datetime | None
    newest: datetime | None
    overhead_p50_ms: float | None
    overhead_p95_ms: float | None
    cold_share: float | None
    baseline: int
    models: tuple[tuple[str, int], ...]


def summarise(records: Sequence[InvocationRecord]) -> Summary:
    """The summary of records in any order."""
    moments = [record.timestamp for record in records]
    overheads = _known(record.result.overhead_ms for record in records)
    cold = [record.result.cold_start for record in records if record.result.cold_start is not None]
    models = Counter(record.decision.model_version for record in records if record.decision.model_version)
    return Summary(
        total=figures(records),
        providers=by_provider(records),
        oldest=min(moments, default=None),
        newest=max(moments, default=None),
        overhead_p50_ms=percentile(overheads, 0.5),
        overhead_p95_ms=percentile(overheads, 0.95),
        cold_share=sum(cold) / len(cold) if cold else None,
        baseline=sum(record.decision.prediction_source == PredictionSource.BASELINE for record in records),
        models=tuple(models.most_common()),
    )


def figures(records: Sequence[InvocationRecord]) -> Figures:
    """The figures of records in any order."""
    latencies = _known(record.result.execution_time_ms for record in records)
    called = [record for record in records if record.attempts]
    costs = _known(record.result.cost_usd for record in called)
    return Figures(
        count=len(records),
        latency_p50_ms=percentile(latencies, 0.5),
        latency_p95_ms=percentile(latencies, 0.95),
        errors=sum(record.result.error_occurred for record in records),
        failovers=sum(record.decision.reason is Reason.FAILOVER for record in records),
        cost_usd=_mean(costs),
        unpriced=len(called) - len(costs),
        accuracy=_mean(_known(record.result.prediction_accuracy for record in records)),
    )


def by_provider(records: Sequence[InvocationRecord]) -> tuple[ProviderFigures, ...]:
    """Each provider's part, in a fixed order; providers without a record are left out."""
    parts = []
    for provider in CalledProvider:
        own = [record for record in records if (record.result.cloud_provider or CalledProvider.NONE) == provider]
        if own:
            part = ProviderFigures(provider=provider.value, share=len(own) / len(records), figures=figures(own))
            parts.append(part)
    return tuple(parts)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile: the smallest value that at least `share` of the values do not exceed."""
    if not values:
        return None
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHealth:
    """One endpoint with what was folded of it. `condition` is a word for a person, told from the folded state alone."""

    endpoint: Endpoint
    condition: str = "idle"
    state: EndpointState | None = None
    cold_share: float | None = None
    cost_usd: float | None = None
    compared: Compared | None = None
    is_quarantined: bool = False


def health(endpoint: Endpoint, state: EndpointState | None, quarantined: Collection[EndpointId] = ()) -> EndpointHealth:
    """How an endpoint does."""
    compared, is_quarantined = state.equivalence if state else None, endpoint.id in quarantined
    if state is None or state.attempts == 0:
        return EndpointHealth(endpoint=endpoint, compared=compared, is_quarantined=is_quarantined)
    return EndpointHealth(
        endpoint=endpoint,
        compared=compared,
        is_quarantined=is_quarantined,
        condition=_condition(state),
        state=state,
        cold_share=state.cold_starts / state.cold_known if state.cold_known else None,
        cost_usd=state.cost_usd / state.attempts,
    )


def _condition(state: EndpointState) -> str:
    if state.consecutive_failures >= CONSECUTIVE:
        return "failing"
    if state.consecutive_failures or state.error_rate >= TROUBLED_ERROR_RATE:
        return "troubled"
    return "healthy"


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
