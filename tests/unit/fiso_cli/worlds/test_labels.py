"""Where the names of points go: checked on the boxes that the renderer gives."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from fiso_cli.worlds.labels import Label, place

CROWD = [(4.0, 5.0), (4.1, 5.05), (4.2, 4.95), (4.15, 5.1), (9.9, 9.9)]


def written(crowd: list[tuple[float, float]]) -> tuple[Axes, list[Bbox]]:
    figure = Figure(figsize=(6, 6), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    labels = [Label(text=f"endpoint {number}", x=x, y=y, colour="black") for number, (x, y) in enumerate(crowd)]
    place(axes, renderer, labels, points=crowd, line=[(0, 4), (10, 4)])
    canvas.draw()  # type: ignore[no-untyped-call]
    texts = [child for child in axes.get_children() if isinstance(child, Annotation)]
    return axes, [Text.get_window_extent(text, renderer) for text in texts]


def test_labels_of_a_crowd_hide_neither_each_other_nor_a_point() -> None:
    axes, boxes = written(CROWD)
    assert len(boxes) == len(CROWD)
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    points = axes.transData.transform(CROWD)
    assert not [box for box in boxes for x, y in points if box.contains(x, y)]


def test_labels_stay_in_the_panel_and_off_the_line() -> None:
    axes, boxes = written(CROWD)
    panel = axes.get_window_extent()
    assert all(panel.contains(box.x0, box.y0) and panel.contains(box.x1, box.y1) for box in boxes)
    _, line_px = axes.transData.transform((0, 4))
    assert not [box for box in boxes if box.y0 <= line_px <= box.y1]


def test_a_label_with_all_the_room_stands_to_the_right_of_its_point() -> None:
    axes, (box,) = written([(3.0, 7.0)])
    across, up = axes.transData.transform((3.0, 7.0))
    assert across < box.x0 < across + 20
    assert box.y0 < up < box.y1
