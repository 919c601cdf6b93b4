"""`fiso deploy-diff`: two build folders, or a build folder and what is deployed, compared in words."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.errors import BadInput
from fiso_cli.options import stages_here
from fiso_cli.rendering import Output, width_of

if TYPE_CHECKING:
    from fiso_cli.deploy_diff.resources import Change

AT_RISK = 3
WIDTH = 80
TITLES = ("Data at risk", "Replaced or deleted", "Permissions", "Settings of functions", "Packages", "Other resources")
BUILT = Path("build")


def deploy_diff(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Two build folders, the older first. Without: --stage.")
    ] = None,
    stage: Annotated[
        str, typer.Option(help="Compare build/STAGE with what is deployed there.", autocompletion=stages_here)
    ] = "",
) -> Output:
    """What a deployment will change, in words, before it does: data at risk first, then what is replaced or deleted,
    permissions, settings, libraries. Changes nothing.

    Exits with 3 when data is at risk, so that a pipeline stops there.

    \b
    make package STAGE=prod && fiso deploy-diff --stage prod
    fiso deploy-diff build/prod-before build/prod
    """
    from fiso_cli.deploy_diff import contents, resources, sides
    from fiso_cli.stage import DEFAULT_REGION, Stage

    region = DEFAULT_REGION
    if folders and stage:
        raise BadInput("give two folders or --stage, not both")
    if stage:
        chosen = Stage.named(stage)
        after = sides.of_folder(BUILT / stage)
        before, region = sides.of_stage(chosen), chosen.region
    elif folders and len(folders) == 2:
        before, after = (sides.of_folder(folder) for folder in folders)
    else:
        raise BadInput("give two build folders, or --stage for what is deployed")
    found = [
        *resources.changes(before.resources, after.resources, region),
        *contents.permissions(before.resources, after.resources),
        *contents.settings(before.resources, after.resources),
        *contents.libraries(before.bills, after.bills),
    ]
    found.sort(key=lambda change: (change.weight, change.subject))
    is_risky = any(change.weight is resources.Weight.RISK for change in found)
    remarks = ["a deployed stack says nothing of libraries: compare folders"] if stage and before.resources else []
    rows = [{**asdict(change), "weight": change.weight.name.lower()} for change in found]
    document = {"from": before.name, "to": after.name, "is_data_at_risk": is_risky, "changes": rows}
    shown = list(_lines(found, before.name, after.name, min(WIDTH, width_of(sys.stdout))))
    return Output(document=document, shown=shown, remarks=remarks, exit_code=AT_RISK if is_risky else 0)


def _lines(found: "Sequence[Change]", before: str, after: str, width: int) -> Iterator[str]:
    yield textwrap.fill(f"from {before} to {after}", width)
    if not found:
        yield "nothing changes"
    last = None
    for change in found:
        if change.weight != last:
            last = change.weight
            yield f"\n{TITLES[last]}"
        yield textwrap.fill(f"{change.subject} {change.says}", width, initial_indent="  ", subsequent_indent="    ")
