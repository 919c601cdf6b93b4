"""`fiso deadletter`: arguments in, tables out, no logic."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import track

from fiso.adapters.aws.dynamodb import DynamoDBEndpointStates
from fiso.adapters.aws.s3 import S3Archive
from fiso_cli.deadletter import letters, replay
from fiso_cli.deadletter.letters import Letter
from fiso_cli.deadletter.replay import LetterBox, Replayed
from fiso_cli.errors import CommandError, CommandGroup
from fiso_cli.stage import Stage
from fiso_cli.traffic import terminal
from fiso_cli.traffic.stage_access import JsonOption, StageOption
from fiso_cli.traffic.tables import table

BAD_INPUT = 2

deadletter_app = typer.Typer(cls=CommandGroup, no_args_is_help=True, add_completion=False)


@deadletter_app.callback()
def deadletter() -> None:
    """Batches that the stream gave up: why, and again. For example: fiso deadletter list --stage prod"""


@deadletter_app.command("list")
def list_command(
    *,
    replayed: Annotated[bool, typer.Option("--replayed", help="Those that were replayed instead.")] = False,
    stage: StageOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Every dead letter with what is wrong with it now.

    \b
    fiso deadletter list
    fiso deadletter list --replayed --stage prod --json
    """
    chosen = Stage.named(stage)
    with chosen.explained():
        box = _box(chosen)
        found = list(box.replayed() if replayed else box.waiting())
    if as_json:
        terminal.write_json({"letters": [letters.document_of(letter) for letter in found]})
    elif not found:
        terminal.out().print("no dead letters")
    else:
        terminal.out().print(_table(found))


@deadletter_app.command("show")
def show(
    id: Annotated[str, typer.Argument(help="A letter's id, or the beginning of one, as `list` shows it.")],
    *,
    stage: StageOption = "local",
) -> None:
    """One dead letter whole: its records as the stream had them, and for each why it does not parse. JSON.

    fiso deadletter show 3f2a91c0de
    """
    chosen = Stage.named(stage)
    with chosen.explained():
        box = _box(chosen)
        (letter,) = _named([*box.waiting(), *box.replayed()], [id])
    terminal.write_json(letters.document_of(letter, whole=True))


@deadletter_app.command("replay")
def replay_command(
    ids: Annotated[list[str] | None, typer.Argument(help="Letters' ids, or their beginnings.")] = None,
    *,
    all_of_them: Annotated[bool, typer.Option("--all", help="Every letter that waits.")] = False,
    even_if_old: Annotated[
        bool, typer.Option("--even-if-old", help="Also those whose records' markers may have expired (3 days).")
    ] = False,
    stage: StageOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Fold the records of dead letters as the stream consumer would, each once, and move what is done aside.

    \b
    fiso deadletter replay 3f2a91c0de
    fiso deadletter replay --all --stage prod
    """
    if bool(ids) == all_of_them:
        terminal.err().print("error: name letters, or say --all: fiso deadletter replay --all", markup=False)
        raise typer.Exit(BAD_INPUT)
    chosen, now = Stage.named(stage), datetime.now(UTC)
    with chosen.explained():
        box = _box(chosen)
        waiting = list(box.waiting())
        states = DynamoDBEndpointStates(chosen.client("dynamodb"), chosen.state_table, clock=_utc_now)
        archive = S3Archive(chosen.client("s3"), chosen.bucket, clock=_utc_now)
        wanted = waiting if all_of_them else _named(waiting, ids or [])
        done = [
            replay.replay(letter, box, states, archive, now=now, even_if_old=even_if_old)
            for letter in track(wanted, "replaying", console=terminal.err(), disable=as_json)
        ]
    _tell(done, as_json=as_json)


def _box(stage: Stage) -> LetterBox:
    return LetterBox(stage.client("s3"), stage.bucket)


def _named(found: Sequence[Letter], ids: Sequence[str]) -> list[Letter]:
    chosen: list[Letter] = []
    for id in ids:
        matching = [letter for letter in found if letter.id.startswith(id)] if id else []
        if len(matching) != 1:
            how_many = f"{len(matching)} dead letters begin with" if matching else "no dead letter is called"
            raise CommandError(f"{how_many} {id!r}: see `fiso deadletter list`")
        chosen.append(matching[0])
    return chosen


def _table(found: Sequence[Letter]) -> object:
    made = table("dead letters", ["id", "given up at", "condition"], ["deliveries", "records", "unreadable"], ["why"])
    for letter in found:
        made.add_row(
            letter.id,
            f"{letter.given_up_at:%Y-%m-%d %H:%M:%S}" if letter.given_up_at else terminal.UNKNOWN,
            letter.condition or terminal.UNKNOWN,
            str(letter.deliveries if letter.deliveries is not None else terminal.UNKNOWN),
            str(len(letter.records)),
            str(len(letter.unreadable)),
            letter.why[:100],
        )
    return made


def _tell(done: Sequence[Replayed], *, as_json: bool) -> None:
    if as_json:
        terminal.write_json({"letters": [asdict(each) for each in done]})
    results = terminal.err() if as_json else terminal.out()
    for each in done:
        if not as_json or each.refused or each.left:
            results.print(_line(each), markup=False)
    if any(each.refused or each.left for each in done):
        raise CommandError("not every letter could be replayed; the others are done, and these stay where they are")


def _line(each: Replayed) -> str:
    if each.refused:
        return f"{each.id}: stays: {each.refused}"
    line = f"{each.id}: {each.folded} folded, {each.already_folded} folded before"
    return f"{line}, {each.left} still cannot be read: stays" if each.left else f"{line}: moved to {letters.REPLAYED}"


def _utc_now() -> datetime:
    return datetime.now(UTC)
