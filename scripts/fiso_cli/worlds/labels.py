"""Labels: names beside the points of a panel, each where it hides no other. Greedy, in the order given."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

DISTANCES = (9.0, 18.0, 30.0, 44.0)
"""How far from its point a label may stand, in typographic points; the nearest that is free is taken."""
DIRECTIONS = (
    (1.0, 0.0, "left", "center"),
    (-1.0, 0.0, "right", "center"),
    (0.0, 1.0, "center", "bottom"),
    (0.0, -1.0, "center", "top"),
    (0.7, 0.7, "left", "bottom"),
    (-0.7, 0.7, "right", "bottom"),
    (0.7, -0.7, "left", "top"),
    (-0.7, -0.7, "right", "top"),
)
POINT_PX, LINE_PX = 9.0, 3.0
"""Kept free to every side of a point, and of a line."""
STEPS = 60
NEAR = DISTANCES[0]
"""A label further away gets a thin line to its point."""


Place: TypeAlias = tuple[float, float]
"""x, y"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text for the point at x, y (in the panel's own units)."""

    text: str
    x: float
    y: float
    colour: str
    is_bold: bool = False


def place(
    axes: "Axes", renderer: "RendererAgg", labels: Sequence[Label], *, points: Sequence[Place], line: Sequence[Place]
) -> None:
    """Write the labels, clear of points, the line, each other and the panel's edge while there is room.

    `points` and `line` in the panel's own units, which must be settled: scales, limits and layout.
    """
    taken = [*_boxes(axes, points, POINT_PX), *_boxes(axes, _along(axes, line), LINE_PX)]
    for label in labels:
        written = _write(axes, renderer, label, taken)
        taken.append(_box(written, renderer))


def _write(axes: "Axes", renderer: "RendererAgg", label: Label, taken: Sequence["Bbox"]) -> "Annotation":
    """The label at the first free place, else at the one that hides least."""
    places = [(distance, *direction) for distance in DISTANCES for direction in DIRECTIONS]
    best, least = places[0], float("inf")
    for candidate in places:
        tried = _annotate(axes, label, candidate)
        hidden = _hidden(axes, _box(tried, renderer), taken)
        tried.remove()
        if hidden < least:
            best, least = candidate, hidden
        if not hidden:
            break
    return _annotate(axes, label, best)


def _annotate(axes: "Axes", label: Label, at: tuple[float, float, float, str, str]) -> "Annotation":
    distance, right, up, horizontal, vertical = at
    return axes.annotate(
        label.text,
        (label.x, label.y),
        xytext=(right * distance, up * distance),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=8.5,
        fontweight="bold" if label.is_bold else "normal",
        color=label.colour,
        arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": label.colour} if distance > NEAR else None,
    )


def _box(written: "Annotation", renderer: "RendererAgg") -> "Bbox":
    """The text's own box; an annotation's has the line to its point in it."""
    from matplotlib.text import Text

    written.update_positions(renderer)
    return Text.get_window_extent(written, renderer)


def _hidden(axes: "Axes", box: "Bbox", taken: Sequence["Bbox"]) -> float:
    """How many pixels of the label lie on something else or outside the panel."""
    panel = axes.get_window_extent()
    overlaps = [type(box).intersection(box, other) for other in taken]
    inside = type(box).intersection(box, panel)
    outside = box.width * box.height - (inside.width * inside.height if inside else 0.0)
    return max(0.0, outside) + sum(shared.width * shared.height for shared in overlaps if shared)


def _along(axes: "Axes", line: Sequence[Place]) -> Sequence[Place]:
    """Places on the line, close enough that no label fits between two of them."""
    found = []
    for (x0, y0), (x1, y1) in pairwise(axes.transData.transform(line)):
        shares = [step / STEPS for step in range(STEPS + 1)]
        found += [(x0 + (x1 - x0) * share, y0 + (y1 - y0) * share) for share in shares]
    return [(float(x), float(y)) for x, y in axes.transData.inverted().transform(found)] if found else []


def _boxes(axes: "Axes", places: Sequence[Place], margin_px: float) -> Sequence["Bbox"]:
    from matplotlib.transforms import Bbox

    return [
        Bbox.from_extents(x - margin_px, y - margin_px, x + margin_px, y + margin_px)
        for x, y in map(axes.transData.transform, places)
    ]
