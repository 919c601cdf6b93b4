"""Samples: what a client saw of each request, and their sum per provider. Pure: no network, no clock."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from fiso.domain.decision import Reason

NOBODY = "none"
"""Stands for the provider of a request that nobody answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request as its client saw it. `problem` is None for a success; `status` None when no answer came."""

    function: str
    latency_ms: float
    status: int | None
    problem: str | None
    provider: str | None = None
    region: str | None = None
    endpoint: str | None = None
    reason: str | None = None
    attempts: int = 0
    overhead_ms: float | None = None
    invocation_id: str | None = None
    model_version: str | None = None
    user_region: str | None = None

    @property
    def is_failover(self) -> bool:
        """Whether another endpoint had to answer than the one called first."""
        return self.reason == Reason.FAILOVER


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTally:
    """All samples of one provider. Latencies are the client's, overhead is FISO's own time, None when unknown."""

    provider: str
    requests: int
    share: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    overhead_p50_ms: float | None
    overhead_p99_ms: float | None
    failovers: int
    failures: int
    reasons: Mapping[str, int]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def tallies(samples: Sequence[Sample]) -> list[ProviderTally]:
    """One tally per provider, the busiest first."""
    by_provider: dict[str, list[Sample]] = {}
    for sample in samples:
        by_provider.setdefault(sample.provider or NOBODY, []).append(sample)
    rows = [_tally(provider, own, len(samples)) for provider, own in by_provider.items()]
    return sorted(rows, key=lambda row: (-row.requests, row.provider))


def overheads(samples: Iterable[Sample]) -> list[float]:
    """FISO's own time of each request that states it."""
    return [sample.overhead_ms for sample in samples if sample.overhead_ms is not None]


def failures(samples: Iterable[Sample]) -> list[Sample]:
    """The samples that were no success."""
    return [sample for sample in samples if sample.problem is not None]


def problems(samples: Iterable[Sample]) -> Mapping[str, int]:
    """How often each problem was met, the most frequent first."""
    return dict(Counter(sample.problem for sample in samples if sample.problem is not None).most_common())


def _tally(provider: str, own: Sequence[Sample], total: int) -> ProviderTally:
    latencies, own_time = [sample.latency_ms for sample in own], overheads(own)
    return ProviderTally(
        provider=provider,
        requests=len(own),
        share=len(own) / total,
        p50_ms=percentile(latencies, 0.50) or 0.0,
        p95_ms=percentile(latencies, 0.95) or 0.0,
        p99_ms=percentile(latencies, 0.99) or 0.0,
        overhead_p50_ms=percentile(own_time, 0.50),
        overhead_p99_ms=percentile(own_time, 0.99),
        failovers=sum(sample.is_failover for sample in own),
        failures=len(failures(own)),
        reasons=dict(Counter(sample.reason for sample in own if sample.reason).most_common()),
    )
