"""What `fiso deploy` does on each cloud alike: the plan, a yes, what is made and what goes, and the addresses into and
out of `fiso.yaml`. Imports no cloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from fiso_cli.clouds import catalog_file
from fiso_cli.clouds.plan import Done, Planned, Say, agreed, shown, told
from fiso_cli.errors import CommandError
from fiso_cli.rendering import Output, Table, remark, show, text

Endpoints: TypeAlias = Mapping[str, Sequence[str]]
"""Ids of endpoints, by function."""
NONE: Endpoints = {}


class Deployment(Protocol):
    """One run on one cloud. All of it may be repeated, and killed anywhere."""

    @property
    def cloud(self) -> str:
        """In words, as in `AWS`."""

    @property
    def title(self) -> str:
        """Of the plan: the stage and the account."""

    def planned(self) -> list[Planned]:
        """How everything is that is asked for. `CommandError` where something stands in the way that is not ours."""

    def asked(self) -> Endpoints:
        """The endpoints' ids of the copies that are asked for, by function."""

    def surplus(self, going: Endpoints) -> list[Planned]:
        """What there is of copies that are asked for no more, each of them going."""

    def apply(self, say: Say, going: Endpoints = NONE) -> Done:
        """Make what is missing, then remove what goes, under the stage's lock."""

    def endpoints(self) -> Mapping[str, Sequence[catalog_file.Made]]:
        """The copies of each function as a catalog has them."""

    def copies(self) -> Endpoints:
        """The endpoints' ids of all copies that are there, by function: of those named, or of all."""

    def remains(self) -> list[Planned]:
        """What there is to remove: of the functions that are named, or all of the stage."""

    def remove(self, say: Say) -> Done:
        """Remove it, under the stage's lock while there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the command goes about it. `following` is what is to be typed next."""

    file: Path
    is_plan: bool
    is_sure: bool
    as_json: bool
    following: str = ""


def deployed(run: Deployment, way: Way, *, more: Mapping[str, object], tables: Sequence[Table | str] = ()) -> Output:
    """Plan, yes, apply, and the file. `more` goes into the document, `tables` are shown beside the plan."""
    planned, going = run.planned(), _going(run)
    planned += run.surplus(going) if going else []
    if way.is_plan:
        output = told(run.title, planned, None, **more)
        return Output(document=output.document, shown=[*(output.shown or ()), *tables])
    if not way.as_json:
        show(*tables, shown(planned, run.title))
    count = sum(map(len, going.values()))
    copies = "1 copy" if count == 1 else f"{count} copies"
    question = f"Make it so, and remove {copies}?" if count else "Make it so?"
    if not agreed(question, is_sure=way.is_sure, as_json=way.as_json):
        raise CommandError("nothing was made")
    done = run.apply(remark, going)
    endpoints = run.endpoints()
    taken = catalog_file.take_out(way.file, going)
    written = catalog_file.write(way.file, endpoints)
    output = told(run.title, planned, done, **more, endpoints=endpoints, file=str(way.file))
    counted = [part for part in output.shown or () if isinstance(part, str)]
    return Output(document=output.document, shown=[*counted, *taken, *written, f"next: {way.following}"])


def _going(run: Deployment) -> dict[str, list[str]]:
    """Of the functions that are asked for, the copies that are there and not asked for: other regions and sizes."""
    asked = run.asked()
    found = {
        name: [each for each in ids if each not in asked[name]] for name, ids in run.copies().items() if name in asked
    }
    return {name: ids for name, ids in found.items() if ids}


def destroyed(run: Deployment, way: Way, whose: str) -> Output:
    """By tags alone: folders and regions are not asked for. The endpoints go out of the file as well."""
    found = run.remains()
    rows = [{"name": each.step.name, "what": _removal(each)} for each in reversed(found)]
    if not rows:
        return Output(document={"plan": []}, shown=[f"{whose} has nothing on {run.cloud}"])
    table = Table(title=f"to remove: {run.title}", columns=(text("name"), text("what")), rows=rows)
    if way.is_plan:
        return Output(document={"plan": rows}, shown=[table])
    if not way.as_json:
        show(table)
    if not agreed("Remove all of it?", is_sure=way.is_sure, as_json=way.as_json):
        raise CommandError("nothing was removed")
    copies = run.copies()
    done = run.remove(remark)
    left = [f"left, as it is not this stage's alone: {', '.join(done.left)}"] if done.left else []
    document: dict[str, object] = {"plan": rows, "done": done.document}
    taken = catalog_file.take_out(way.file, copies)
    return Output(document=document, shown=[f"{len(done.removed)} removed", *left, *taken])


def _removal(each: Planned) -> str:
    return each.step.makes or "remove" if each.does == "keep" else f"leave: {each.found.why or each.found.state}"
