"""`python -m tests.lab chaos`: run the reliability scorecard's experiments on this machine; what `make chaos` runs."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fiso_cli.errors import CommandGroup
from fiso_cli.local_stage import LocalStage
from fiso_cli.log_redirect import lines_to
from fiso_cli.traffic import terminal
from tests.lab.chaos import summary
from tests.lab.chaos.catalogue import UnknownExperiment, catalogue, chosen
from tests.lab.chaos.experiment import Experiment
from tests.lab.chaos.series import Ran, run_one
from tests.lab.chaos.summary import Line, number

MISSED, BAD_INPUT, INTERRUPTED = 1, 2, 130
LOG = "chaos.log"
CAVEAT = (
    "Local latencies are not cloud latencies. A bound is what this sample supports with 95 % confidence; quick "
    "runs have samples too small to show most targets: there `met` says that no violation was seen."
)

chaos_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Break clouds, stores and FISO's own parts, and see in figures whether it goes on.",
)


@chaos_app.command("list")
def list_command(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.")] = False
) -> None:
    """The experiments there are, by row of the reliability scorecard. For example: python -m tests.lab chaos list"""
    if as_json:
        there = [{"row": one.row, "name": one.name, "question": one.question} for one in catalogue()]
        typer.echo(json.dumps(there, indent=2))
        return
    shown = Table("row", "name", "question")
    for one in catalogue():
        shown.add_row(str(one.row), one.name, one.question)
    terminal.out().print(shown)


@chaos_app.command("run")
def run_command(
    names: Annotated[list[str] | None, typer.Argument(help="Names or rows, as `chaos list` shows them.")] = None,
    *,
    run_all: Annotated[bool, typer.Option("--all", help="Run every experiment.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Reduced samples: minutes in place of hours.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="What is drawn is drawn again with the same seed.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run experiments; figures go to .local/chaos/summary.json, a page to report.html beside it. Exits 1 if one misses.

    For example: python -m tests.lab chaos run refused black-hole --quick
    """
    experiments = _asked(names or [], run_all=run_all)
    root = LocalStage.from_environ().state / "chaos"
    root.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=root / LOG, level=logging.WARNING)
    ran: list[Ran] = []
    try:
        with (root / LOG).open("a", encoding="utf-8") as log, lines_to(log):
            for one in _run(experiments, root, is_quick=quick, seed=seed):
                ran.append(one)
    except KeyboardInterrupt as stopped:
        terminal.err().print(f"stopped: {len(ran)} of {len(experiments)} were measured and are kept")
        raise typer.Exit(INTERRUPTED) from stopped
    finally:
        _report(root, ran, is_quick=quick, seed=seed)
    lines = [line for one in ran for line in one.lines]
    if as_json:
        typer.echo(json.dumps(summary.documents(lines), indent=2))
    else:
        terminal.out().print(figures_table(lines))
        terminal.out().print(f"{CAVEAT}\n{root / 'report.html'}", soft_wrap=True, markup=False)
    if not all(one.is_met for one in ran):
        raise typer.Exit(MISSED)


def figures_table(lines: Sequence[Line]) -> Table:
    """The figures for a terminal."""
    shown = Table(title="Figures; a bound is the 95 % confidence limit on the bad side")
    for column in ("row", "figure", "value", "target", "unit", "n", "bound", "verdict"):
        shown.add_column(column, justify="left" if column in ("figure", "unit", "verdict") else "right")
    for line in lines:
        shown.add_row(
            str(line.row),
            line.name,
            number(line.value),
            f"{line.op} {number(line.target)}",
            line.unit,
            f"{line.n:,}",
            number(line.bound) if line.bound is not None else terminal.UNKNOWN,
            line.verdict,
        )
    return shown


def _asked(names: Sequence[str], *, run_all: bool) -> Sequence[Experiment]:
    if run_all and not names:
        return catalogue()
    try:
        if run_all or not names:
            raise UnknownExperiment("say which experiments, or --all alone: see `python -m tests.lab chaos list`")
        return chosen(names)
    except UnknownExperiment as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(BAD_INPUT) from error


def _run(experiments: Sequence[Experiment], root: Path, *, is_quick: bool, seed: int) -> Iterator[Ran]:
    with _live() as (progress, task):
        for place, experiment in enumerate(experiments, start=1):
            title = f"{place}/{len(experiments)} row {experiment.row} {experiment.name}"

            def say(remark: str, title: str = title) -> None:
                progress.update(task, description=f"{title}: {remark}")

            progress.reset(task, description=title)
            ran = run_one(experiment, root, is_quick=is_quick, seed=seed, say=say)
            _tell(progress.console, ran)
            yield ran


@contextmanager
def _live() -> Iterator[tuple[Progress, TaskID]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=terminal.err(), transient=True) as progress:
        yield progress, progress.add_task("", total=None)


def _tell(console: Console, ran: Ran) -> None:
    console.print(f"{ran.experiment.name}: {ran.seconds:.0f} s", markup=False, soft_wrap=True)
    if ran.error is not None:
        console.print(f"  broke: {ran.error}", style="red", markup=False, soft_wrap=True)
        return
    for line in ran.lines:
        bound = "" if line.bound is None else f", bound {number(line.bound)}"
        text = f"  {line.verdict}: {line.name.partition(': ')[2]} {number(line.value)} {line.op} {number(line.target)}"
        style = None if line.met else "red"
        console.print(f"{text} {line.unit} (n {line.n:,}{bound})", style=style, markup=False, soft_wrap=True)


def _report(root: Path, ran: Sequence[Ran], *, is_quick: bool, seed: int) -> None:
    from tests.lab.chaos import report

    report.write(root, ran, is_quick=is_quick, seed=seed)
