"""`fiso alarms`: burn-rate alarms of functions, as the catalog's objectives want them."""

from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.errors import CommandError
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiso.domain.catalog import CatalogEntry
    from fiso_cli.stage import Stage


def alarms(
    *,
    stage: StageOption = "local",
    most: Annotated[int, typer.Option("--most", help="Functions with alarms of their own.", min=0, max=100)] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be made and removed.")] = False,
) -> Output:
    """Make an alarm for each function that promises something, and remove those that are not wanted any more.

    `fiso apply` does the same for the strictest ten. They tell whom the stage's fast-burn tells.

    \b
    fiso alarms --stage prod --dry-run
    fiso alarms --stage prod --most 25
    """
    from fiso_cli.catalog.restore import published
    from fiso_cli.stage import Stage

    where = Stage.named(stage)
    if where.is_local:
        raise CommandError("the local stage's emulator knows no composite alarms: docs/grafana/fiso-rules.yml")
    return reconciled(where, list(published(where).functions.values()), most=most, dry_run=dry_run)


def reconciled(
    where: "Stage", entries: "Sequence[CatalogEntry]", *, most: int | None = None, dry_run: bool = False
) -> Output:
    from fiso_cli.catalog import alarms as burn

    chosen = burn.wanted(entries, burn.MOST if most is None else most)
    with where.wrapped_errors():
        standing = burn.CloudWatchAlarms(where.client("cloudwatch"), where.name)
        actions = standing.actions()
        found = standing.difference(chosen.functions, actions)
        if not dry_run:
            standing.apply(found, actions)
    would = "would be " if dry_run else ""
    shown = [f"alarms of {function} {would}made" for function in found.make]
    shown += [f"alarm {name} {would}removed" for name in found.remove]
    shown.append(f"{len(chosen.functions)} functions have alarms of their own, {chosen.monthly_usd:.2f} USD a month")
    if chosen.left:
        told = ", ".join(chosen.left[:5]) + (", ..." if len(chosen.left) > 5 else "")
        shown.append(f"{len(chosen.left)} have none ({told}): fast-burn and slow-burn watch them; --most makes more")
    if chosen.functions and not actions:
        shown.append(f"they tell nobody, as fiso-{where.name}-fast-burn does (parameter alarmReceivers)")
    document = {
        "functions": [*chosen.functions],
        "left": [*chosen.left],
        "made": [*found.make],
        "removed": [*found.remove],
        "monthly_usd": round(chosen.monthly_usd, 2),
        "written": not dry_run,
    }
    return Output(document=document, shown=shown)
