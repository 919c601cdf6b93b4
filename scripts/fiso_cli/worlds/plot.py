"""Plots: a contest as one picture of two panels, regret over requests and the latency-cost frontier.

matplotlib is imported when something is drawn, never before, and without its state machine for windows: a figure is
made, saved and forgotten.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from math import ceil, floor, log10
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import LocalStage
from fiso_cli.worlds.figures import BEST_SINGLE, CONTEXT_ORACLE, Figures
from fiso_cli.worlds.objective import Objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fiso_cli.worlds.contest import Contest, Runs

SHOWN = (
    "random",
    "round_robin",
    "lowest_recent_latency",
    "peak_ewma_p2c",
    "cheapest_list_price",
    CONTEXT_ORACLE,
)
"""The rivals drawn. The best single endpoint is the line at 0, and no router can reach the best arm of every round."""
FRONTIER = (Objective.LATENCY, Objective.BALANCED, Objective.COST)
UNITS: Mapping[Objective, tuple[str, float]] = {
    Objective.LATENCY: ("seconds", 1e-3),
    Objective.COST: ("millionths of a USD", 1e6),
    Objective.BALANCED: ("calls of a random choice", 1.0),
}
SUFFIXES = (".png", ".svg", ".pdf")
SIZE_INCHES, DPI = (13.0, 6.5), 150
WIDE = 10.0
"""A spread over so many times is shown on a logarithmic axis."""
LINEAR_DECADES = 1.5
"""How much room the linear part of the regret's axis has, in decades of its logarithmic part."""
_MARKS = 9
"""Markers along a curve."""
_OURS, _GREY = "#d55e00", "#666666"
_LOOKS = (("#0072b2", "s"), ("#009e73", "^"), ("#cc79a7", "v"), ("#e69f00", "D"), ("#56b4e9", "P"), ("#000000", "X"))
"""Colours of Okabe and Ito's palette, which colour-blind readers can tell apart, and markers, for `SHOWN`."""


Points = Mapping[str, Figures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is drawn. Curves are cumulative regret after every request, one sequence per seed; the first one is ours.

    `unit` is the curves' unit, `bar` names what their regret is measured against. Points are mean latency and cost:
    `frontier` ours under different objectives, in their order.
    """

    title: str
    unit: str
    bar: str
    curves: Mapping[str, Sequence[Sequence[float]]]
    frontier: Points
    rivals: Points
    endpoints: Points


def picture(contest: "Contest", others: Mapping[Objective, Figures]) -> Picture:
    """What to draw of a contest; `others` has the router's figures under other objectives, one seed each."""
    plan, verdict = contest.plan, contest.verdict
    unit, scale = UNITS[plan.objective]
    best = verdict.best_single
    bars = contest.rivals[CONTEXT_ORACLE if best is None else BEST_SINGLE]
    rivals = {name.replace("_", " "): name for name in SHOWN}
    runs = {"FISO": contest.fiso, **{said: contest.rivals[name] for said, name in rivals.items()}}
    many = "1 seed" if plan.seeds == 1 else f"{plan.seeds} seeds"
    few = "" if plan.seeds == 1 else " (1 seed)"
    ours = {plan.objective: verdict.fiso.figures, **others}
    return Picture(
        title=f"{plan.worlds.name}: {verdict.rounds:,} {plan.worlds.unit}, objective {plan.objective.value}, {many}",
        unit=unit,
        bar="the context oracle" if best is None else f"the best single endpoint, {best}",
        curves={name: _regret(found, bars, scale) for name, found in runs.items()},
        frontier={f"{wanted}{few if wanted in others else ''}": ours[wanted] for wanted in FRONTIER if wanted in ours},
        rivals={said: verdict.rivals[name].figures for said, name in rivals.items()},
        endpoints={name: standing.figures for name, standing in verdict.rivals.items() if "/" in name},
    )


def _regret(runs: "Runs", bars: "Runs", scale: float) -> list[list[float]]:
    """One curve per seed, each against the bar in its own world where worlds vary."""
    own = bars if len(bars) == len(runs) else [bars[0]] * len(runs)
    return [
        list(accumulate((mine - best) * scale for mine, best in zip(run.charges, bar.charges, strict=True)))
        for run, bar in zip(runs, own, strict=True)
    ]


def problem_with(path: Path) -> str | None:
    """Why no picture can be written there, in one line; None when it can. What is there already stays as it is."""
    if path.suffix.lower() not in SUFFIXES:
        return f"{path}: a picture's name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    is_new = not path.exists()
    try:
        path.open("ab").close()  # asked of the system itself: permissions alone do not tell of a read-only disk
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}"
    if is_new:
        path.unlink()
    return None


def draw(drawn: Picture, path: Path) -> None:
    """Write the picture, 1950 x 975 pixels as PNG; the suffix says the format. `CommandError` when it cannot be."""
    _settle()
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context({"text.parse_math": False}):  # a name may have dollar signs in it
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")  # and letters that get a box
        try:
            _figure(drawn).savefig(path)
        except OSError as error:
            raise CommandError(f"{path} could not be written: {error.strerror}") from error


def _settle() -> None:
    """Keep matplotlib's font cache among FISO's own files, and its word about building it off the terminal."""
    cache = LocalStage.from_environ().state / "matplotlib"
    cache.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _figure(drawn: Picture) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    figure.suptitle(drawn.title, fontsize=13)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
    _draw_regret(left, drawn)
    _draw_frontier(right, drawn)
    handles, _ = left.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=ceil(len(handles) / 2), frameon=False)
    return figure


def _draw_regret(axes: "Axes", drawn: Picture) -> None:
    (name, ours), *rivals = drawn.curves.items()
    requests = range(1, len(ours[0]) + 1)
    every = max(1, len(requests) // _MARKS)
    axes.axhline(0, color=_GREY, linewidth=1)
    axes.fill_between(requests, _each(min, ours), _each(max, ours), color=_OURS, alpha=0.25)
    label = f"{name} (mean of the seeds, band from lowest to highest)" if len(ours) > 1 else name
    axes.plot(requests, _each(fmean, ours), color=_OURS, linewidth=2.4, marker="o", markevery=every, label=label)
    for number, ((colour, marker), (rival, runs)) in enumerate(zip(cycle(_LOOKS), rivals, strict=False), start=1):
        (line,) = axes.plot(requests, _each(fmean, runs), color=colour, linewidth=1.2, label=rival)
        first = every * number // len(drawn.curves)
        line.set(marker=marker, markevery=(first, every), markersize=6.5, markerfacecolor="none")
    near = _near(ours)
    axes.set_yscale("symlog", linthresh=near, linscale=LINEAR_DECADES)
    axes.set_yticks(_ticks(near, *axes.get_ylim()))
    axes.yaxis.set_major_formatter(_written)
    axes.xaxis.set_major_formatter(_written)
    axes.set(xlabel="request", xlim=(0, len(requests)), title=f"Regret against {drawn.bar}")
    axes.set_ylabel(f"cumulative regret, {drawn.unit} (logarithmic beyond {_written(near)})")


def _each(summary: Callable[[Iterable[float]], float], runs: Sequence[Sequence[float]]) -> list[float]:
    return [summary(values) for values in zip(*runs, strict=False)]


def _near(ours: Sequence[Sequence[float]]) -> float:
    """Linear up to the round number that our own regret stays under: the rivals' may be a hundred times as much."""
    most = max(abs(value) for run in ours for value in run)
    if not most:
        return 1.0
    decade = 10.0 ** floor(log10(most))
    return next(step * decade for step in (1.0, 2.0, 5.0, 10.0) if step * decade >= most)


def _ticks(near: float, low: float, high: float) -> list[float]:
    linear = [near * share for share in (0, 0.25, 0.5, 0.75, 1)]
    far = [near * step * 10**decade for decade in range(12) for step in (3, 10)]
    return [tick for value in (*linear, *far) for tick in {value, -value} if low <= tick <= high]


def _draw_frontier(axes: "Axes", drawn: Picture) -> None:
    from matplotlib.ticker import LogLocator

    ours = next(iter(drawn.curves))
    axes.plot(*_places(drawn.frontier.values()), color=_OURS, linewidth=2)
    named = {f"{ours}: {name}": (at, _OURS) for name, at in drawn.frontier.items()}
    named |= {name: (at, _GREY) for name, at in drawn.endpoints.items()}
    for (name, (at, colour)), marker in zip(named.items(), cycle("ohp+x1234|_<>"), strict=False):
        axes.plot(*_places([at]), color=colour, marker=marker, markersize=8, linestyle="none", label=name)
    axes.legend(fontsize=8.5)
    for (colour, marker), rival in zip(cycle(_LOOKS), drawn.rivals.values(), strict=False):
        (point,) = axes.plot(*_places([rival]), color=colour, marker=marker, markersize=9)
        point.set(markerfacecolor="none", markeredgewidth=1.5)
    latencies, costs = _places([*drawn.frontier.values(), *drawn.rivals.values(), *drawn.endpoints.values()])
    axes.margins(0.12)
    for values, axis, scale in ((latencies, axes.xaxis, axes.set_xscale), (costs, axes.yaxis, axes.set_yscale)):
        if min(values) > 0 and max(values) > WIDE * min(values):
            scale("log", subs=[])
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(_written)
    axes.set(xlabel="mean latency, ms", ylabel="cost, USD per million calls")
    axes.set_title(f"Latency and cost; {ours} under each objective")


def _places(points: Iterable[Figures]) -> tuple[list[float], list[float]]:
    found = list(points)
    return [point.mean for point in found], [point.cost_per_million for point in found]


def _written(value: float, _: float | None = None) -> str:
    return f"{value:,.6g}"
