"""Resources that come, go, are replaced or change. Which change replaces a resource is AWS's own word, in its resource
schemas (`createOnlyProperties`), as cfn-lint carries them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

from fiso_cli.doctor.site import listed

HOLD_DATA = {
    "AWS::DynamoDB::Table": "its items",
    "AWS::KMS::Key": "what it signed can be signed no more",
    "AWS::Logs::LogGroup": "its lines",
    "AWS::S3::Bucket": "its objects",
}
NAMES = tuple(
    f"{kind}Name" for kind in ("Table", "Bucket", "Role", "Function", "LogGroup", "Alarm", "Dashboard", "Topic")
)
KEPT = ("Retain", "RetainExceptOnCreate")
NOISE = re.compile(r"^(Code/S3Key|Code/S3Bucket|Content/S3Key|Content/S3Bucket|Description)$")
"""What differs in each deployment, and says nothing."""
PASSING = re.compile(r"Lambda(Version|Function)?[A-Za-z0-9]{43}$|^ApiGatewayDeployment\d+|^ServerlessDeployment")
"""Logical names that are new in each deployment: a version's has the code's digest."""
WEAKER: Mapping[str, tuple[str, str]] = {
    "DeletionProtectionEnabled": ("false", "it can be deleted by one command"),
    "PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled": ("false", "its point-in-time copies are deleted"),
    "VersioningConfiguration/Status": ("suspended", "what is overwritten is gone"),
    "StreamSpecification": ("none", "what is not consumed yet is lost"),
    "StreamSpecification/StreamViewType": ("", "the stream is a new one: what is not consumed yet is lost"),
    "TimeToLiveSpecification/AttributeName": ("", "items expire by another attribute"),
}


class Weight(IntEnum):
    """In the order in which changes are told."""

    RISK = 0
    REPLACED = 1
    PERMISSION = 2
    SETTING = 3
    LIBRARY = 4
    OTHER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, in words."""

    weight: Weight
    subject: str
    says: str


def changes(before: Mapping[str, Any], after: Mapping[str, Any], region: str) -> Iterator[Change]:
    """What becomes of each resource, but for what `contents` tells of roles and functions."""
    for name in sorted({*before, *after}):
        if PASSING.search(name):
            continue
        old, new = before.get(name), after.get(name)
        if old is None:
            yield Change(weight=Weight.OTHER, subject=label(name, new), says="new")
        elif new is None:
            yield _removed(name, old)
        elif old["Type"] != new["Type"]:
            yield Change(weight=Weight.RISK, subject=label(name, old), says=f"becomes a {kind_of(new)}: it is deleted")
        else:
            yield from _changed(name, old, new, region)


def label(name: str, resource: Mapping[str, Any] | None) -> str:
    """`InvocationLog (table fiso-invocation-logs-prod)`."""
    properties = (resource or {}).get("Properties", {})
    own = next((properties[key] for key in NAMES if isinstance(properties.get(key), str)), "")
    return f"{name} ({kind_of(resource or {})}{' ' + own if own else ''})"


def kind_of(resource: Mapping[str, Any]) -> str:
    """The last word of a type."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(resource.get("Type", "")).rpartition("::")[2]).lower()


def _removed(name: str, old: Mapping[str, Any]) -> Change:
    held = HOLD_DATA.get(old["Type"])
    if held is None:
        return Change(weight=Weight.REPLACED, subject=label(name, old), says="is deleted")
    if old.get("DeletionPolicy") in KEPT:
        says = "leaves the stack and stays: a later deployment of that name fails until it is imported or deleted"
        return Change(weight=Weight.REPLACED, subject=label(name, old), says=says)
    return Change(weight=Weight.RISK, subject=label(name, old), says=f"is deleted with {held}")


def _changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any], region: str) -> Iterator[Change]:
    paths = [path for path in differing(old.get("Properties", {}), new.get("Properties", {})) if not NOISE.search(path)]
    subject = label(name, old)
    always, sometimes = _replacing(old["Type"], region)
    replaced = [path for path in paths if _is_of(path, always) or _is_key_attribute(path, old, new)]
    doubtful = [path for path in paths if _is_of(path, sometimes)]
    if replaced or doubtful:
        yield _replaced(subject, old, new, replaced or doubtful, is_sure=bool(replaced))
    yield from _weaker(subject, old, new, paths)
    if old.get("DeletionPolicy") in KEPT and new.get("DeletionPolicy") not in KEPT and old["Type"] in HOLD_DATA:
        yield Change(weight=Weight.RISK, subject=subject, says="from now on it is deleted with the stack")
    told = {*replaced, *doubtful}
    rest = [path for path in paths if path not in told and not _is_told_elsewhere(old["Type"], path)]
    if rest:
        shown = listed([path.replace("/", ".") for path in rest])
        yield Change(weight=Weight.OTHER, subject=subject, says=f"changes in {shown}")


def _is_key_attribute(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """A table whose key is of another type is another table; the schemas say nothing of it."""
    if path != "AttributeDefinitions" or old["Type"] != "AWS::DynamoDB::Table":
        return False
    before, now = (
        {each["AttributeName"]: each["AttributeType"] for each in side["Properties"]["AttributeDefinitions"]}
        for side in (old, new)
    )
    return any(before[key["AttributeName"]] != now.get(key["AttributeName"]) for key in old["Properties"]["KeySchema"])


def _is_told_elsewhere(kind: str, path: str) -> bool:
    return kind == "AWS::Lambda::Function" or (kind == "AWS::IAM::Role" and path.startswith("Policies"))


def _replaced(
    subject: str, old: Mapping[str, Any], new: Mapping[str, Any], paths: list[str], *, is_sure: bool
) -> Change:
    because = f"{'is' if is_sure else 'may be'} replaced, because {', '.join(paths).replace('/', '.')} changes"
    named = [key for key in NAMES if key in new.get("Properties", {}) and key not in paths]
    if named and is_sure:
        because += f"; CloudFormation refuses that while {named[0]} stays the same"
    held = HOLD_DATA.get(old["Type"])
    if held is None:
        return Change(weight=Weight.REPLACED, subject=subject, says=because)
    kept = new.get("UpdateReplacePolicy") in KEPT
    fate = "the old one stays beside it, and the new one is empty" if kept else f"the old one is deleted with {held}"
    return Change(weight=Weight.RISK, subject=subject, says=f"{because}: {fate}")


def _weaker(subject: str, old: Mapping[str, Any], new: Mapping[str, Any], paths: list[str]) -> Iterator[Change]:
    for path in paths:
        if path in WEAKER:
            value, says = WEAKER[path]
            now = str(_at(new.get("Properties", {}), path)).lower()
            if not value or now in (value, "none"):
                yield Change(weight=Weight.RISK, subject=subject, says=says)
        elif path == "RetentionInDays" and _shrinks(old, new):
            days = _at(new["Properties"], path)
            yield Change(weight=Weight.RISK, subject=subject, says=f"lines older than {days} days are deleted")
        elif path.startswith("LifecycleConfiguration"):
            yield Change(weight=Weight.RISK, subject=subject, says="its objects expire by other rules")


def _shrinks(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    before, now = (_at(side.get("Properties", {}), "RetentionInDays") for side in (old, new))
    return isinstance(now, int) and (not isinstance(before, int) or now < before)


def _at(node: Any, path: str) -> Any:
    for part in path.split("/"):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def differing(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The paths at which two values differ. Lists are values: their order may count."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and not _is_intrinsic(old) and not _is_intrinsic(new):
        for name in sorted({*old, *new}):
            yield from differing(old.get(name), new.get(name), f"{path}/{name}" if path else name)
    elif old != new:
        yield path


def _is_intrinsic(node: Mapping[str, Any]) -> bool:
    return len(node) == 1 and next(iter(node)).startswith(("Ref", "Fn::"))


@cache
def _replacing(kind: str, region: str) -> tuple[frozenset[str], frozenset[str]]:
    """The properties whose change replaces a resource of a type, and those whose change may."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    try:
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, kind).schema
    except Exception:  # noqa: BLE001 - the library has no narrower word for a type that it does not know
        return frozenset(), frozenset()
    keys = ("createOnlyProperties", "conditionalCreateOnlyProperties")
    always, sometimes = (frozenset(path.removeprefix("/properties/") for path in schema.get(key, ())) for key in keys)
    return always, sometimes - always


def _is_of(path: str, properties: frozenset[str]) -> bool:
    """Whether a path is one of these, within one, or around one."""
    return any(path == each or path.startswith(f"{each}/") or each.startswith(f"{path}/") for each in properties)
