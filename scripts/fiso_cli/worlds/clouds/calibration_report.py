"""Reports of a calibration, as a table and as JSON."""

from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table

from fiso_cli.worlds.clouds.calibration import DRAWS, LEAST_ROWS, Calibration, CellError, Level
from fiso_cli.worlds.report import Document

NAMES = ("mean", "p95", "cost")


def document(calibration: Calibration) -> Document:
    """For machines. Errors are relative and signed; the summary's are absolute, over cells of LEAST_ROWS calls."""
    summaries = {name: calibration.summary(name) for name in NAMES}
    return {
        "trace": calibration.trace,
        "fitted_on": "half of the measurements",
        "compared_on": "the other half",
        "draws": DRAWS,
        "least_rows": LEAST_ROWS,
        "under_load": {
            provider.value: {"exponent": found.exponent, "spread": found.spread}
            for provider, found in calibration.fitted.under_load.items()
        },
        "dropped_arms": list(calibration.fitted.dropped),
        "summary": {
            name: None if found is None else {"median": found.median, "worst": found.worst}
            for name, found in summaries.items()
        },
        "cells": [_cell(cell) for cell in calibration.cells],
    }


def table(calibration: Calibration) -> RenderableType:
    """For people: measured and simulated means, and the errors."""
    shown = Table(
        title=f"calibration on {calibration.trace}: fitted on half of the measurements, compared on the others",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("function", "arm"):
        shown.add_column(name, no_wrap=True)
    for name in ("load", "rows", "cold", "mean ms", "simulated", "error", "p95 error", "cost error"):
        shown.add_column(name, justify="right", no_wrap=True)
    for cell in calibration.cells:
        errors = [_percent(cell.errors[name]) for name in NAMES]
        means = (f"{cell.measured.mean_ms:,.0f}", f"{cell.simulated.mean_ms:,.0f}")
        shown.add_row(
            cell.function, cell.arm, f"{cell.load:g}", f"{cell.rows}", f"{cell.cold_share:.0%}", *means, *errors
        )
    return shown


def summary(calibration: Calibration) -> Iterable[str]:
    """The lines under the table."""
    for name in NAMES:
        found = calibration.summary(name)
        told = "no cell has enough rows" if found is None else f"median {found.median:.1%}, worst {found.worst:.1%}"
        yield f"error of {name}: {told} over {len(calibration.counted)} cells of at least {LEAST_ROWS} rows"
    yield "cold calls are simulated cold where they were measured cold: the cold share is the trace's, not the model's"
    for provider, grown in calibration.fitted.under_load.items():
        yield f"under load, {provider}: latency x crowding ^ {grown.exponent:.2f}, spread {grown.spread:.2f}"
    if calibration.fitted.dropped:
        yield f"too few calls, left out: {', '.join(calibration.fitted.dropped)}"


def _cell(cell: CellError) -> Document:
    return {
        "function": cell.function,
        "arm": cell.arm,
        "load": cell.load,
        "rows": cell.rows,
        "cold_share": cell.cold_share,
        "measured": _level(cell.measured),
        "simulated": _level(cell.simulated),
        "error": dict(cell.errors),
    }


def _level(level: Level) -> Document:
    return {"mean_ms": level.mean_ms, "p95_ms": level.p95_ms, "cost_usd": level.cost_usd}


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{error:+.1%}"
