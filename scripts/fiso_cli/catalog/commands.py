"""Commands of the catalog: `fiso apply` and `fiso policy show | pin | unpin | mode`. Arguments in, lines out, no logic.

`add_to(app)` registers them.
"""

import getpass
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape

from fiso.codecs.catalog import entry_to_document
from fiso.codecs.typed import Document
from fiso.domain.endpoint import FunctionName
from fiso.domain.policy import Mode
from fiso_cli.catalog import change, declaration, difference, view
from fiso_cli.catalog.change import Alter, Plan, Written
from fiso_cli.errors import CommandError
from fiso_cli.migrations import runner
from fiso_cli.stage import Stage

StageOption: TypeAlias = Annotated[str, typer.Option("--stage", help="Where to act: local, or a deployed stage.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
FunctionArgument: TypeAlias = Annotated[str, typer.Argument(help="A function of the catalog.")]

WIDTH_OF_FILES = 200

apply_app = typer.Typer(add_completion=False)
policy_commands = typer.Typer(name="policy", help="One function's policy: look at it, pin it, change its mode.")


@apply_app.command("apply")
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="The catalog's file.")] = Path("fiso.yaml"),
    *,
    stage: StageOption = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    lift_pins: Annotated[bool, typer.Option("--lift-pins", help="Let the file lift pins (kill switches).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the catalog what the file says: show the difference, ask, write a version, publish it."""
    where = Stage.named(stage)
    declared = declaration.read(file, declaration.Setting.of(where))
    with where.explained():
        migrations = runner.pending(where.connect) if dry_run else runner.migrate(where.connect)
        store = where.catalog_store()
        planned = change.plan(store, declared.entries)
        remarks = [*declared.warnings, *(f"migration {step.name}" for step in migrations)]
        if not as_json:
            _show(planned, remarks)
        if dry_run:
            _finish(as_json, _plan_document(planned, remarks), "nothing was written (--dry-run)")
            return
        _agree(planned, yes=yes, lift_pins=lift_pins, can_ask=not as_json and sys.stdin.isatty())
        written = change.execute(planned, store, where.snapshots(), author=_author(), now=datetime.now(UTC))
    _tell(written, as_json, _plan_document(planned, remarks))


@policy_commands.command("show")
def show(function: FunctionArgument, *, stage: StageOption = "local", as_json: JsonOption = False) -> None:
    """A function's endpoints and policy in the newest version."""
    where = Stage.named(stage)
    with where.explained():
        newest = where.catalog_store().load()
    entry = change.entry_of(newest.entries.get(FunctionName(function)), function, newest.version)
    if as_json:
        _write_json({"catalog_version": newest.version, **entry_to_document(entry)})
        return
    console = _console()
    for part in view.of_entry(entry, newest.version):
        console.print(part)


@policy_commands.command("pin")
def pin(
    function: FunctionArgument,
    endpoint: Annotated[str, typer.Argument(help="The endpoint that every request goes to.")],
    *,
    stage: StageOption = "local",
    as_json: JsonOption = False,
) -> None:
    """The kill switch: send every request of a function to one endpoint."""
    _change(function, change.pinned_to(endpoint), stage, as_json)


@policy_commands.command("unpin")
def unpin(
    function: FunctionArgument,
    *,
    observe: Annotated[bool, typer.Option("--observe", help="Back to observing, not to routing.")] = False,
    stage: StageOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Lift a pin: route again (or observe)."""
    _change(function, change.in_mode(Mode.OBSERVE if observe else Mode.ROUTE), stage, as_json)


@policy_commands.command("mode")
def mode(
    function: FunctionArgument,
    wanted: Annotated[str, typer.Argument(metavar="MODE", help="route, observe or pin:<endpoint>.")],
    *,
    stage: StageOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Set a function's mode."""
    word, _, endpoint = wanted.partition(":")
    if word == Mode.PIN and endpoint:
        alter = change.pinned_to(endpoint)
    elif wanted in (Mode.ROUTE, Mode.OBSERVE):
        alter = change.in_mode(Mode(wanted))
    else:
        raise CommandError(f"mode {wanted!r}: must be route, observe or pin:<endpoint>")
    _change(function, alter, stage, as_json)


def _change(function: str, alter: Alter, stage: str, as_json: bool) -> None:
    where = Stage.named(stage)
    with where.explained():
        runner.migrate(where.connect)  # a kill switch works at once after an update too, without an apply before it
        store, snapshots = where.catalog_store(), where.snapshots()
        written = change.change_policy(function, alter, store, snapshots, author=_author(), now=datetime.now(UTC))
    _tell(written, as_json, {})


def _show(planned: Plan, remarks: list[str]) -> None:
    console = _console()
    for remark in remarks:
        console.print(f"[yellow]note:[/] {escape(remark)}")
    if planned.changes:
        console.print(difference.table(planned.changes))


def _agree(planned: Plan, *, yes: bool, lift_pins: bool, can_ask: bool) -> None:
    if planned.lifted_pins and not lift_pins:
        names = ", ".join(planned.lifted_pins)
        raise CommandError(
            f"{names}: pinned now, and the file would lift that: `fiso policy unpin` first, or pass --lift-pins"
        )
    if not planned.changes or yes:
        return
    if not can_ask:
        raise CommandError("there is nobody to ask: pass --yes to write these changes")
    if not typer.confirm(f"Write {len(planned.changes)} changes over version {planned.based_on}?"):
        raise CommandError("nothing was written")


def _tell(written: Written, as_json: bool, document: Document) -> None:
    if as_json:
        published = written.unpublished is None
        _write_json({**document, "version": written.version, "written": written.is_new, "published": published})
    else:
        typer.echo(f"catalog version {written.version}" + ("" if written.is_new else ": no changes"))
    if written.unpublished is not None:
        raise CommandError(
            f"version {written.version} is stored, not published ({written.unpublished}): the keeper tries every minute"
        )


def _finish(as_json: bool, document: Document, line: str) -> None:
    if as_json:
        _write_json({**document, "written": False})
    else:
        typer.echo(line if document["changes"] else "no changes")


def _plan_document(planned: Plan, remarks: list[str]) -> Document:
    return {
        "based_on": planned.based_on,
        "changes": [found.to_document() for found in planned.changes],
        "notes": [*remarks],
    }


def _write_json(document: Document) -> None:
    typer.echo(json.dumps(document, indent=2))


def _console() -> Console:
    """Standard output; where it is no terminal, wide enough that no address is folded."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)


def _author() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
