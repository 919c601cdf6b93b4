"""Figures: what a contender's results come to, how sure several seeds are of it, and the verdict over all. Pure.

captured = (best single - fiso) / (best single - context oracle);  worst_case = fiso / best single
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, stdev

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.objective import of_run, quantile
from fiso_cli.worlds.world import Judge, Results

EARLY = 200
"""Requests that count as the first ones."""
LEAST_GAIN = 1e-9
"""An oracle that gains less than this share over the best single endpoint leaves nothing to capture."""
_TABLED = 30
_NORMAL_975 = 1.960
BEST_SINGLE, CONTEXT_ORACLE = "best_single", "context_oracle"


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
class Judged:
    """One run of a contender: what each request came to and was charged in the objective's unit, and its figures."""

    results: Results
    charges: Sequence[float]
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % interval over seeds."""

    low: float
    high: float


def judged(results: Results, judge: Judge) -> Judged:
    """A run with its charges and figures."""
    charges = [judge.charge(result) for result in results]
    early = charges[:EARLY]
    latencies = sorted(judge.latency_ms(result) for result in results)
    figures = Figures(
        mean=fmean(latencies),
        p50=quantile(latencies, 0.50),
        p95=quantile(latencies, 0.95),
        p99=quantile(latencies, 0.99),
        cost_per_million=fmean(result.cost_usd for result in results) * 1e6,
        success=fmean(result.ok for result in results),
        objective_mean=of_run(judge.objective, charges),
        early_total=of_run(judge.objective, early) * len(early),
    )
    return Judged(results=results, charges=charges, figures=figures)


def over_seeds(runs: Sequence[Figures]) -> Figures:
    """The mean of each figure."""
    rows = [asdict(run) for run in runs]
    return Figures(**{name: fmean(row[name] for row in rows) for name in rows[0]})


def interval(values: Sequence[float]) -> Interval | None:
    """Student's interval for the mean; None for a single value, which knows nothing of its spread."""
    from scipy.special import stdtrit  # takes a third of a second

    if len(values) < 2:
        return None
    freedom = len(values) - 1
    # as tables have it: three decimals, and the normal distribution beyond 30 degrees of freedom
    student = round(float(stdtrit(freedom, 0.975)), 3) if freedom <= _TABLED else _NORMAL_975
    half = student * stdev(values) / sqrt(len(values))
    return Interval(low=fmean(values) - half, high=fmean(values) + half)


def ratio(value: float, reference: float) -> float | None:
    """value / reference, None over nothing."""
    return value / reference if reference else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One contender. The ratios are None where no endpoint is always present.

    `regret` is the total charge beyond the best single endpoint's, `early_regret` that of the first 200 requests as a
    share of the endpoint's own total there.
    """

    figures: Figures
    ci95: Interval | None
    worst_case: float | None
    regret: float | None
    early_regret: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All contenders. `oracle_gain` is the share that the context oracle saves of the best single endpoint's charge."""

    rounds: int
    best_single: EndpointId | None
    fiso: Standing
    captured: float | None
    captured_ci95: Interval | None
    worst_case_ci95: Interval | None
    oracle_gain: float | None
    rivals: Mapping[str, Standing]


def verdict(
    fiso: Sequence[Figures], rivals: Mapping[str, Sequence[Figures]], *, rounds: int, best: EndpointId | None
) -> Verdict:
    """Judge runs (one per seed) of the router and of each rival, among them `best_single` and `context_oracle`."""
    bar = over_seeds(rivals[BEST_SINGLE]) if best is not None else None
    gain = bar.objective_mean - over_seeds(rivals[CONTEXT_ORACLE]).objective_mean if bar else 0.0
    captured: list[float] = []
    shares: list[float] = []
    if bar and bar.objective_mean:
        pairs = list(zip(fiso, paired(rivals[BEST_SINGLE], len(fiso)), strict=True))
        shares = [run.objective_mean / own.objective_mean for run, own in pairs]
        if gain > LEAST_GAIN * bar.objective_mean:
            captured = [(own.objective_mean - run.objective_mean) / gain for run, own in pairs]
    return Verdict(
        rounds=rounds,
        best_single=best,
        fiso=_standing(fiso, bar, rounds),
        captured=fmean(captured) if captured else None,
        captured_ci95=interval(captured),
        worst_case_ci95=interval(shares),
        oracle_gain=ratio(gain, bar.objective_mean) if bar else None,
        rivals={name: _standing(runs, bar, rounds) for name, runs in rivals.items()},
    )


def paired(runs: Sequence[Figures], seeds: int) -> Sequence[Figures]:
    """The run that each seed is held against: its own where there is one per seed, else the mean of all."""
    return runs if len(runs) == seeds else [over_seeds(runs)] * seeds


def _standing(runs: Sequence[Figures], bar: Figures | None, rounds: int) -> Standing:
    mean = over_seeds(runs)
    return Standing(
        figures=mean,
        ci95=interval([run.objective_mean for run in runs]),
        worst_case=ratio(mean.objective_mean, bar.objective_mean) if bar else None,
        regret=(mean.objective_mean - bar.objective_mean) * rounds if bar else None,
        early_regret=ratio(mean.early_total - bar.early_total, bar.early_total) if bar else None,
    )
