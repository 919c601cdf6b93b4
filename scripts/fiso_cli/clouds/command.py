"""What `fiso deploy` does on each cloud alike: the plan, a yes, what is made and what goes, and the addresses into and
out of `fiso.yaml`. Imports no cloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from fiso_cli.clouds import catalog_file
from fiso_cli.clouds.plan import Done, Planned, Say, agreed, going, shown, told, words_of
from fiso_cli.errors import CommandError
from fiso_cli.rendering import Output, Table, remark, show

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
    planned, surplus = run.planned(), _surplus(run)
    planned += run.surplus(surplus) if surplus else []
    if way.is_plan:
        output = told(run.title, planned, None, **more)
        return Output(document=output.document, shown=[*(output.shown or ()), *tables])
    if not way.as_json:
        show(*tables, shown(planned, run.title))
    count = sum(map(len, surplus.values()))
    copies = "1 copy" if count == 1 else f"{count} copies"
    question = f"Make it so, and remove {copies}?" if count else "Make it so?"
    if not agreed(question, is_sure=way.is_sure, as_json=way.as_json):
        raise CommandError("nothing was made")
    done = run.apply(remark, surplus)
    endpoints = run.endpoints()
    taken = catalog_file.take_out(way.file, surplus)
    written = catalog_file.write(way.file, endpoints)
    output = told(run.title, planned, done, **more, endpoints=endpoints, file=str(way.file))
    return Output(document=output.document, shown=[*words_of(output), *taken, *written, f"next: {way.following}"])


def _surplus(run: Deployment) -> dict[str, list[str]]:
    """Of the functions that are asked for, the copies that are there and not asked for: other regions and sizes."""
    asked = run.asked()
    found = {
        name: [each for each in ids if each not in asked[name]] for name, ids in run.copies().items() if name in asked
    }
    return {name: ids for name, ids in found.items() if ids}


def destroyed(run: Deployment, way: Way, whose: str) -> Output:
    """By tags alone: folders and regions are not asked for. The endpoints go out of the file as well."""
    planned = going(run.remains())
    if not planned:
        return Output(document={"plan": []}, shown=[f"{whose} has nothing on {run.cloud}"])
    if way.is_plan:
        return told(run.title, planned, None)
    if not way.as_json:
        show(shown(planned, run.title))
    if not agreed("Remove all of it?", is_sure=way.is_sure, as_json=way.as_json):
        raise CommandError("nothing was removed")
    copies = run.copies()
    said = told(run.title, planned, run.remove(remark))
    return Output(document=said.document, shown=[*words_of(said), *catalog_file.take_out(way.file, copies)])
