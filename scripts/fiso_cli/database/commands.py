"""`fiso db migrate | copy | verify | cutover`."""

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, remark
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso_cli.database.copying import Database

OLD, NEW = "FISO_DATABASE_URL", "FISO_NEW_DATABASE_URL"

TargetOption: TypeAlias = Annotated[
    str, typer.Option("--to-env", help="The environment variable that holds the other database's URL.")
]


def migrate(
    *,
    stage: StageOption = "local",
    plan: Annotated[bool, typer.Option("--plan", help="Say what is missing and change nothing.")] = False,
) -> Output:
    """Bring the catalog's database to this version's tables. Safe to repeat, and for several at once.

    \b
    fiso db migrate --stage prod --plan
    fiso db migrate --stage prod
    """
    from fiso_cli.migrations import runner

    where = Stage.named(stage)
    found = runner.pending(where.connect) if plan else runner.migrate(where.connect)
    names = [migration.name for migration in found]
    what = "missing" if plan else "applied"
    return Output(document={what: names}, shown=[f"{what}: {', '.join(names) or 'nothing'}"])


def copy(
    *,
    stage: StageOption = "local",
    to_env: TargetOption = NEW,
    again: Annotated[bool, typer.Option("--again", help="Empty an earlier copy and begin from the start.")] = False,
) -> Output:
    """Copy the catalog from FISO_DATABASE_URL to another PostgreSQL, with all its history, while changes go on.

    Repeated, it carries over what is newer. Each run ends with counts and checksums of every table on both sides. The
    copy takes no changes before `fiso db cutover`. It needs pg_dump and psql of the source's version or newer.

    \b
    export FISO_NEW_DATABASE_URL=postgresql://fiso:…@new-host/fiso
    fiso db copy --stage prod
    """
    from fiso_cli.database import copying, cutover, fence

    where = Stage.named(stage)
    source, target = _two(where, to_env)
    begun = time.monotonic()
    copying.refuse_unlike(source, target)
    copying.refuse_older(source, target)
    here, there = cutover.standing(source), cutover.standing(target)
    if here.standing is not fence.Standing.IN_FORCE:
        raise CommandError(f"{source.shown} is not in force ({here.standing} {here.peer}): there is nothing to copy")
    if there.standing in (fence.Standing.IN_FORCE, fence.Standing.MOVED) and (again or there.peer != source.shown):
        raise CommandError(f"{target.shown} has a catalog of its own: copy into an empty database")
    if again:
        remark(f"emptying {target.shown}")
        copying.drop(target)
        there = fence.Fence(standing=fence.Standing.EMPTY)
    if there.standing is fence.Standing.EMPTY:
        remark(f"copying {source.shown} to {target.shown} …")
        copying.copy_whole(source, target)
    came = copying.follow(source, target)
    return _told(source, target, seconds=time.monotonic() - begun, newer=came)


def verify(*, stage: StageOption = "local", to_env: TargetOption = NEW) -> Output:
    """Compare counts and checksums of every table of both databases, and change nothing. Exits with 1 if they differ.

    Versions that only one of them has yet are left out, and counted.

    \b
    fiso db verify --stage prod
    """
    source, target = _two(Stage.named(stage), to_env)
    return _told(source, target)


def cutover(
    *,
    stage: StageOption = "local",
    to_env: TargetOption = NEW,
    back: Annotated[bool, typer.Option("--back", help="The other way: from the new one to the old one.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Open the source again after a cutover that failed.")] = False,
    yes: YesOption = False,
) -> Output:
    """Make the copy the catalog's database, without losing a change: the old one refuses all from then on.

    Whoever writes to the old one is told where it moved, whatever version of FISO it uses. Then the keeper's role and
    secret are made anew for the new one. Requests are routed all the time. Interrupted, the same command goes on. After
    it, let FISO_DATABASE_URL lead to the new one wherever you set it.

    \b
    fiso db cutover --stage prod
    fiso db cutover --stage prod --back
    """
    from fiso_cli.database import copying
    from fiso_cli.database import cutover as steps

    where = Stage.named(stage)
    source, target = _two(where, to_env)
    if back:
        source, target = target, source
    copying.refuse_unlike(source, target)
    if undo:
        steps.undo(source, target)
        return Output(document={"in_force": source.shown}, shown=[f"{source.shown} takes changes"])
    if not yes:
        typer.confirm(f"Cut over from {source.shown} to {target.shown}?", abort=True)
    done = steps.cut_over(source, target, remark)
    document: dict[str, Any] = {"in_force": target.shown, "moved_from": source.shown}
    shown = [f"{target.shown} is in force already"]
    if done is not None:
        document |= {"carried": done.carried, "refused_s": round(done.refused_s, 3), "version": done.version}
        shown = [
            f"{target.shown} is in force at version {done.version}; changes were refused for {done.refused_s:.1f} s"
        ]
    keeper = _keeper_follows(where, target)
    document["keeper"] = keeper
    shown += [keeper, f"next: let {OLD} lead to {target.shown} wherever it is set; the way back: cutover --back"]
    return Output(document=document, shown=shown)


def _two(where: Stage, to_env: str) -> "tuple[Database, Database]":
    url = where.environ.get(to_env, os.environ.get(to_env, "")).strip()
    if not url:
        raise BadInput(f"{to_env} is not set: it names the other database, postgresql://user:password@host/name")
    return _database(where, OLD, where.database_url), _database(where, to_env, where.read_url(url))


def _database(where: Stage, name: str, url: str) -> "Database":
    from fiso.adapters.postgres.catalog import connect_from_url
    from fiso_cli.database.copying import Database

    with where.wrapped_errors():
        return Database(name=name, url=url, connect=connect_from_url(url, is_local=where.is_local))


def _told(source: "Database", target: "Database", *, seconds: float | None = None, newer: int = 0) -> Output:
    from fiso_cli.database import copying

    with source.transaction(is_snapshot=True) as here, target.transaction(is_snapshot=True) as there:
        both = min(copying.newest(here), copying.newest(there))
        ahead = abs(copying.newest(here) - copying.newest(there))
        ours, theirs = copying.sums(here, until=both), copying.sums(there, until=both)
    found = copying.differences(ours, theirs)
    rows = sum(each.rows for each in ours.values())
    document: dict[str, Any] = {
        "from": source.shown,
        "to": target.shown,
        "version": both,
        "ahead": ahead,
        "rows": rows,
        "tables": {table: {"rows": each.rows, "checksum": each.checksum} for table, each in ours.items()},
        "differences": list(found),
    }
    same = f"version {both}: {rows} rows in {len(ours)} tables, the same in both"
    shown = [*found] or [same + (f"; {ahead} versions in one alone" if ahead else "")]
    if seconds is not None:
        document |= {"seconds": round(seconds, 2), "carried": newer}
        shown.append(f"copied in {seconds:.1f} s; it is no catalog of its own before `fiso db cutover`")
    return Output(document=document, shown=shown, exit_code=1 if found else 0)


def _keeper_follows(where: Stage, target: "Database") -> str:
    """The keeper's role and secret at the new one, and its word that it reads it."""
    if where.local is not None:
        return "the local cloud's keeper stays with its own database"
    from fiso.domain.errors import StoreError
    from fiso_cli import keeper_database

    moved = replace(where, environ={**where.environ, OLD: target.url})
    secret = keeper_database.renewed(moved)
    try:
        with moved.wrapped_errors():
            version = moved.publish()
    except (CommandError, StoreError) as error:
        return f"the keeper's secret {secret} leads there; it did not publish yet: {str(error).splitlines()[0]}"
    return f"the keeper reads it: version {version} is published"
