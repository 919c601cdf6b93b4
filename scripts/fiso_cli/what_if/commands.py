"""`fiso what-if`: arguments in, tables out, no logic."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fiso_cli.catalog import declaration
from fiso_cli.catalog.declaration import Declaration, InvalidDeclaration
from fiso_cli.stage import Stage
from fiso_cli.traffic import terminal
from fiso_cli.what_if import reading, report
from fiso_cli.what_if.comparison import Answer, compare

THIN = 3
DEFAULT_SINCE = "30d"

what_if_app = typer.Typer(add_completion=False)


@what_if_app.command("what-if")
def what_if(
    *,
    policy: Annotated[Path, typer.Option("--policy", help="A catalog file, as `fiso apply` takes it.")],
    since: Annotated[
        str | None, typer.Option("--since", help="How far back: 30d, 12h. 30d for a stage, all of a file.")
    ] = None,
    stage: Annotated[str, typer.Option("--stage", help="The stage whose archive is read.")] = "local",
    log: Annotated[
        Path | None, typer.Option("--log", help="Record documents instead, one JSON object a line, plain or gzip.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Estimate from the log what a new policy's first choices would have come to; nothing is invoked or changed.

    \b
    exit 0  every function of the file that is in the log could be estimated
    exit 3  the log cannot speak of at least one of them (the others are shown), or has none of them
    exit 2  a file or an option cannot be used
    exit 1  the stage cannot be read

    \b
    fiso what-if --policy new.yaml --since 30d --stage prod
    fiso what-if --policy new.yaml --log records.jsonl.gz --json
    """
    now = datetime.now(UTC)
    where = Stage.named(stage)
    declared = _declared(policy, where)
    start = reading.start_of(since if log or since else DEFAULT_SINCE, now)
    answer = _answer(declared, where, log, start, now)
    if as_json:
        terminal.write_json(report.document(answer))
    else:
        _show(answer, declared)
    if not answer.comparisons or any(comparison.refusal for comparison in answer.comparisons):
        raise typer.Exit(THIN)


def _declared(path: Path, where: Stage) -> Declaration:
    try:
        return declaration.read(path, declaration.Setting.of(where))
    except InvalidDeclaration as error:
        raise reading.refused(str(error)) from error


def _answer(declared: Declaration, where: Stage, log: Path | None, start: datetime | None, now: datetime) -> Answer:
    with reading.records(where, log, start=start, now=now) as records:
        return compare(records, declared.entries)


def _show(answer: Answer, declared: Declaration) -> None:
    results, beside = terminal.out(), terminal.err()
    for warning in declared.warnings:
        beside.print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)
    for comparison in answer.comparisons:
        if not comparison.refusal:
            results.print(report.tables(comparison))
        for line in report.remarks(comparison):
            results.print(line, markup=False, soft_wrap=True)
    for line in report.refusals(answer):
        results.print(line, style="yellow", markup=False, soft_wrap=True)
    for line in report.strangers(answer):
        results.print(line, markup=False, soft_wrap=True)
    if any(not comparison.refusal for comparison in answer.comparisons):
        for line in report.MEANING:
            results.print(line, markup=False, soft_wrap=True)
    if not answer.comparisons:
        results.print("the log has no records of the file's functions", style="yellow")
