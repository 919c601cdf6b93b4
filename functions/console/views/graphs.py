"""Graphs: histories as points and columns of an SVG, so that templates only draw. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fiso.domain.endpoint import EndpointId
from fiso.domain.rollup import Counts
from functions.console.views.history import Column, History, percentile_ms

WIDTH, HEIGHT = 1000.0, 160.0
LEAST_TOP = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A piece of a column: `y` from above, in the drawing's units; `kind` is the class that colours it."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a column tells when it is pointed at, and where it leads."""

    x: float
    width: float
    at: datetime
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Bars and lines on one scale from 0 to `top`; lines are SVG points, broken where nothing happened."""

    top: float
    bars: tuple[Bar, ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    marks: tuple[Mark, ...] = ()


def latency(history: History) -> Graph:
    """p50 and p95 by column."""
    values = {
        kind: [(column.at, percentile_ms(column.total, share)) for column in history.columns]
        for kind, share in (("p50", 0.5), ("p95", 0.95))
    }
    top = max((value for of_kind in values.values() for _, value in of_kind if value is not None), default=0.0)
    lines = tuple(
        (kind, points) for kind, of_kind in values.items() for points in _pieces(history, of_kind, top or LEAST_TOP)
    )
    return Graph(top=top, lines=lines, marks=_marks(history))


def requests(history: History) -> Graph:
    """Requests by column, errors among them from the ground up."""

    def parts(column: Column) -> Iterable[tuple[str, float]]:
        counts = column.total
        return ("error", counts.errors), ("calm", counts.requests - counts.errors)

    return _stacked(history, parts, top=max((column.total.requests for column in history.columns), default=0))


def shares(history: History, kinds: Mapping[EndpointId, str]) -> Graph:
    """Which copies ended the requests, each column as a whole; `kinds` are the copies' classes."""

    def parts(column: Column) -> Iterable[tuple[str, float]]:
        whole = sum(counts.requests for counts in column.counts.values())
        ordered = sorted(column.counts.items(), key=lambda item: list(kinds).index(item[0]) if item[0] in kinds else 99)
        return [(kinds.get(id, "none"), counts.requests / whole) for id, counts in ordered if counts.requests and whole]

    return _stacked(history, parts, top=1.0)


def cost(history: History) -> Graph:
    """Dollars by column."""
    top = max((column.total.cost_usd for column in history.columns), default=0.0)
    return _stacked(history, lambda column: [("gcp", column.total.cost_usd)], top=top)


def _stacked(history: History, parts: Callable[[Column], Iterable[tuple[str, float]]], *, top: float) -> Graph:
    bars, width = [], _width(history)
    for column in history.columns:
        ground = HEIGHT
        for kind, value in parts(column):
            height = round(HEIGHT * value / (top or LEAST_TOP), 2)
            ground -= height
            if height > 0:
                bars.append(Bar(x=_x(history, column.at), y=round(ground, 2), width=width, height=height, kind=kind))
    return Graph(top=top, bars=tuple(bars), marks=_marks(history))


def _pieces(history: History, values: Iterable[tuple[datetime, float | None]], top: float) -> list[str]:
    pieces: list[list[str]] = [[]]
    known: datetime | None = None
    for at, value in values:
        if value is None or (known is not None and at - known > history.span.step):
            pieces.append([])
        if value is not None:
            middle = _x(history, at) + _width(history) / 2
            pieces[-1].append(f"{middle:.1f},{HEIGHT - HEIGHT * value / top:.1f}")
            known = at
    # a lone point is a line too
    return [" ".join(piece if len(piece) > 1 else [piece[0], _nudged(piece[0])]) for piece in pieces if piece]


def _nudged(point: str) -> str:
    x, _, y = point.partition(",")
    return f"{float(x) + 2:.1f},{y}"


def _marks(history: History) -> tuple[Mark, ...]:
    width = _width(history)
    return tuple(
        Mark(x=_x(history, column.at), width=width, at=column.at, counts=column.total) for column in history.columns
    )


def _width(history: History) -> float:
    return round(WIDTH * (history.span.step / (history.span.end - history.span.start)), 3)


def _x(history: History, at: datetime) -> float:
    return round(WIDTH * ((at - history.span.start) / (history.span.end - history.span.start)), 3)
