"""Reports: the replay's table and JSON, and what an outage did."""

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table

from fiso_cli.worlds import report
from fiso_cli.worlds.clouds.contest import FISO, Result, Runs
from fiso_cli.worlds.clouds.outages import Outage
from fiso_cli.worlds.clouds.phases import Fared, Phase, fared
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.report import Document


def document(
    result: Result, *, name: str, objective: Objective, outages: Sequence[Outage], calibration: Document | None
) -> Document:
    """Everything for machines: the replay's document, `calibration` and `outages`."""
    seeds = len(result.runs[FISO])
    told = report.document(result.verdict, trace=name, objective=objective, seeds=seeds)
    return told | {
        "notes": list(result.notes),
        "calibration": calibration,
        "outages": [_outage(outage, result.runs) for outage in outages],
    }


def outage_table(outage: Outage, result: Result) -> RenderableType:
    """How everybody fared before, during and after; those that the outage hurt least on top, under FISO itself."""
    where = outage.provider if outage.region is None else f"{outage.provider} {outage.region}"
    title = f"outage of {where} ({outage.kind}), {outage.start_s:,.0f} to {outage.end_s:,.0f} s: requests answered"
    shown = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("router", no_wrap=True)
    for phase in Phase:
        shown.add_column(f"{phase}", justify="right", no_wrap=True)
        shown.add_column("mean ms", justify="right", no_wrap=True)
        shown.add_column("p95", justify="right", no_wrap=True)
    found = {name: fared(runs, outage) for name, runs in result.runs.items()}
    shown.add_row(FISO, *_cells(found.pop(FISO)), style="bold")
    for name, phases in sorted(found.items(), key=lambda item: -(item[1][Phase.DURING].success or 0)):
        shown.add_row(name, *_cells(phases))
    return shown


def outage_lines(outage: Outage) -> Iterable[str]:
    """The lines under the table."""
    yield f"outage: {outage.source}"


def _cells(phases: Mapping[Phase, Fared]) -> Iterable[str]:
    for phase in Phase:
        seen = phases[phase]
        yield "-" if seen.success is None else f"{seen.success:.1%}"
        yield "-" if seen.mean is None else f"{seen.mean:,.0f}"
        yield "-" if seen.p95 is None else f"{seen.p95:,.0f}"


def _outage(outage: Outage, runs: Mapping[str, Runs]) -> Document:
    return {
        "provider": outage.provider.value,
        "region": outage.region,
        "kind": outage.kind.value,
        "start_s": outage.start_s,
        "end_s": outage.end_s,
        "source": outage.source,
        "phases": {
            name: {phase.value: _fared(seen) for phase, seen in fared(of_one, outage).items()}
            for name, of_one in runs.items()
        },
    }


def _fared(seen: Fared) -> Document:
    return {"requests": seen.requests, "success": seen.success, "mean": seen.mean, "p95": seen.p95}
