"""Plots: a comparison of routers as one picture of two panels, regret over rounds and the latency-cost frontier.

Takes plain data, so whatever compares routers can draw it. matplotlib is imported when something is drawn, never
before, and without its state machine for windows: a figure is made, saved and forgotten.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from fiso_cli.local_stage import LocalStage
from fiso_cli.worlds.labels import Label, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

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
"""Colours of Okabe and Ito's palette, which colour-blind readers can tell apart, and markers for all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A contender's cumulative regret after every round, one sequence per seed."""

    name: str
    runs: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a contender's calls come to on average: ms, and USD per million calls."""

    name: str
    latency_ms: float
    cost_per_million: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is drawn. The first curve is ours; `frontier` are our points under different objectives, in their order.

    `regret_unit` is the curves' unit, `bar` names what their regret is measured against. Points in `rivals` that share
    a curve's name share its colour; `endpoints` are single endpoints.
    """

    title: str
    regret_unit: str
    bar: str
    curves: Sequence[Curve]
    frontier: Sequence[Point]
    rivals: Sequence[Point]
    endpoints: Sequence[Point]


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


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture, 1950 x 975 pixels as PNG; the suffix says the format. `OSError` when it cannot be written."""
    _settle()
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context({"text.parse_math": False}):  # a name may have dollar signs in it
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")  # and letters that get a box
        _figure(comparison).savefig(path)


def _figure(comparison: Comparison) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(comparison.title, fontsize=13)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
    looks = _looks([*(curve.name for curve in comparison.curves[1:]), *(rival.name for rival in comparison.rivals)])
    _draw_regret(left, comparison, looks)
    _draw_frontier(right, comparison, looks)
    handles = [*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=ceil(len(handles) / 2), frameon=False)
    figure.draw(canvas.get_renderer())  # type: ignore[no-untyped-call]  # the layout is settled in drawing
    figure.set_layout_engine("none")
    _label_points(right, canvas, comparison)
    return figure


def _settle() -> None:
    """Keep matplotlib's font cache among FISO's own files, and its word about building it off the terminal."""
    cache = LocalStage.from_environ().state / "matplotlib"
    cache.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    colour: str
    marker: str


def _looks(names: Iterable[str]) -> Mapping[str, _Look]:
    """One for each name, which may stand there more than once."""
    looks = [_Look(colour=colour, marker=marker) for colour, marker in _LOOKS]
    return {name: looks[number % len(looks)] for number, name in enumerate(dict.fromkeys(names))}


def _draw_regret(axes: "Axes", comparison: Comparison, looks: Mapping[str, _Look]) -> None:
    ours, *rivals = comparison.curves
    rounds = range(1, len(ours.runs[0]) + 1)
    every = max(1, len(rounds) // _MARKS)
    axes.axhline(0, color=_GREY, linewidth=1)
    axes.fill_between(rounds, _each_round(min, ours.runs), _each_round(max, ours.runs), color=_OURS, alpha=0.25)
    mean = f"{ours.name} (mean of the seeds, band from lowest to highest)" if len(ours.runs) > 1 else ours.name
    axes.plot(
        rounds,
        _each_round(fmean, ours.runs),
        color=_OURS,
        linewidth=2.4,
        marker="o",
        markevery=(every // 2, every),
        label=mean,
    )
    for number, curve in enumerate(rivals, start=1):
        look, first = looks[curve.name], every * number // len(comparison.curves)
        mean_run = _each_round(fmean, curve.runs)
        (line,) = axes.plot(rounds, mean_run, color=look.colour, linewidth=1.2, label=curve.name)
        line.set(marker=look.marker, markevery=(first, every), markersize=6.5, markerfacecolor="none")
    nearness = _nearness(ours)
    axes.set_yscale("symlog", linthresh=nearness, linscale=LINEAR_DECADES)
    axes.set_yticks(_ticks(nearness, *axes.get_ylim()))
    axes.yaxis.set_major_formatter(_written)
    axes.xaxis.set_major_formatter(_written)
    axes.set(xlabel="round", xlim=(0, len(rounds)), title=f"Regret against {comparison.bar}")
    axes.set_ylabel(f"cumulative regret, {comparison.regret_unit} (logarithmic beyond {_written(nearness)})")


def _each_round(summary: Callable[[Iterable[float]], float], runs: Sequence[Sequence[float]]) -> list[float]:
    return [summary(values) for values in zip(*runs, strict=True)]


def _nearness(ours: Curve) -> float:
    """Linear up to the round number that our own regret stays under: the rivals' may be a hundred times as much."""
    most = max(abs(value) for run in ours.runs for value in run)
    if not most:
        return 1.0
    decade = 10.0 ** floor(log10(most))
    return next(step * decade for step in (1.0, 2.0, 5.0, 10.0) if step * decade >= most)


def _ticks(nearness: float, low: float, high: float) -> list[float]:
    near = [nearness * share for share in (0, 0.25, 0.5, 0.75, 1)]
    far = [nearness * step * 10**decade for decade in range(12) for step in (3, 10)]
    return [tick for value in (*near, *far) for tick in {value, -value} if low <= tick <= high]


def _draw_frontier(axes: "Axes", comparison: Comparison, looks: Mapping[str, _Look]) -> None:
    endpoints, ours = comparison.endpoints, comparison.frontier
    axes.plot(*_places(endpoints), color=_GREY, marker="o", markersize=4.5, linestyle="none", label="single endpoint")
    axes.plot(*_places(ours), color=_OURS, marker="o", markersize=8, linewidth=2)
    for rival in comparison.rivals:
        look = looks[rival.name]
        (mark,) = axes.plot(*_places([rival]), color=look.colour, marker=look.marker, markersize=9)
        mark.set(markerfacecolor="none", markeredgewidth=1.5)
    latencies, costs = _places(_all(comparison))
    axes.margins(0.12)
    for values, axis, scale in ((latencies, axes.xaxis, axes.set_xscale), (costs, axes.yaxis, axes.set_yscale)):
        if min(values) > 0 and max(values) > WIDE * min(values):
            scale("log", subs=[])
            axis.set_major_locator(_decades())
        axis.set_major_formatter(_written)
    axes.set(xlabel="mean latency, ms", ylabel="cost, USD per million calls")
    axes.set_title(f"Latency and cost; {comparison.curves[0].name} under each objective")


def _decades() -> "LogLocator":
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0))


def _label_points(axes: "Axes", canvas: "FigureCanvasAgg", comparison: Comparison) -> None:
    ours = [_label(point, _OURS, is_bold=True) for point in comparison.frontier]
    singles = [_label(point, _GREY) for point in comparison.endpoints]
    points = list(zip(*_places(_all(comparison)), strict=True))
    line = list(zip(*_places(comparison.frontier), strict=True))
    place(axes, canvas.get_renderer(), [*ours, *singles], points=points, line=line)  # type: ignore[no-untyped-call]


def _label(point: Point, colour: str, *, is_bold: bool = False) -> Label:
    return Label(text=point.name, x=point.latency_ms, y=point.cost_per_million, colour=colour, is_bold=is_bold)


def _all(comparison: Comparison) -> Sequence[Point]:
    return [*comparison.frontier, *comparison.rivals, *comparison.endpoints]


def _places(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.latency_ms for point in points], [point.cost_per_million for point in points]


def _written(value: float, _: float | None = None) -> str:
    return f"{value:,.6g}"
