"""`fiso replay`: the orchestrator's own code over a paired trace, beside the rules it must beat."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import MODELS
from fiso_cli.worlds import plot, report
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.trace import InvalidTrace, Trace, read

INVALID_TRACE = 2
MOST_SEEDS = 100
MODEL_DIR = MODELS
FILE_WIDTH = 120
"""Columns of the table where standard output is no terminal."""

replay_app = typer.Typer(add_completion=False)


@replay_app.command("replay")
def replay_command(
    trace: Annotated[Path, typer.Option("--trace", help="A paired trace: CSV, plain or gzip.")],
    objective: Annotated[Objective, typer.Option("--objective", help="What the policy wants.")] = Objective.LATENCY,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=MOST_SEEDS, help="Runs with draws of their own.")] = 5,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    picture_file: Annotated[
        Path | None, typer.Option("--plot", help="Draw regret and the latency-cost frontier: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Replay measured rounds through the router; it sees only what it picks. Exits 2 when a file cannot be used.

    For example: fiso replay --trace sebs2020.csv.gz --objective cost --seeds 3 --plot sebs2020.png
    """
    if picture_file is not None and (problem := plot.problem_with(picture_file)):
        raise _refused(problem)
    beside = [other for other in Objective if other is not objective] if picture_file else []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        paired = _read(trace, progress)
        from fiso_cli.worlds import trace_contest as contest
        from fiso_cli.worlds import trace_picture as picture  # scikit-learn takes a second to import

        task = progress.add_task("rounds", total=(seeds + len(beside)) * len(paired.rounds))

        def advance() -> None:
            progress.advance(task)

        result = contest.hold(paired, objective, seeds=seeds, model_dir=MODEL_DIR, on_round=advance)
        frontier = contest.under(paired, beside, model_dir=MODEL_DIR, on_round=advance)
    shown = Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
    shown.print(report.table(result.verdict, trace=paired.name, objective=objective, seeds=seeds))
    for line in (*report.summary(result.verdict, objective=objective), *result.notes):
        shown.print(line, soft_wrap=True, markup=False)
    if out is not None:
        _write(out, report.document(result.verdict, trace=paired.name, objective=objective, seeds=seeds))
    if picture_file is not None:
        drawn = picture.comparison(result, frontier, trace=paired.name, objective=objective, seeds=seeds)
        _draw(drawn, picture_file)


def _read(path: Path, progress: Progress) -> Trace:
    """The trace; on one that cannot be replayed one line and exit 2."""
    try:
        task = progress.add_task(f"reading {path.name}", total=path.stat().st_size)
        paired = read(path, on_bytes=lambda done: progress.update(task, completed=done))
    except OSError as error:
        raise _refused(f"{path}: {error.strerror}") from error
    except InvalidTrace as error:
        raise _refused(f"{path}: {error}") from error
    progress.remove_task(task)
    return paired


def _refused(problem: str) -> typer.Exit:
    typer.secho(f"error: {problem}", err=True, fg=typer.colors.RED)
    return typer.Exit(INVALID_TRACE)


def _write(path: Path, content: report.Document) -> None:
    try:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} could not be written: {error.strerror}") from error


def _draw(drawn: plot.Comparison, path: Path) -> None:
    try:
        plot.draw(drawn, path)
    except OSError as error:
        raise CommandError(f"{path} could not be written: {error.strerror}") from error
