"""`fiso report`: arguments in, tables out, no logic."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from fiso_cli.errors import CommandGroup
from fiso_cli.reports import savings
from fiso_cli.stage import Stage
from fiso_cli.traffic import terminal
from fiso_cli.what_if.records import AsJson, LogFile, StageName, logged, start_of

DEFAULT_SINCE = "7d"
DEFAULT_BLOCK_S = 3_600

report_app = typer.Typer(cls=CommandGroup, no_args_is_help=True, add_completion=False)


@report_app.callback()
def report() -> None:
    """What routing came to, from the log. For example: fiso report savings --since 7d --stage prod"""


@report_app.command("savings")
def savings_command(
    *,
    since: Annotated[
        str | None, typer.Option("--since", help="How far back: 30d, 12h. 7d for a stage, all of a file.")
    ] = None,
    stage: StageName = "local",
    log: LogFile = None,
    block_s: Annotated[int, typer.Option("--block-s", min=60, help="The policy's control_block_s.")] = DEFAULT_BLOCK_S,
    as_json: AsJson = False,
) -> None:
    """Per function what routing saved against always calling home, net of FISO's own cost, and what to do about it.

    Home is measured in the policy's control blocks (control_share); without them nothing is recommended.

    \b
    fiso report savings --since 7d --stage prod
    fiso report savings --log records.jsonl.gz --json
    """
    now = datetime.now(UTC)
    start = start_of(since, log, now, default=DEFAULT_SINCE)
    with logged(Stage.named(stage), log, start=start, now=now) as records:
        found = savings.of_records(records, block_s=block_s)
    if as_json:
        terminal.write_json(savings.document(found))
        return
    results = terminal.out()
    if not found:
        results.print("the log has no records", style="yellow")
        return
    results.print(savings.table_of(found))
    for line in savings.remarks(found):
        results.print(line, markup=False, soft_wrap=True)
