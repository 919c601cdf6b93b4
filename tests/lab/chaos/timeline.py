"""Timelines: a load's raw history as one inline SVG picture: latencies, failures, and who was called, over time."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOST_DOTS = 2_500
"""Answers beyond these are thinned out evenly; failures are all drawn."""
MOST_BARS = 120
COLORS = {"aws": "#d55e00", "azure": "#0072b2", "gcp": "#009e73", "nobody": "#808080"}
"""Told apart by the colour-blind, and on light and dark paper."""
SOFT, FAULT, FAILED = "#808080", "#d55e0022", "#d32f2f"
_ELSEWHERE = re.compile(r"<\?xml.*?<svg|<metadata>.*?</metadata>| xmlns(:\w+)?=\"[^\"]*\"", re.DOTALL)
"""What an SVG file has and a page with it inside does not need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One request as it is drawn."""

    at_s: float
    latency_ms: float
    status: int
    phase: str
    provider: str
    tried: tuple[str, ...]


def points_of(folder: Path) -> list[Point]:
    """The requests in a folder's histories, by their intended start; lines of another form are left out."""
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            found += [point for line in lines if (point := _point(line)) is not None]
    return sorted(found, key=lambda point: point.at_s)


def picture(points: Sequence[Point]) -> str:
    """An SVG element; empty where there is nothing to draw."""
    if len(points) < 2 or points[-1].at_s <= points[0].at_s:
        return ""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    figure.patch.set_alpha(0)
    latencies, attempts = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    _draw_phases(latencies, points)
    _draw_latencies(latencies, points)
    _draw_attempts(attempts, points)
    drawn = StringIO()
    figure.savefig(drawn, format="svg")
    return _ELSEWHERE.sub(lambda found: "<svg" if found[0].startswith("<?xml") else "", drawn.getvalue())


def _point(line: str) -> Point | None:
    try:
        row: Mapping[str, Any] = json.loads(line)
        return Point(
            at_s=float(row["intended_s"]),
            latency_ms=float(row["latency_ms"]),
            status=int(row["status"]),
            phase=str(row["phase"]),
            provider=str(row.get("provider") or ""),
            tried=tuple(str(endpoint) for endpoint, *_ in row.get("tried") or ()),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _draw_phases(axes: Axes, points: Sequence[Point]) -> None:
    for place, (phase, of_phase) in enumerate(groupby(points, key=lambda point: point.phase)):
        own = list(of_phase)
        if "fault" in phase or place % 2:
            axes.axvspan(own[0].at_s, own[-1].at_s, color=FAULT, linewidth=0)
        axes.annotate(phase, (own[0].at_s, 1.02), xycoords=("data", "axes fraction"), color=SOFT, fontsize=8)


def _draw_latencies(axes: Axes, points: Sequence[Point]) -> None:
    well = [point for point in points if point.status == 200]
    well = well[:: max(1, ceil(len(well) / MOST_DOTS))]
    failed = [point for point in points if point.status != 200]
    colors = [COLORS[_named(point.provider)] for point in well]
    axes.scatter([p.at_s for p in well], [p.latency_ms for p in well], s=3, c=colors, gid="answered")
    axes.plot([p.at_s for p in failed], [max(0.5, p.latency_ms) for p in failed], "x", ms=4, color=FAILED, gid="failed")
    axes.set(yscale="log", ylabel="latency, ms")
    _soften(axes)


def _draw_attempts(axes: Axes, points: Sequence[Point]) -> None:
    """Attempts per provider in each slice of time, one bar on the other."""
    span_s = points[-1].at_s - points[0].at_s
    tried = {name: list[float]() for name in COLORS}
    for point in points:
        for endpoint in point.tried or (point.provider,):
            tried[_named(endpoint)].append(point.at_s)
    bars = min(MOST_BARS, max(1, int(span_s)))
    axes.hist(list(tried.values()), bins=bars, stacked=True, color=list(COLORS.values()))
    axes.set(xlabel="s", ylabel=f"attempts in {span_s / bars:.1f} s")
    _soften(axes)


def _soften(axes: Axes) -> None:
    axes.patch.set_alpha(0)
    axes.tick_params(colors=SOFT)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(SOFT)


def _named(provider: str) -> str:
    return provider if provider in COLORS else "nobody"
