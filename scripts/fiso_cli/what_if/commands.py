"""`fiso what-if`: options in, a comparison out."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fiso_cli.errors import BadInput
from fiso_cli.options import LogOption, RecordsOption, SinceOption, StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

THIN = 3
DEFAULT_SINCE = "30d"


def what_if(
    *,
    policy: Annotated[Path, typer.Option("--policy", help="A catalog file, as `fiso apply` takes it.")],
    since: SinceOption = None,
    stage: StageOption = "local",
    log: LogOption = None,
    most: RecordsOption = 200_000,
) -> Output:
    """Estimate from the log what a new policy's first choices would have come to; nothing is invoked or changed.

    Reads the last 30 days of a stage's archive, or a file.

    \b
    exit 0  every function of the file that is in the log could be estimated
    exit 3  the log has none of them, or cannot speak of one (others are shown)
    exit 2  a file or an option cannot be used
    exit 1  the stage cannot be read

    \b
    fiso what-if --policy new.yaml --since 30d --stage prod
    fiso what-if --policy new.yaml --log records.jsonl.gz --json
    """
    from fiso_cli.catalog import declaration
    from fiso_cli.what_if import records, report
    from fiso_cli.what_if.comparison import compare

    now, where = datetime.now(UTC), Stage.named(stage)
    try:
        declared = declaration.read(policy, declaration.Setting.of(where))
    except declaration.InvalidDeclaration as error:
        raise BadInput(str(error)) from error
    with records.logged(where, log, since=since, default=DEFAULT_SINCE, now=now, most=most or None) as found:
        answer = compare(found, declared.entries)
    is_thin = not answer.comparisons or any(comparison.refusal for comparison in answer.comparisons)
    return Output(
        document=report.document(answer),
        shown=report.parts(answer),
        remarks=[*(f"note: {warning}" for warning in declared.warnings), *found.remarks],
        exit_code=THIN if is_thin else 0,
    )
