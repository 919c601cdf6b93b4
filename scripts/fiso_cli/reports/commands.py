"""`fiso report`: options in, savings out."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from fiso_cli.options import LogOption, SinceOption, StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

DEFAULT_SINCE = "7d"
DEFAULT_BLOCK_S = 3_600


def savings(
    *,
    since: SinceOption = None,
    stage: StageOption = "local",
    log: LogOption = None,
    block_s: Annotated[int, typer.Option("--block-s", min=60, help="The policy's control_block_s.")] = DEFAULT_BLOCK_S,
) -> Output:
    """Per function what routing saved against always calling home, net of FISO's own cost, and what to do about it.

    Reads the last 7 days of a stage's archive, or a file. Home is measured in the policy's control blocks
    (control_share); without them nothing is recommended.

    \b
    fiso report savings --since 7d --stage prod
    fiso report savings --log records.jsonl.gz --json
    """
    from fiso_cli.reports import savings as report
    from fiso_cli.what_if import records

    now, where = datetime.now(UTC), Stage.named(stage)
    with records.logged(where, log, since=since, default=DEFAULT_SINCE, now=now) as logged:
        found = report.of_records(logged, block_s=block_s)
    return Output(document=report.document(found), shown=report.parts(found))
