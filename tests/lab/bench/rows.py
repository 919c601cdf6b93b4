"""Benchmark rows: one figure of ours beside a rival's, taken in the same run, so that their ratio can be trusted."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fiso_cli.rendering import Table, figure, plain, text


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


@dataclass(frozen=True, slots=True)
class Gate:
    """What a row must reach: in words, and as a question about its value and the rival's (None where there is none)."""

    text: str
    is_met: Callable[[float, float | None], bool]


def times_better(times: float) -> Gate:
    """Less is better, and the rival's is at least so many times ours."""
    return Gate(f">= {times:g}x", lambda value, rival: rival is not None and rival >= times * value)


def at_most(limit: float) -> Gate:
    """Our value stays under a limit, whatever the rival's is."""
    return Gate(f"<= {limit:g}", lambda value, _: value <= limit)


def at_least(limit: float) -> Gate:
    """Our value reaches a limit, whatever the rival's is."""
    return Gate(f">= {limit:g}", lambda value, _: value >= limit)


def at_most_of_rival(share: float) -> Gate:
    """Ours is at most so many times the rival's."""
    return Gate(f"<= {share:g} of it", lambda value, rival: rival is not None and value <= share * rival)


def row(
    name: str,
    value: float,
    unit: str,
    *,
    rival: str,
    rival_value: float | None,
    n: int,
    gate: Gate | None = None,
    more_is_better: bool = False,
) -> Row:
    """A row with its ratio, which is left out where there is no rival's value or one of the two is not above 0."""
    better, worse = (rival_value, value) if not more_is_better else (value, rival_value)
    return Row(
        name=name,
        value=value,
        unit=unit,
        rival=rival,
        rival_value=rival_value,
        ratio=better / worse if better is not None and worse is not None and min(better, worse) > 0 else None,
        n=n,
        gate=gate.text if gate else "",
        is_met=gate is None or gate.is_met(value, rival_value),
    )


def documents(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as JSON."""
    keys = ("name", "value", "unit", "rival", "rival_value", "ratio", "n")
    return [{key: asdict(row)[key] for key in keys} for row in rows]


def write(rows: Sequence[Row], path: Path) -> None:
    """The rows as a file of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(documents(rows), indent=2) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    return Table(
        title="Medians of one run on this machine; the ratio is rival / ours",
        columns=[
            text("figure", "name"),
            figure("ours", "value", _brief),
            figure("rival's", "rival_value", _brief),
            text("unit"),
            figure("ratio", lambda row: "" if row.ratio is None else f"{row.ratio:,.3g}x", plain),
            text("gate", lambda row: f"{row.gate} {'met' if row.is_met else 'MISSED'}" if row.gate else ""),
            figure("n", spare=2),
            text("rival", spare=1),
        ],
        rows=rows,
        style=lambda row: "" if row.is_met else "red",
    )


def _brief(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, int | float) else ""
