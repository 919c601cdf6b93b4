"""Figures: what a sequence of picks comes to, and how sure several seeds are of it. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, stdev

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.objective import Losses
from fiso_cli.worlds.trace import Trace

EARLY_ROUNDS = 200
_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, 97.5 %, for 1 to 30 degrees of freedom."""
_NORMAL_975 = 1.960


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run. `mean` and percentiles are latencies in ms; `objective_mean` and `early_total` are charges."""

    mean: float
    p50: float
    p95: float
    p99: float
    cost_per_million: float
    success: float
    objective_mean: float
    early_total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % interval over seeds."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Measures picks over one trace. `latencies` have failures charged, `losses` are the objective's charges."""

    trace: Trace
    latencies: Losses
    losses: Losses

    def figures(self, picks: Sequence[EndpointId]) -> Figures:
        """The figures of one pick per round."""
        calls = [played.calls[arm] for played, arm in zip(self.trace.rounds, picks, strict=True)]
        return figures_of(
            latencies=[charges[arm] for charges, arm in zip(self.latencies, picks, strict=True)],
            costs=[call.cost_usd for call in calls],
            oks=[call.ok for call in calls],
            charged=self.charged(picks),
        )

    def charged(self, picks: Sequence[EndpointId]) -> list[float]:
        """The charge of each pick."""
        return [charges[arm] for charges, arm in zip(self.losses, picks, strict=True)]


def figures_of(
    *, latencies: Sequence[float], costs: Sequence[float], oks: Sequence[bool], charged: Sequence[float]
) -> Figures:
    """One run's figures from its calls in order: ms, USD, whether answered, and the objective's charges."""
    ascending = sorted(latencies)
    return Figures(
        mean=fmean(ascending),
        p50=percentile(ascending, 0.50),
        p95=percentile(ascending, 0.95),
        p99=percentile(ascending, 0.99),
        cost_per_million=fmean(costs) * 1e6,
        success=fmean(oks),
        objective_mean=fmean(charged),
        early_total=sum(charged[:EARLY_ROUNDS]),
    )


def over_seeds(runs: Sequence[Figures]) -> Figures:
    """The mean of each figure."""
    rows = [asdict(run) for run in runs]
    return Figures(**{name: fmean(row[name] for row in rows) for name in rows[0]})


def interval(values: Sequence[float]) -> Interval | None:
    """Student's interval for the mean; None for a single value, which knows nothing of its spread."""
    if len(values) < 2:
        return None
    freedom = len(values) - 1
    quantile = _T_975[freedom - 1] if freedom <= len(_T_975) else _NORMAL_975
    half = quantile * stdev(values) / sqrt(len(values))
    return Interval(low=fmean(values) - half, high=fmean(values) + half)


def percentile(ascending: Sequence[float], share: float) -> float:
    """By linear interpolation between the two nearest values."""
    place = share * (len(ascending) - 1)
    below = int(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (place - below) * (ascending[above] - ascending[below])


def ratio(value: float, reference: float) -> float | None:
    """value / reference, None over nothing."""
    return value / reference if reference else None
