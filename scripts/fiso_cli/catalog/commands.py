"""Commands of the catalog: `fiso apply | check | export | schema`. Arguments in, lines out, no logic."""

import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.markup import escape

from fiso.codecs.typed import Document
from fiso_cli.catalog import change, declaration, schema, spelling, view, yaml_text
from fiso_cli.catalog.change import Plan, Written
from fiso_cli.errors import CommandError
from fiso_cli.migrations import runner
from fiso_cli.stage import Stage
from fiso_cli.traffic.terminal import out, write_json

StageOption: TypeAlias = Annotated[str, typer.Option("--stage", help="Where to act: local, or a deployed stage.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
FileOption: TypeAlias = Annotated[Path, typer.Option("--file", "-f", help="The catalog's file.")]

apply_app, check_app = typer.Typer(add_completion=False), typer.Typer(add_completion=False)
export_app, schema_app = typer.Typer(add_completion=False), typer.Typer(add_completion=False)


@apply_app.command("apply")
def apply(
    file: FileOption = Path("fiso.yaml"),
    *,
    stage: StageOption = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    lift_pins: Annotated[bool, typer.Option("--lift-pins", help="Let the file lift pins (kill switches).")] = False,
    allow_removals: Annotated[
        bool, typer.Option("--allow-removals", help="Remove functions that the file does not name.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the catalog what the file says: show the difference, ask, write a version, publish it.

    \b
    fiso apply -f fiso.yaml --dry-run
    fiso apply -f fiso.yaml --stage prod --yes
    """
    where, now = Stage.named(stage), datetime.now(UTC)
    declared = declaration.read(file, declaration.Setting.of(where))
    with where.explained():
        migrations = runner.pending(where.connect) if dry_run else runner.migrate(where.connect)
        store = where.catalog_store()
        planned = change.plan(store, declared.entries, now)
        remarks = [*declared.warnings, *(f"migration {step.name}" for step in migrations)]
        if not as_json:
            _show(planned, remarks)
        if dry_run:
            _finish(as_json, _plan_document(planned, remarks), "nothing was written (--dry-run)")
            return
        _refuse_losses(planned, lift_pins=lift_pins, allow_removals=allow_removals)
        _agree(planned, yes=yes, can_ask=not as_json and sys.stdin.isatty())
        written = change.execute(planned, store, where.snapshots(), author=author(), now=now)
    tell(written, as_json, _plan_document(planned, remarks))


@check_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="The catalog's file.")] = Path("fiso.yaml"),
    *,
    stage: StageOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Check a catalog file without any network: every mistake with its line, and what was probably not meant.

    \b
    fiso check fiso.yaml
    fiso check fiso.yaml --stage prod --json
    """
    setting = declaration.Setting.of(Stage.named(stage))
    try:
        declared, problems = declaration.read(file, setting), list[str]()
    except declaration.InvalidDeclaration as error:
        declared, problems = None, str(error).splitlines()
    notes = declared.warnings if declared else ()
    if as_json:
        write_json({"problems": problems, "notes": [*notes]})
        raise typer.Exit(1 if problems else 0)
    if problems:
        raise CommandError("\n".join(problems))
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{file}: {len(declared.entries) if declared else 0} functions, nothing wrong")


@export_app.command("export")
def export(*, stage: StageOption = "local", as_json: JsonOption = False) -> None:
    """Print what is in force as a catalog file; applying it changes nothing.

    \b
    fiso export > fiso.yaml
    fiso export --stage prod --json
    """
    where = Stage.named(stage)
    with where.explained():
        newest = where.catalog_store().load()
    if not newest.entries:
        raise CommandError(f"stage {stage} has no functions to export: `fiso apply` writes the first")
    now = datetime.now(UTC)
    document = spelling.file_of({name: entry.at(now) for name, entry in newest.entries.items()})
    if as_json:
        write_json(document)
    else:
        typer.echo(f"# catalog version {newest.version} of stage {stage}")
        typer.echo(yaml_text.written(document), nl=False)


@schema_app.command("schema")
def print_schema(*, as_json: JsonOption = False) -> None:
    """Print the JSON Schema of catalog files, for editors; it is JSON with and without --json.

    \b
    fiso schema > fiso.schema.json
    # the first line of fiso.yaml:  # yaml-language-server: $schema=fiso.schema.json
    """
    write_json(schema.of_file(), indent=2)


def author() -> str:
    """Who a version is written by."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def tell(written: Written, as_json: bool, document: Document) -> None:
    """What a command wrote; `CommandError` when it is not published."""
    if as_json:
        published = written.unpublished is None
        write_json({**document, "version": written.version, "written": written.is_new, "published": published})
    else:
        typer.echo(f"catalog version {written.version}" + ("" if written.is_new else ": no changes"))
    if written.unpublished is not None:
        raise CommandError(
            f"version {written.version} is stored, not published ({written.unpublished}): the keeper tries every minute"
        )


def _show(planned: Plan, remarks: list[str]) -> None:
    console = out()
    for remark in remarks:
        console.print(f"[yellow]note:[/] {escape(remark)}")
    if planned.changes:
        console.print(view.of_changes(planned.changes))
        console.print(view.summary(planned.changes))


def _refuse_losses(planned: Plan, *, lift_pins: bool, allow_removals: bool) -> None:
    if planned.removals and not allow_removals:
        names = ", ".join(planned.removals)
        raise CommandError(
            f"the file does not name {names}: `fiso export` writes them into a file, or pass --allow-removals"
        )
    if planned.lifted_pins and not lift_pins:
        names = ", ".join(planned.lifted_pins)
        raise CommandError(
            f"{names}: pinned now, and the file would lift that: `fiso policy unpin` first, or pass --lift-pins"
        )


def _agree(planned: Plan, *, yes: bool, can_ask: bool) -> None:
    if not planned.changes or yes:
        return
    if not can_ask:
        raise CommandError("there is nobody to ask: pass --yes to write these changes")
    if not typer.confirm(f"Write this over version {planned.based_on}?"):
        raise CommandError("nothing was written")


def _finish(as_json: bool, document: Document, line: str) -> None:
    if as_json:
        write_json({**document, "written": False})
    else:
        typer.echo(line if document["changes"] else "no changes")


def _plan_document(planned: Plan, remarks: list[str]) -> Document:
    return {
        "based_on": planned.based_on,
        "changes": [found.to_document() for found in planned.changes],
        "removals": [*planned.removals],
        "notes": [*remarks],
    }
