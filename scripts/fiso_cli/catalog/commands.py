"""Commands of the catalog: `fiso apply | check | export | schema`. Options in, what was found out."""

import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fiso_cli.commands import JsonOption
from fiso_cli.errors import FAILED, USAGE, CommandError
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, remark, show
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiso.codecs.typed import Document
    from fiso.domain.catalog import CatalogEntry
    from fiso.ports import CatalogStore
    from fiso_cli.catalog.change import Plan, Written


WaitOption: TypeAlias = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Return when no call follows the old version any more.")
]


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="The catalog's file.")] = Path("fiso.yaml"),
    *,
    stage: StageOption = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and write nothing.")] = False,
    yes: YesOption = False,
    lift_pins: Annotated[bool, typer.Option("--lift-pins", help="Let the file lift pins (kill switches).")] = False,
    allow_removals: Annotated[
        bool, typer.Option("--allow-removals", help="Remove functions that the file does not name.")
    ] = False,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> Output:
    """Make the catalog what the file says: show the difference, ask, write, publish, wait until it is served.

    \b
    fiso apply -f fiso.yaml --dry-run
    fiso apply -f fiso.yaml --stage prod --yes
    """
    from fiso_cli.catalog import callable, change, declaration, view
    from fiso_cli.catalog.in_force import held_s_where_served
    from fiso_cli.migrations import runner

    where, now = Stage.named(stage), datetime.now(UTC)
    declared = declaration.read(file, declaration.Setting.of(where, where.endpoint_hosts))
    copies = [copy for entry in declared.entries for copy in entry.endpoints]
    with where.wrapped_errors():
        migrations = runner.pending(where.connect) if dry_run else runner.migrate(where.connect)
        store = where.catalog_store()
        if not dry_run:
            learnt(where, store)
        planned = change.plan(store, declared.entries, now, declared.rules)
        notes = [*declared.warnings, *_of_prices(), *(f"migration {step.name}" for step in migrations)]
        notes += callable.doubts(where, copies)
        document: Document = {
            "based_on": planned.based_on,
            "changes": [found.to_document() for found in planned.changes],
            "removals": [*planned.removals],
            "notes": [*notes],
        }
        if not as_json:
            show(*(f"note: {note}" for note in notes), *view.of_difference(planned.changes))
        if dry_run:
            line = "nothing was written (--dry-run)" if planned.changes else "no changes"
            return Output(document={**document, "written": False}, shown=[line])
        _refuse_losses(planned, lift_pins=lift_pins, allow_removals=allow_removals)
        _agree(planned, yes=yes, can_ask=not as_json and sys.stdin.isatty())
        written = change.execute(planned, store, where.publish, author=author())
    if not written.is_new or written.unpublished is not None:
        return told(written, document)
    _alarm(where, planned.entries)
    held_s = held_s_where_served(written.in_force, stage) if wait else None
    held = "served everywhere within 10 s" if held_s is None else f"in force everywhere after {held_s:.1f} s"
    return told(written, {**document, "in_force_after_s": held_s}, held)


def _alarm(where: Stage, entries: "Sequence[CatalogEntry]") -> None:
    """Alarms as the new objectives want them. Who may apply need not be allowed to make them."""
    if where.is_local:
        return
    from fiso_cli.catalog.alarms_command import reconciled

    try:
        for line in reconciled(where, entries).shown or ():
            remark(str(line))
    except CommandError as error:
        remark(f"burn-rate alarms are as they were ({error}); whoever deploys may make them: `fiso alarms`")


def check(
    file: Annotated[Path, typer.Argument(help="The catalog's file.")] = Path("fiso.yaml"),
    *,
    stage: StageOption = "local",
) -> Output:
    """Check a catalog file without any network: every mistake with its line, and what was probably not meant.

    Exits with 2 when there is a mistake: what `fiso apply` would refuse before it asks anybody.

    \b
    fiso check fiso.yaml
    fiso check fiso.yaml --stage prod --json
    """
    from fiso_cli.catalog import declaration, view

    try:
        declared = declaration.read(file, declaration.Setting.of(Stage.named(stage)))
    except declaration.InvalidDeclaration as error:
        first, *more = map(str, error.faults)
        faults = [fault.to_document() for fault in error.faults]
        return Output(
            document={"problems": faults, "notes": []}, shown=[], remarks=[f"error: {first}", *more], exit_code=USAGE
        )
    notes = [*declared.warnings, *_of_prices()]
    told_notes = [f"note: {note}" for note in notes]
    shown = [*told_notes, f"{file}: {view.counted(len(declared.entries), 'function')}, nothing wrong"]
    return Output(document={"problems": [], "notes": notes}, shown=shown)


def _of_prices() -> list[str]:
    from fiso.billing import tariff
    from fiso_cli.tariffs.commands import stale

    old = stale(tariff.current(), datetime.now(UTC).date())
    return [old] if old else []


def export(*, stage: StageOption = "local") -> Output:
    """Print what is in force as a catalog file; applying it changes nothing.

    \b
    fiso export > fiso.yaml
    fiso export --stage prod --json
    """
    from fiso_cli.catalog import spelling, yaml_text

    where = Stage.named(stage)
    with where.wrapped_errors():
        newest = where.catalog_store().load()
    if not newest.entries:
        raise CommandError(f"stage {stage} has no functions to export: `fiso apply` writes the first")
    now = datetime.now(UTC)
    document = spelling.file_of({name: entry.at(now) for name, entry in newest.entries.items()}, newest.rules)
    text = f"# catalog version {newest.version} of stage {stage}\n{yaml_text.written(document)}"
    return Output(document=document, shown=[text.encode()])


def print_schema() -> Output:
    """Print the JSON Schema of catalog files, for editors; it is JSON with and without --json.

    \b
    fiso schema > fiso.schema.json
    # then in the first line of fiso.yaml:
    # yaml-language-server: $schema=fiso.schema.json
    """
    from fiso_cli.catalog import schema

    return Output(document=schema.of_file())


def learnt(where: Stage, store: "CatalogStore") -> None:
    """Bring into the database what the kill switch did past it. What cannot be read now, the keeper still carries
    along with whatever it publishes. A catalog that nobody signed is of code of before, which has no such switch."""
    from fiso.domain.errors import InvalidCatalog, WriteConflict
    from fiso.services.maintenance.publish import learn
    from fiso_cli.catalog.restore import published

    try:
        learned = learn(store, published(where))
    except (CommandError, InvalidCatalog, WriteConflict):
        return
    if learned is not None:
        remark(f"version {learned.version} has what was pinned or unpinned past the database")


def author() -> str:
    """Who a version is written by."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def told(written: "Written", document: "Document", *more: str) -> Output:
    """What a command wrote; a failure when it is not published."""
    published = written.unpublished is None
    stored = f"error: version {written.version} is stored, not published ({written.unpublished})"
    return Output(
        document={**document, "version": written.version, "written": written.is_new, "published": published},
        shown=[f"catalog version {written.version}" + ("" if written.is_new else ": no changes"), *more],
        remarks=[] if published else [f"{stored}: the keeper tries every minute"],
        exit_code=0 if published else FAILED,
    )


def _refuse_losses(planned: "Plan", *, lift_pins: bool, allow_removals: bool) -> None:
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


def _agree(planned: "Plan", *, yes: bool, can_ask: bool) -> None:
    if not planned.changes or yes:
        return
    if not can_ask:
        raise CommandError("there is nobody to ask: pass --yes to write these changes")
    if not typer.confirm(f"Write this over version {planned.based_on}?"):
        raise CommandError("nothing was written")
