"""Verdicts: the router's figures beside its rivals', and the two that sum a replay up. Pure.

captured = (best single - fiso) / (best single - context oracle);  worst_case = fiso / best single
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.figures import Figures, Interval, interval, over_seeds, ratio

LEAST_GAIN = 1e-9
"""An oracle that gains less than this share over the best single endpoint leaves nothing to capture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One contender. The ratios are None where no endpoint is present in every round.

    `regret` is the total charge beyond the best single endpoint's, `early_regret` that of the first 200 rounds as a
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
    bar = over_seeds(rivals["best_single"]) if best is not None else None
    oracle = over_seeds(rivals["context_oracle"])
    gain = bar.objective_mean - oracle.objective_mean if bar else 0.0
    captured: list[float] = []
    shares: list[float] = []
    if bar and bar.objective_mean:
        bars = _paired(rivals["best_single"], len(fiso))
        shares = [run.objective_mean / own.objective_mean for run, own in zip(fiso, bars, strict=True)]
        if gain > LEAST_GAIN * bar.objective_mean:
            captured = [(own.objective_mean - run.objective_mean) / gain for run, own in zip(fiso, bars, strict=True)]
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


def _paired(runs: Sequence[Figures], seeds: int) -> Sequence[Figures]:
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
