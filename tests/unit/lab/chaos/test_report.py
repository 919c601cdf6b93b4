"""The page: self-contained, with a picture where there is a history, and what is drawn escaped."""

import json
from pathlib import Path

from tests.lab.chaos import report, summary, timeline
from tests.lab.chaos.figures import Figure, Op
from tests.lab.chaos.summary import Line
from tests.unit.lab.chaos.test_summary import a_figure, an_experiment


def some_lines(name: str = "refused") -> list[Line]:
    worse = Figure(name="p99 <b>", value=40, op=Op.AT_MOST, target=30, unit="ms", n=300, bound=50)
    return summary.lines_of(an_experiment(name), [a_figure(), worse])


def write_history(folder: Path, statuses: list[int], phase: str = "fault") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"intended_s": i / 10, "latency_ms": 100 + i, "status": status, "phase": phase, "provider": "aws"}
        | {"tried": [["aws", None]]}
        for i, status in enumerate(statuses)
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"other": "form"}]))


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    write_history(tmp_path / "refused", [200] * 20)
    page = report.page(some_lines(), {"seed": "1"}, tmp_path)
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "color-scheme: light dark" in page


def test_figures_stand_with_their_verdicts_and_caveats(tmp_path: Path) -> None:
    page = report.page(some_lines(), {"seed": "1"}, tmp_path)
    assert "1 of 2 figures keep their targets" in page
    assert '<span class="missed">MISSED</span>' in page
    assert "p99 &lt;b&gt;" in page
    assert "local latencies are not cloud" in page


def test_every_failure_is_drawn_and_answers_are_thinned_out(tmp_path: Path) -> None:
    write_history(tmp_path, [200] * (2 * timeline.MOST_DOTS) + [504] * 7)
    drawn = timeline.picture(timeline.points_of(tmp_path))
    assert _marks(drawn, "failed") == 7
    assert _marks(drawn, "answered") == timeline.MOST_DOTS


def test_phases_are_drawn_as_bands_with_their_names(tmp_path: Path) -> None:
    write_history(tmp_path, [200] * 100, phase="fault <i>")
    drawn = timeline.picture(timeline.points_of(tmp_path))
    assert "<!-- fault &lt;i&gt; -->" in drawn
    assert "<i>" not in drawn


def test_without_requests_there_is_no_picture(tmp_path: Path) -> None:
    assert timeline.picture(timeline.points_of(tmp_path)) == ""


def _marks(drawn: str, group: str) -> int:
    """How many marks a group of the picture has."""
    (_, found) = drawn.split(f'<g id="{group}">', 1)
    return found[: found.index("<g id=", 1)].count("<use ")
