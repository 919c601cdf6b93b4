"""`python -m tests.lab chaos`: run the reliability scorecard's experiments on this machine; what `make chaos` runs."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fiso_cli.errors import FAILED, BadInput
from fiso_cli.local_stage import LocalStage
from fiso_cli.log_redirect import lines_to
from fiso_cli.rendering import UNKNOWN, Bar, Output, Table, figure, plain, progress, remark, text
from tests.lab.chaos import summary
from tests.lab.chaos.catalogue import UnknownExperiment, catalogue, chosen
from tests.lab.chaos.experiment import Experiment
from tests.lab.chaos.series import Ran, run_one
from tests.lab.chaos.summary import Line, number

INTERRUPTED = 130
LOG = "chaos.log"
CAVEAT = (
    "Local latencies are not cloud latencies. A bound is what this sample supports with 95 % confidence; quick "
    "runs have samples too small to show most targets: there `met` says that no violation was seen."
)


def list_experiments() -> Output:
    """The experiments there are, by row of the reliability scorecard.

    \b
    python -m tests.lab chaos list
    """
    there = catalogue()
    return Output(
        document=[{"row": one.row, "name": one.name, "question": one.question} for one in there],
        shown=[Table(columns=[text("row"), text("name"), text("question")], rows=there)],
    )


def run(
    names: Annotated[list[str] | None, typer.Argument(help="Names or rows, as `chaos list` shows them.")] = None,
    *,
    run_all: Annotated[bool, typer.Option("--all", help="Run every experiment.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Reduced samples: minutes in place of hours.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="What is drawn is drawn again with the same seed.")] = 1,
) -> Output:
    """Run experiments; figures go to .local/chaos/summary.json, a page to report.html beside it. Exits 1 if one misses.

    \b
    python -m tests.lab chaos run refused black-hole --quick
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
        remark(f"stopped: {len(ran)} of {len(experiments)} were measured and are kept")
        raise typer.Exit(INTERRUPTED) from stopped
    finally:
        _report(root, ran, is_quick=quick, seed=seed)
    lines = [line for one in ran for line in one.lines]
    return Output(
        document=summary.documents(lines),
        shown=[figures_table(lines), CAVEAT, str(root / "report.html")],
        exit_code=0 if all(one.is_met for one in ran) else FAILED,
    )


def figures_table(lines: Sequence[Line]) -> Table:
    """The figures for a terminal."""
    return Table(
        title="Figures; a bound is the 95 % confidence limit on the bad side",
        columns=[
            figure("row"),
            text("figure", "name"),
            figure("value", "value", _number),
            figure("target", lambda line: f"{line.op} {number(line.target)}", plain),
            text("unit", spare=1),
            figure("n", spare=2),
            figure("bound", "bound", _number, spare=3),
            text("verdict"),
        ],
        rows=lines,
        style=lambda line: "" if line.met else "red",
    )


def _number(value: object) -> str:
    return number(value) if isinstance(value, int | float) else UNKNOWN


def _asked(names: Sequence[str], *, run_all: bool) -> Sequence[Experiment]:
    if run_all and not names:
        return catalogue()
    try:
        if run_all or not names:
            raise UnknownExperiment("say which experiments, or --all alone: see `python -m tests.lab chaos list`")
        return chosen(names)
    except UnknownExperiment as error:
        raise BadInput(str(error)) from error


def _run(experiments: Sequence[Experiment], root: Path, *, is_quick: bool, seed: int) -> Iterator[Ran]:
    with progress("") as bar:
        for place, experiment in enumerate(experiments, start=1):
            title = f"{place}/{len(experiments)} row {experiment.row} {experiment.name}"

            def say(doing: str, title: str = title) -> None:
                bar.say(f"{title}: {doing}")

            bar.say(title)
            ran = run_one(experiment, root, is_quick=is_quick, seed=seed, say=say)
            _tell(bar, ran)
            yield ran


def _tell(bar: Bar, ran: Ran) -> None:
    bar.remark(f"{ran.experiment.name}: {ran.seconds:.0f} s")
    if ran.error is not None:
        bar.remark(f"  broke: {ran.error}", is_bad=True)
        return
    for line in ran.lines:
        bound = "" if line.bound is None else f", bound {number(line.bound)}"
        figures = f"{line.name.partition(': ')[2]} {number(line.value)} {line.op} {number(line.target)}"
        bar.remark(f"  {line.verdict}: {figures} {line.unit} (n {line.n:,}{bound})", is_bad=not line.met)


def _report(root: Path, ran: Sequence[Ran], *, is_quick: bool, seed: int) -> None:
    from tests.lab.chaos import report

    report.write(root, ran, is_quick=is_quick, seed=seed)
