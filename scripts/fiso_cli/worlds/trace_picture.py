"""Pictures: a contest's result as the plain data that `plot` draws. Pure."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from fiso_cli.worlds.figures import Figures
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.plot import Comparison, Curve, Point
from fiso_cli.worlds.trace_contest import Result, Runs

SHOWN = (
    "random",
    "round_robin",
    "lowest_recent_latency",
    "peak_ewma_p2c",
    "cheapest_list_price",
    "context_oracle",
)
"""The rivals drawn. The best single endpoint is the line at 0, and no router can reach the best arm of every round."""
FRONTIER = (Objective.LATENCY, Objective.BALANCED, Objective.COST)
UNITS: Mapping[Objective, tuple[str, float]] = {
    Objective.LATENCY: ("seconds", 1e-3),
    Objective.COST: ("millionths of a USD", 1e6),
    Objective.BALANCED: ("calls of a random choice", 1.0),
}


def comparison(
    result: Result, beside: Mapping[Objective, Figures], *, trace: str, objective: Objective, seeds: int
) -> Comparison:
    """What to draw of a contest; `beside` has the router's figures under other objectives."""
    verdict = result.verdict
    unit, scale = UNITS[objective]
    bar = "best_single" if verdict.best_single is not None else "context_oracle"
    charged = result.rivals[bar][0].charges
    figures = {**beside, objective: verdict.fiso.figures}
    many = "1 seed" if seeds == 1 else f"{seeds} seeds"
    return Comparison(
        title=f"{trace}: {verdict.rounds:,} rounds, objective {objective.value}, {many}",
        regret_unit=unit,
        bar=f"the best single endpoint, {verdict.best_single}" if verdict.best_single else "the context oracle",
        curves=[
            _curve("FISO", result.fiso, charged, scale),
            *(_curve(in_words(name), result.rivals[name], charged, scale) for name in SHOWN),
        ],
        frontier=[
            point_of(_labelled(wanted, objective, seeds), figures[wanted]) for wanted in FRONTIER if wanted in figures
        ],
        rivals=[point_of(in_words(name), verdict.rivals[name].figures) for name in SHOWN],
        endpoints=[point_of(name, standing.figures) for name, standing in verdict.rivals.items() if "/" in name],
    )


def _labelled(wanted: Objective, asked: Objective, seeds: int) -> str:
    return wanted.value if wanted is asked or seeds == 1 else f"{wanted.value} (1 seed)"


def in_words(name: str) -> str:
    """A contender's name for a picture."""
    return name.replace("_", " ")


def _curve(name: str, runs: Runs, charged: Sequence[float], scale: float) -> Curve:
    regrets = [[(mine - bar) * scale for mine, bar in zip(run.charges, charged, strict=True)] for run in runs]
    return Curve(name=name, runs=[list(accumulate(regret)) for regret in regrets])


def point_of(name: str, figures: Figures) -> Point:
    """Where a contender stands between latency and cost."""
    return Point(name=name, latency_ms=figures.mean, cost_per_million=figures.cost_per_million)
