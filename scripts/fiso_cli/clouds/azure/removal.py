"""Removal: what carries a stage's tags on Azure, and nothing else, undone backwards. It reads the cloud alone: what was
deployed, from which folder and by whom, nobody needs to know any more.
"""

from collections.abc import Collection
from contextlib import suppress

from fiso_cli.clouds.azure.arm import Absent, Arm, Busy, Document
from fiso_cli.clouds.azure.names import DEPLOYMENT_TAG, SHARED, STAGE_TAG, Group, is_ours
from fiso_cli.clouds.azure.steps import (
    DEPLOYMENTS,
    GROUPS,
    INSIGHTS,
    ROLES,
    STORAGE,
    WEB,
    WORKSPACES,
    assignments,
    while_busy,
)
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, not_ours
from fiso_cli.errors import CommandError


def leftovers(
    arm: Arm, group: Group, functions: Collection[str] = (), endpoints: Collection[str] | None = None
) -> list[Step]:
    """What carries the stage's tags, as steps to undo: shared things first, since undoing goes backwards. Of some
    functions only their own things; of some copies, named as their tags name them, theirs alone."""
    found = _ours(arm, group)
    found.sort(key=lambda each: (each["tags"][DEPLOYMENT_TAG] != SHARED, _DEPTH.get(_kind(each), 1)))
    if endpoints is not None:
        return [_thing(arm, group, each) for each in found if each["tags"][DEPLOYMENT_TAG] in endpoints]
    if functions:
        return [_thing(arm, group, each) for each in found if _function(each) in functions]
    return [_whole_group(arm, group), *(_thing(arm, group, each) for each in found)]


def of_deployment(arm: Arm, group: Group, deployment: str) -> list[Step]:
    """What carries the stage's tags with that deployment's."""
    return [_thing(arm, group, each) for each in _ours(arm, group) if each["tags"][DEPLOYMENT_TAG] == deployment]


def end_deployments(arm: Arm, group: Group) -> None:
    """Cancel what a killed run has begun: it would go on making things behind the removal."""
    path = f"{group.id}/providers/Microsoft.Resources/deployments"
    try:
        listed = list(arm.listed(f"{path}/", DEPLOYMENTS))
    except Absent:
        return
    for each in listed:
        name, properties = str(each["name"]), each.get("properties", {})
        if name.startswith("fiso-") and properties.get("provisioningState") in {"Accepted", "Running"}:
            with suppress(Busy, Absent):  # it has come to its end meanwhile
                arm.call("POST", f"{path}/{name}/cancel", DEPLOYMENTS)


def _function(found: Document) -> str:
    """Whose it is: the tag says `FUNCTION.ENDPOINT`."""
    name, dot, _ = str(found["tags"][DEPLOYMENT_TAG]).partition(".")
    return name if dot else ""


def copies(arm: Arm, group: Group, functions: Collection[str] = ()) -> dict[str, list[str]]:
    """The functions that are deployed, each with the ids of its endpoints."""
    found: dict[str, list[str]] = {}
    for each in _ours(arm, group):
        function = _function(each)
        if function and _kind(each) == "microsoft.web/sites" and (not functions or function in functions):
            found.setdefault(function, []).append(str(each["tags"][DEPLOYMENT_TAG]).partition(".")[2])
    return found


def _ours(arm: Arm, group: Group) -> list[Document]:
    query = f"$filter=tagName eq '{STAGE_TAG}' and tagValue eq '{group.stage}'"
    return [each for each in arm.listed(f"{arm.scope}/resources?{query}", GROUPS) if _is_ours(each, group)]


_DEPTH = {
    "microsoft.storage/storageaccounts": 0,
    "microsoft.operationalinsights/workspaces": 0,
    "microsoft.web/sites": 9,
}
_VERSIONS = {
    "microsoft.web/sites": WEB,
    "microsoft.web/serverfarms": WEB,
    "microsoft.storage/storageaccounts": STORAGE,
    "microsoft.operationalinsights/workspaces": WORKSPACES,
    "microsoft.insights/components": INSIGHTS,
    "microsoft.insights/datacollectionrules": "2023-03-11",
    "microsoft.insights/scheduledqueryrules": "2021-08-01",
    "microsoft.insights/actiongroups": "2023-01-01",
    "microsoft.insights/workbooks": "2023-06-01",
    "microsoft.managedidentity/userassignedidentities": "2024-11-30",
}


def _is_ours(found: Document, group: Group) -> bool:
    """Ours are in the stage's group, of our kinds, and carry both tags; what else is tagged like one of them stays."""
    is_there = str(found["id"]).lower().startswith(f"{group.id}/".lower())
    tags = found.get("tags") or {}
    return is_there and tags.get(STAGE_TAG) == group.stage and DEPLOYMENT_TAG in tags and _kind(found) in _VERSIONS


def _kind(found: Document) -> str:
    return str(found["type"]).lower()


def _thing(arm: Arm, group: Group, found: Document) -> Step:
    path, kind = str(found["id"]), str(found["type"]).lower()
    version = _VERSIONS[kind]
    # a workspace's name stays taken for two weeks unless it is deleted for good; a plan would go with its last app
    option = (
        "?force=true"
        if kind.endswith("/workspaces")
        else "?deleteEmptyServerFarm=false"
        if kind.endswith("/sites")
        else ""
    )

    def look() -> Look:
        now = arm.find(path, version)
        if now is None:
            return ABSENT
        tags = now.get("tags") or {}
        is_still = tags.get(STAGE_TAG) == group.stage and DEPLOYMENT_TAG in tags
        return AS_WANTED if is_still else not_ours("its tags were taken away")

    def undo(say: Say) -> None:
        for assignment in assignments(arm, path) if kind.endswith(("/storageaccounts", "/datacollectionrules")) else ():
            arm.call("DELETE", str(assignment["id"]), ROLES)
        while_busy(arm, say, lambda: _gone(arm, path + option, version))

    return Step(name=f"{kind.rpartition('/')[2]} {found['name']}", makes="", look=look, make=_never, undo=undo)


def _gone(arm: Arm, path: str, version: str) -> None:
    try:
        arm.call("DELETE", path, version)
    except Absent:
        return


def _whole_group(arm: Arm, group: Group) -> Step:
    """The group goes last, and only where it is ours and nobody's thing is in it."""

    def look() -> Look:
        found = arm.find(group.id, GROUPS)
        if found is None:
            return ABSENT
        if not is_ours(found.get("tags"), group.tags()):
            return not_ours("the resource group is not tagged as this stage's")
        inside = arm.listed(f"{group.id}/resources", GROUPS)
        others = [str(each["name"]) for each in inside if not (_is_ours(each, group) or _is_azures(each, group))]
        return not_ours(f"it holds {others[0]}") if others else AS_WANTED

    def undo(say: Say) -> None:
        while_busy(arm, say, lambda: _gone(arm, group.id, GROUPS))

    return Step(name=f"group {group.name}", makes="", look=look, make=_never, undo=undo, is_slow=True)


def _is_azures(found: Document, group: Group) -> bool:
    """What Azure puts beside Application Insights by itself, untagged: an alert of failures and whom it tells."""
    return (str(found["type"]).lower(), str(found["name"]).lower()) in {
        ("microsoft.alertsmanagement/smartdetectoralertrules", f"failure anomalies - {group.insights}"),
        ("microsoft.insights/actiongroups", "application insights smart detection"),
    }


def _never(say: Say) -> None:
    raise CommandError("only ever undone")
