"""`fiso report`: options in, savings, promises kept and costs out."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.commands import JsonOption
from fiso_cli.options import LogOption, RecordsOption, SinceOption, StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso_cli.reports.sla import Row

DEFAULT_SINCE = "7d"
DEFAULT_BLOCK_S = 3_600


def savings(  # noqa: PLR0913 - a command's options
    *,
    since: SinceOption = None,
    stage: StageOption = "local",
    log: LogOption = None,
    most: RecordsOption = 200_000,
    block_s: Annotated[int, typer.Option("--block-s", min=60, help="The policy's control_block_s.")] = DEFAULT_BLOCK_S,
    bill: Annotated[
        list[str] | None, typer.Option("--bill", help="A cloud's FOCUS export, CSV or gzip, - for stdin; repeatable.")
    ] = None,
    cost: Annotated[str, typer.Option("--cost", help="What of a bill: effective, billed or list.")] = "effective",
    rate: Annotated[
        list[str] | None, typer.Option("--rate", help="What a bill's currency is worth in USD, as in EUR=1.08.")
    ] = None,
    unmatched: Annotated[
        Path | None, typer.Option("--unmatched", help="Write the lines that fit nothing here, whole, with why.")
    ] = None,
    focus: Annotated[Path | None, typer.Option("--focus", help="Write the log's estimates here as FOCUS 1.2.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="The catalog's file; else the stage's, or fiso.yaml here with --log."),
    ] = None,
    as_json: JsonOption = False,
) -> Output:
    """Per function what routing saved against always calling home, net of FISO's own cost, and what to do about it.

    Reads the last 7 days of a stage's archive, or a file. Home is measured in the policy's control blocks
    (control_share); without them nothing is recommended. With --bill, what the clouds charged stands beside what the
    log estimates, per copy, and every line that fits nothing is told of: docs/bills.md.

    \b
    fiso report savings --since 7d --stage prod
    fiso report savings --log records.jsonl.gz --json
    fiso report savings --stage prod --bill aws.csv.gz --bill azure.csv
    fiso report savings --log records.jsonl -f fiso.yaml --focus estimates.csv
    """
    from fiso_cli.reports import savings as report
    from fiso_cli.reports.bills import beside
    from fiso_cli.reports.bills.resources import Resources
    from fiso_cli.reports.bills.usage import Usage
    from fiso_cli.what_if import records

    now, where = datetime.now(UTC), Stage.named(stage)
    asked = beside.asked(bill or [], cost=cost, rates=rate or [], unmatched=unmatched, focus=focus)
    resources = Resources(beside.catalog(where, log, file) if asked else ())
    start = None if log and not since else now - records.span(since or DEFAULT_SINCE)
    usage = Usage(resources.endpoints, resources.terms, start)
    # Beside a bill every call counts.
    wanted = None if asked else most or None
    with records.logged(where, log, since=since, default=DEFAULT_SINCE, now=now, most=wanted) as logged:
        read = usage.watching(logged.records) if asked else logged.records
        found = report.of_records(read, block_s=block_s, extent=logged.extent)
    document, shown = report.document(found), report.parts(found)
    if asked.bills:
        document["bill"], said = beside.compare(asked, usage, resources, keep_lines=as_json)
        shown += said
    if focus is not None:
        document["focus"], said = beside.write(focus, usage, stage)
        shown += said
    return Output(document=document, shown=shown, remarks=logged.remarks)


def sla(
    *,
    since: SinceOption = None,
    stage: StageOption = "local",
    log: LogOption = None,
    most: RecordsOption = 200_000,
) -> Output:
    """Per function what callers got: the share served with its interval, latencies, the worst hour.

    \b
    fiso report sla --since 30d --stage prod
    fiso report sla --log records.jsonl.gz --json
    """
    from fiso_cli.reports import sla as report

    rows, remarks = _rows(stage, log, since, most)
    return Output(document=report.document(rows), shown=report.sla_parts(rows), remarks=remarks)


def cost(
    *,
    since: SinceOption = None,
    stage: StageOption = "local",
    log: LogOption = None,
    most: RecordsOption = 200_000,
) -> Output:
    """Per function and cloud what the calls cost by list prices. What routing saves of it: fiso report savings.

    \b
    fiso report cost --since 30d --stage prod
    fiso report cost --log records.jsonl.gz --json
    """
    from fiso_cli.reports import sla as report

    rows, remarks = _rows(stage, log, since, most)
    return Output(document=report.document(rows), shown=report.cost_parts(rows), remarks=remarks)


def _rows(stage: str, log: Path | None, since: str | None, most: int) -> tuple["list[Row]", list[str]]:
    from fiso_cli.reports import sla as report
    from fiso_cli.what_if import records

    now, where = datetime.now(UTC), Stage.named(stage)
    with records.logged(where, log, since=since, default=DEFAULT_SINCE, now=now, most=most or None) as logged:
        rows = report.of_records(logged.records)
    return rows, logged.remarks
