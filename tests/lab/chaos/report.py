"""The report: one self-contained page of all figures, with a timeline for each experiment that sent requests.

No scripts and nothing from elsewhere; light and dark as the reader's system is.
"""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path

from tests.lab.chaos import summary, timeline
from tests.lab.chaos.catalogue import catalogue
from tests.lab.chaos.series import Ran
from tests.lab.chaos.summary import Line, number

CAVEATS = """\
Everything here was measured on one machine, with scripted providers and emulated stores: local latencies are not cloud
latencies, and no local rig shows cold starts, distance or outages that clouds share.
A bound is the one-sided 95 % confidence limit on the bad side. A quick run's samples are too small to show most
targets: there "met" says that no violation was seen, with the bound that n supports. "n suffices"
marks those whose bound keeps the target, too. Only a full run claims the figures.
"""
_STYLE = """
:root { color-scheme: light dark; } .soft, dt, th { color: GrayText; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; font: 15px/1.5 system-ui, sans-serif; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dd { margin: 0; } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px
  solid GrayText; } .right { text-align: right; white-space: nowrap; } .met { color: #2e8b57; }
  .missed { color: #d32f2f;
  font-weight: 600; } svg { width: 100%; min-width: 40rem; height: auto; }
"""
_KEY = '<p class="soft">Dots: latency from the intended start; crosses: not answered by the function. {}</p>'.format(
    ", ".join(f'<span style="color: {color}">{name}</span>' for name, color in timeline.COLORS.items())
)


def write(root: Path, ran: Sequence[Ran], *, is_quick: bool, seed: int) -> Path:
    """Write `report.html` from the summary and the raw histories under `root`."""
    lines = summary.read(root / "summary.json")
    latest = ", ".join(one.experiment.name for one in ran) or "nothing"
    facts = {
        "machine": f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}",
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "seed": str(seed),
        "samples": "quick (reduced)" if is_quick else "full",
        "run now": f"{latest}; others are as they were last run",
    }
    file = root / "report.html"
    draft = file.with_suffix(".draft")
    draft.write_text(page(lines, facts, root), encoding="utf-8")
    draft.replace(file)
    return file


def page(lines: Sequence[Line], facts: dict[str, str], root: Path) -> str:
    """The whole page."""
    met = sum(line.met for line in lines)
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    sections = "".join(_section(name, list(own), root) for name, own in groupby(lines, key=_experiment))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>FISO: reliability</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>FISO under faults: {met} of {len(lines)} figures keep their targets</h1><dl>{listed}</dl>"
        f'<p class="soft">{escape(CAVEATS)}</p>'
        f'<h2>All figures</h2><div class="wide">{_table(lines)}</div>{sections}</body></html>\n'
    )


def _experiment(line: Line) -> str:
    return line.name.partition(": ")[0]


def _section(name: str, lines: Sequence[Line], root: Path) -> str:
    question = next((one.question for one in catalogue() if one.name == name), "")
    drawn = timeline.picture(timeline.points_of(root / name))
    picture = f'<div class="wide">{drawn}</div>{_KEY}' if drawn else ""
    figures = "".join(
        f"<li>{_verdict(line)}: {escape(line.name.partition(': ')[2])} {number(line.value)} {escape(line.unit)}</li>"
        for line in lines
    )
    heading = f'<h2 id="{escape(name)}">Row {lines[0].row}: {escape(name)}</h2>'
    return f'{heading}<p class="soft">{escape(question)}</p><ul>{figures}</ul>{picture}'


def _table(lines: Sequence[Line]) -> str:
    heads = "".join(
        f"<th>{name}</th>" for name in ("row", "figure", "value", "target", "unit", "n", "bound", "verdict")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(map(_row, lines))}</tbody></table>"


def _row(line: Line) -> str:
    bound = "-" if line.bound is None else number(line.bound)
    return (
        f'<tr><td>{line.row}</td><td>{escape(line.name)}</td><td class="right">{number(line.value)}</td>'
        f'<td class="right">{escape(line.op)} {number(line.target)}</td><td>{escape(line.unit)}</td>'
        f'<td class="right">{line.n:,}</td><td class="right">{bound}</td><td>{_verdict(line)}</td></tr>'
    )


def _verdict(line: Line) -> str:
    said = "met, n suffices" if line.is_proven else line.verdict
    return f'<span class="{"met" if line.met else "missed"}">{said}</span>'
