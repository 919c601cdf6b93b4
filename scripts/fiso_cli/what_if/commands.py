"""`fiso what-if`: arguments in, tables out, no logic."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fiso_cli.catalog import declaration
from fiso_cli.catalog.declaration import Declaration, InvalidDeclaration
from fiso_cli.stage import Stage
from fiso_cli.traffic import terminal
from fiso_cli.what_if import report
from fiso_cli.what_if.comparison import Answer, compare
from fiso_cli.what_if.records import AsJson, LogFile, StageName, logged, refused, start_of

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
    stage: StageName = "local",
    log: LogFile = None,
    as_json: AsJson = False,
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
    start = start_of(since, log, now, default=DEFAULT_SINCE)
    with logged(where, log, start=start, now=now) as records:
        answer = compare(records, declared.entries)
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
        raise refused(str(error)) from error


def _show(answer: Answer, declared: Declaration) -> None:
    for warning in declared.warnings:
        terminal.err().print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)
    results = terminal.out()
    for comparison in answer.comparisons:
        if not comparison.refusal:
            results.print(report.tables(comparison))
        _print(results, report.remarks(comparison))
    _print(results, report.refusals(answer), style="yellow")
    _print(results, report.strangers(answer))
    if any(not comparison.refusal for comparison in answer.comparisons):
        _print(results, report.MEANING)
    if not answer.comparisons:
        _print(results, ["the log has no records of the file's functions"], style="yellow")


def _print(results: Console, lines: Iterable[str], *, style: str | None = None) -> None:
    for line in lines:
        results.print(line, style=style, markup=False, soft_wrap=True)
