"""`fiso simulate`: the orchestrator's own code in a world that reacts to it, beside the rules it must beat."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import MODELS
from fiso_cli.worlds import plot
from fiso_cli.worlds import report as replay_report
from fiso_cli.worlds.clouds import calibration_report
from fiso_cli.worlds.clouds.preparation import MOST_REQUESTS, BadInput, Prepared, Wanted, prepare
from fiso_cli.worlds.objective import Objective

if TYPE_CHECKING:
    from fiso_cli.worlds.clouds.contest import Result

BAD_INPUT = 2
MOST_FUNCTIONS, MOST_SEEDS = 1_000, 100
FILE_WIDTH = 120
"""Columns of the tables where standard output is no terminal."""

simulate_app = typer.Typer(add_completion=False)


Functions = Annotated[
    int | None, typer.Option("--functions", min=1, max=MOST_FUNCTIONS, help="How many; 12, or all that are measured.")
]
Requests = Annotated[
    int | None, typer.Option("--requests", min=1, max=MOST_REQUESTS, help="How many; 3,000 where no minutes are set.")
]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.01, help="Simulated time instead.")]
Rate = Annotated[
    float | None, typer.Option("--rate", min=0.0001, help="Requests a second over all functions; 1, or as counted.")
]
Wish = Annotated[Objective, typer.Option("--objective", help="What the policy wants.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=MOST_SEEDS, help="Runs with luck of their own.")]
Outages = Annotated[
    list[str] | None,
    typer.Option(
        "--outage",
        help="aws-2023-06-13, azure-2023-07-05, gcp-2025-06-12; or a row of a file of incidents, FILE#ROW; or "
        "provider:start_s:end_s or provider/region:start_s:end_s. To it may be added :refuse, :time_out or :slow. "
        "May be given several times.",
    ),
]
Arrivals = Annotated[Path | None, typer.Option("--arrivals", help="Calls per minute: CSV, a row a function.")]
Coldstarts = Annotated[
    Path | None, typer.Option("--coldstarts", help="P(cold | idle) curves: CSV, as mikhail.io's idle_pcold.csv.")
]
Calibrate = Annotated[
    Path | None, typer.Option("--calibrate", help="A paired trace to fit the world to; its error is printed.")
]
Repeatable = Annotated[bool, typer.Option("--idempotent", help="Calls that may have run may be repeated elsewhere.")]
Out = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Picture = Annotated[
    Path | None, typer.Option("--plot", help="Draw regret and the latency-cost frontier: .png, .svg or .pdf.")
]


@simulate_app.command("simulate")
def simulate_command(  # noqa: PLR0913 - a command's options
    functions: Functions = None,
    requests: Requests = None,
    minutes: Minutes = None,
    rate: Rate = None,
    objective: Wish = Objective.LATENCY,
    seeds: Seeds = 3,
    outage: Outages = None,
    arrivals: Arrivals = None,
    coldstarts: Coldstarts = None,
    calibrate: Calibrate = None,
    idempotent: Repeatable = False,
    out: Out = None,
    picture_file: Picture = None,
) -> None:
    """Simulate clouds that react to the router: arrivals, cold starts, load, outages. Exits 2 on bad input.

    Examples: fiso simulate --outage gcp-2025-06-12; fiso simulate --minutes 60 --rate 0.5 --objective cost;
    fiso simulate --outage aws:600:900:time_out --idempotent --json figures.json
    """
    wanted = Wanted(
        functions=functions,
        requests=requests,
        minutes=minutes,
        rate=rate,
        objective=objective,
        seeds=seeds,
        outages=tuple(outage or ()),
        arrivals=arrivals,
        coldstarts=coldstarts,
        trace=calibrate,
        is_idempotent=idempotent,
    )
    _simulate(wanted, out, picture_file)


def _simulate(wanted: Wanted, out: Path | None, picture_file: Path | None) -> None:
    try:
        if picture_file is not None and (problem := plot.problem_with(picture_file)):
            raise BadInput(problem)
        prepared = prepare(wanted)
    except BadInput as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(BAD_INPUT) from error
    shown = Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
    if prepared.calibration is not None:
        _print(shown, calibration_report.table(prepared.calibration), calibration_report.summary(prepared.calibration))
    result = _held(wanted, prepared)
    _show(shown, wanted, prepared, result)
    if out is not None:
        _write(out, _document(wanted, prepared, result))
    if picture_file is not None:
        from fiso_cli.worlds.clouds import picture

        name = prepared.setting.name
        drawn = picture.comparison(result, name=name, objective=wanted.objective, seeds=wanted.seeds)
        plot.draw(drawn, picture_file)


def _held(wanted: Wanted, prepared: Prepared) -> "Result":
    from fiso_cli.worlds.clouds import contest  # scikit-learn takes a second to import

    plan = contest.Plan(
        setting=prepared.setting,
        arrivals=prepared.arrivals,
        objective=wanted.objective,
        is_idempotent=wanted.is_idempotent,
        model_dir=MODELS,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("requests, all routers", total=prepared.requests * plan.contenders)
        return contest.hold(plan, on_requests=lambda more: progress.advance(task, more))


def _show(shown: Console, wanted: Wanted, prepared: Prepared, result: "Result") -> None:
    name, objective = prepared.setting.name, wanted.objective
    table = replay_report.table(result.verdict, trace=name, objective=objective, seeds=wanted.seeds)
    _print(shown, table, (*replay_report.summary(result.verdict, objective=objective), *result.notes))
    if prepared.setting.outages:
        from fiso_cli.worlds.clouds import report

        for outage in prepared.setting.outages:
            _print(shown, report.outage_table(outage, result), report.outage_lines(outage))


def _print(shown: Console, table: RenderableType, lines: Iterable[str]) -> None:
    shown.print(table)
    for line in lines:
        shown.print(line, soft_wrap=True, markup=False)


def _document(wanted: Wanted, prepared: Prepared, result: "Result") -> replay_report.Document:
    from fiso_cli.worlds.clouds import report

    fitted = prepared.calibration
    return report.document(
        result,
        name=prepared.setting.name,
        objective=wanted.objective,
        outages=prepared.setting.outages,
        calibration=None if fitted is None else calibration_report.document(fitted),
    )


def _write(path: Path, content: replay_report.Document) -> None:
    try:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} could not be written: {error.strerror}") from error
