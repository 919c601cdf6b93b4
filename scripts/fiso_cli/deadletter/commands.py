"""`fiso deadletter`: options in, dead letters and what became of them out."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.errors import FAILED, BadInput, CommandError
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output, Table, figure, progress, text, whole
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso_cli.deadletter.dead_letters import DeadLetter
    from fiso_cli.deadletter.replay import DeadLetterBucket, Replayed


def list_letters(
    *,
    replayed: Annotated[bool, typer.Option("--replayed", help="Those that were replayed instead.")] = False,
    stage: StageOption = "local",
) -> Output:
    """Every dead letter with what is wrong with it now.

    \b
    fiso deadletter list
    fiso deadletter list --replayed --stage prod --json
    """
    from fiso_cli.deadletter import dead_letters

    chosen = Stage.named(stage)
    with chosen.wrapped_errors():
        box = _box(chosen)
        found = list(box.replayed() if replayed else box.waiting())
    document = {"letters": [dead_letters.document_of(letter) for letter in found]}
    return Output(document=document, shown=[_table(found)] if found else ["no dead letters"])


def show(
    id: Annotated[str, typer.Argument(help="A dead letter's id, or the beginning of one, as `list` shows it.")],
    *,
    stage: StageOption = "local",
) -> Output:
    """One dead letter whole, as JSON: its records as the stream had them, and for each why it does not parse.

    \b
    fiso deadletter show 3f2a91c0de
    """
    from fiso_cli.deadletter import dead_letters

    chosen = Stage.named(stage)
    with chosen.wrapped_errors():
        box = _box(chosen)
        (letter,) = _named([*box.waiting(), *box.replayed()], [id])
    return Output(document=dead_letters.document_of(letter, whole=True))


def replay_letters(
    ids: Annotated[list[str] | None, typer.Argument(help="Dead letters' ids, or their beginnings.")] = None,
    *,
    all_of_them: Annotated[bool, typer.Option("--all", help="Every one that waits.")] = False,
    stage: StageOption = "local",
) -> Output:
    """Fold the records of dead letters as the stream consumer would, each once, and move what is done aside.

    \b
    fiso deadletter replay 3f2a91c0de
    fiso deadletter replay --all --stage prod
    """
    from fiso.adapters.aws.archive import S3Archive
    from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
    from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
    from fiso_cli.deadletter import replay

    if bool(ids) == all_of_them:
        raise BadInput("name dead letters, or say --all: fiso deadletter replay --all")
    chosen = Stage.named(stage)
    done: list[Replayed] = []
    with chosen.wrapped_errors():
        box = _box(chosen)
        waiting = list(box.waiting())
        dynamodb = chosen.client("dynamodb")
        log = DynamoDBInvocationLog(dynamodb, chosen.log_table, clock=_utc_now)
        # Whichever code folded a record before: a dead letter may be of both.
        states = DynamoDBEndpointStates(dynamodb, chosen.state_table, clock=_utc_now, marks_as_before=True)
        archive = S3Archive(chosen.client("s3"), chosen.bucket, clock=_utc_now)
        wanted = waiting if all_of_them else _named(waiting, ids or [])
        with progress("replaying", len(wanted)) as bar:
            for letter in wanted:
                done.append(replay.replay(letter, box, log, states, archive))
                bar.advance()
    stay = [_line(each) for each in done if each.refused or each.left]
    failed = "not every dead letter could be replayed; the others are done, and these stay where they are"
    return Output(
        document={"letters": [asdict(each) for each in done]},
        shown=[_line(each) for each in done if not (each.refused or each.left)],
        remarks=[*stay, f"error: {failed}"] if stay else [],
        exit_code=FAILED if stay else 0,
    )


def _box(stage: Stage) -> "DeadLetterBucket":
    from fiso_cli.deadletter.replay import DeadLetterBucket

    return DeadLetterBucket(stage.client("s3"), stage.bucket)


def _named(found: "Sequence[DeadLetter]", ids: Sequence[str]) -> "list[DeadLetter]":
    chosen: list[DeadLetter] = []
    for id in ids:
        matching = [letter for letter in found if letter.id.startswith(id)] if id else []
        if len(matching) != 1:
            how_many = f"{len(matching)} dead letters begin with" if matching else "no dead letter is called"
            raise CommandError(f"{how_many} {id!r}: see `fiso deadletter list`")
        chosen.append(matching[0])
    return chosen


def _table(found: "Sequence[DeadLetter]") -> Table:
    return Table(
        title="dead letters",
        columns=[
            text("id"),
            text("given up at", lambda each: f"{each.given_up_at:%Y-%m-%d %H:%M:%S}" if each.given_up_at else None),
            text("condition", spare=1),
            figure("deliveries", spare=2),
            figure("records", lambda each: len(each.records), whole),
            figure("unreadable", lambda each: len(each.unreadable), whole),
            text("why"),
        ],
        rows=found,
    )


def _line(each: "Replayed") -> str:
    from fiso_cli.deadletter import dead_letters

    if each.refused:
        return f"{each.id}: stays: {each.refused}"
    line = f"{each.id}: {each.folded} folded, {each.already_folded} folded before"
    line += f", {each.gone} not in the log: left out" if each.gone else ""
    return (
        f"{line}, {each.left} still cannot be read: stays" if each.left else f"{line}: moved to {dead_letters.REPLAYED}"
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
