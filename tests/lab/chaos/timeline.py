"""Timelines: a load's raw history as one inline SVG picture: latencies, failures, and who was called, over time."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import ceil, log10
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT = 960.0, 56.0, 10.0
DOTS_TOP, DOTS_BOTTOM = 22.0, 190.0
BARS_TOP, BARS_BOTTOM, HEIGHT = 206.0, 286.0, 306.0
MOST_DOTS = 2_500
"""Answers beyond these are thinned out evenly; failures are all drawn."""
MOST_BARS = 120
_SHAPES = "aws", "azure", "gcp"


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
    axes = _Axes(points)
    parts = [*_bands(points, axes), *_grid(axes), *_dots(points, axes), *_bars(points, axes), *_seconds(axes)]
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="latency of each request, and attempts by provider, over time">{"".join(parts)}</svg>'
    )


class _Axes:
    def __init__(self, points: Sequence[Point]) -> None:
        self.begin_s, self.end_s = points[0].at_s, max(points[-1].at_s, points[0].at_s + 1e-6)
        self.low = log10(max(0.5, min(point.latency_ms for point in points)))
        self.high = max(self.low + 0.5, log10(max(1.0, max(point.latency_ms for point in points))))

    def x(self, at_s: float) -> float:
        return LEFT + (at_s - self.begin_s) / (self.end_s - self.begin_s) * (WIDTH - LEFT - RIGHT)

    def y(self, latency_ms: float) -> float:
        share = (log10(max(0.5, latency_ms)) - self.low) / (self.high - self.low)
        return DOTS_BOTTOM - share * (DOTS_BOTTOM - DOTS_TOP)


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


def _bands(points: Sequence[Point], axes: _Axes) -> list[str]:
    parts = []
    for place, (phase, of_phase) in enumerate(groupby(points, key=lambda point: point.phase)):
        own = list(of_phase)
        begin, end = axes.x(own[0].at_s), axes.x(own[-1].at_s)
        kind = "fault" if "fault" in phase or place % 2 else "calm"
        parts.append(
            f'<rect class="{kind}" x="{begin:.1f}" y="{DOTS_TOP}" width="{max(1.0, end - begin):.1f}" '
            f'height="{BARS_BOTTOM - DOTS_TOP}"/>'
        )
        if end - begin > 6 * len(phase):
            parts.append(f'<text x="{begin + 4:.1f}" y="{DOTS_TOP - 7}">{escape(phase)}</text>')
    return parts


def _grid(axes: _Axes) -> list[str]:
    parts = []
    for decade in range(ceil(axes.low), int(axes.high) + 1):
        y, ms = axes.y(10**decade), 10**decade
        label = f"{ms // 1000} s" if ms >= 1000 else f"{ms} ms"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="end" x="{LEFT - 5}" y="{y + 4:.1f}">{label}</text>')
    return parts


def _dots(points: Sequence[Point], axes: _Axes) -> list[str]:
    well = [point for point in points if point.status == 200]
    step = max(1, ceil(len(well) / MOST_DOTS))
    parts = [
        f'<circle class="{_shade(point.provider)}" cx="{axes.x(point.at_s):.1f}" cy="{axes.y(point.latency_ms):.1f}" '
        'r="1.6"/>'
        for point in well[::step]
    ]
    for point in points:
        if point.status != 200:
            x, y = axes.x(point.at_s), axes.y(point.latency_ms)
            parts.append(f'<path class="failed" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>')
    return parts


def _bars(points: Sequence[Point], axes: _Axes) -> list[str]:
    """Attempts per provider in each slice of time, one bar on the other."""
    slice_s = max(1.0, (axes.end_s - axes.begin_s) / MOST_BARS)
    slices: dict[int, Counter[str]] = defaultdict(Counter)
    for point in points:
        slices[int((point.at_s - axes.begin_s) / slice_s)].update(point.tried or (point.provider,))
    most = max(sum(tried.values()) for tried in slices.values())
    width = max(1.0, axes.x(axes.begin_s + slice_s) - axes.x(axes.begin_s) - 0.5)
    parts = [f'<text class="end" x="{LEFT - 5}" y="{BARS_TOP + 10}">{most / slice_s:.0f}/s</text>']
    for place, tried in slices.items():
        x, y = axes.x(axes.begin_s + place * slice_s), BARS_BOTTOM
        for provider in sorted(tried):
            height = tried[provider] / most * (BARS_BOTTOM - BARS_TOP)
            y -= height
            parts.append(
                f'<rect class="{_shade(provider)}" x="{x:.1f}" y="{y:.1f}" '
                f'width="{min(width, WIDTH - RIGHT - x):.1f}" height="{height:.1f}"/>'
            )
    return parts


def _seconds(axes: _Axes) -> list[str]:
    span_s = axes.end_s - axes.begin_s
    step = next((step for step in (1, 2, 5, 10, 30, 60, 120, 300) if span_s / step <= 14), 600)
    return [
        f'<text class="middle" x="{axes.x(axes.begin_s + second):.1f}" y="{HEIGHT - 6}">{second} s</text>'
        for second in range(0, int(span_s) + 1, step)
    ]


def _shade(provider: str) -> str:
    return provider if provider in _SHAPES else "nobody"
