"""Benchmark rows: one figure of ours beside a rival's, taken in the same run, so that their ratio can be trusted."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`ratio` is how many times better than the rival we are; `gate` is what it must reach, when there is one."""

    name: str
    value: float
    unit: str
    rival: str
    rival_value: float | None
    ratio: float | None
    n: int
    gate: str = ""
    is_met: bool = True


def against(name: str, value: float, unit: str, *, rival: str, rival_value: float, n: int, at_least: float) -> Row:
    """A row where less is better and the rival must be beaten `at_least` so many times."""
    ratio = rival_value / value
    return Row(
        name=name,
        value=value,
        unit=unit,
        rival=rival,
        rival_value=rival_value,
        ratio=ratio,
        n=n,
        gate=f">= {at_least:g}x",
        is_met=ratio >= at_least,
    )


def within(name: str, value: float, unit: str, *, rival: str, rival_value: float, n: int, at_most: float) -> Row:
    """A row where the value must stay under a limit; the rival is shown beside it."""
    return Row(
        name=name,
        value=value,
        unit=unit,
        rival=rival,
        rival_value=rival_value,
        ratio=rival_value / value,
        n=n,
        gate=f"<= {at_most:g} {unit}",
        is_met=value <= at_most,
    )


def within_ratio(name: str, value: float, unit: str, *, rival: str, rival_value: float, n: int, at_most: float) -> Row:
    """A row where we may cost at most so many times what the yardstick does; the ratio is yardstick / ours."""
    return Row(
        name=name,
        value=value,
        unit=unit,
        rival=rival,
        rival_value=rival_value,
        ratio=rival_value / value,
        n=n,
        gate=f"<= {at_most:g} of it",
        is_met=value <= at_most * rival_value,
    )


def reaching(name: str, value: float, unit: str, *, rival: str, rival_value: float, n: int, at_least: float) -> Row:
    """A row where more is better and the value must reach a level; the ratio is ours / the rival's."""
    return Row(
        name=name,
        value=value,
        unit=unit,
        rival=rival,
        rival_value=rival_value,
        ratio=value / rival_value if rival_value else None,
        n=n,
        gate=f">= {at_least:g}",
        is_met=value >= at_least,
    )


def write(rows: Sequence[Row], path: Path) -> None:
    """The rows as JSON."""
    keys = ("name", "value", "unit", "rival", "rival_value", "ratio", "n")
    documents = [{key: asdict(row)[key] for key in keys} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(documents, indent=2) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    shown = Table(title="Medians of one run on this machine; the ratio is rival / ours")
    for column in ("figure", "ours", "rival's", "unit", "ratio", "gate", "n", "rival"):
        shown.add_column(column, justify="left" if column in ("figure", "unit", "rival", "gate") else "right")
    for row in rows:
        shown.add_row(
            row.name,
            f"{row.value:,.4g}",
            "" if row.rival_value is None else f"{row.rival_value:,.4g}",
            row.unit,
            "" if row.ratio is None else f"{row.ratio:,.3g}x",
            f"{row.gate} {'met' if row.is_met else 'MISSED'}" if row.gate else "",
            str(row.n),
            row.rival,
        )
    return shown
