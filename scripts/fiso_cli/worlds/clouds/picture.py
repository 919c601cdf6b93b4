"""Pictures: a simulation as the plain data that `replay.plot` draws. Pure."""

from collections.abc import Sequence
from itertools import accumulate

from fiso_cli.worlds.clouds.contest import FISO, Result
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.plot import Comparison, Curve
from fiso_cli.worlds.trace_picture import SHOWN, UNITS, in_words, point_of


def comparison(result: Result, *, name: str, objective: Objective, seeds: int) -> Comparison:
    """What to draw: regret against the best single endpoint in the same world, and who stands where."""
    verdict = result.verdict
    unit, scale = UNITS[objective]
    bars = result.charges["best_single"]
    many = "1 seed" if seeds == 1 else f"{seeds} seeds"
    return Comparison(
        title=f"{name}: {verdict.rounds:,} simulated requests, objective {objective.value}, {many}",
        regret_unit=unit,
        bar=f"the best single endpoint, {verdict.best_single}",
        curves=[
            _curve("FISO", result.charges[FISO], bars, scale),
            *(_curve(in_words(rival), result.charges[rival], bars, scale) for rival in SHOWN),
        ],
        frontier=[point_of(objective.value, verdict.fiso.figures)],
        rivals=[point_of(in_words(rival), verdict.rivals[rival].figures) for rival in SHOWN],
        endpoints=[point_of(arm, standing.figures) for arm, standing in verdict.rivals.items() if "/" in arm],
    )


def _curve(name: str, runs: Sequence[Sequence[float]], bars: Sequence[Sequence[float]], scale: float) -> Curve:
    """One line per seed, each against the bar in its own world."""
    return Curve(
        name=name,
        runs=[
            list(accumulate((mine - best) * scale for mine, best in zip(run, bar, strict=True)))
            for run, bar in zip(runs, bars, strict=True)
        ],
    )
