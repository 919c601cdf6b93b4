"""What changes within: who may do what, how functions are set, and which libraries they ship."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from fiso_cli.deploy_diff.resources import Change, Weight, label
from fiso_cli.packaging import sbom

_UNSHOWN = re.compile(r"KEY|HASH|SECRET|PASSWORD|TOKEN|URL")
"""Variables whose values are nobody's business, or say nothing."""
SHOWN = 40
SETTINGS = ("MemorySize", "Timeout", "Runtime", "Architectures", "Handler", "Layers", "ReservedConcurrentExecutions",
            "SnapStart", "VpcConfig")  # fmt: skip


def permissions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What each role may after this that it may not now, and the other way round."""
    for name, role in sorted({**before, **after}.items()):
        if role.get("Type") != "AWS::IAM::Role":
            continue
        now, then = _grants(before.get(name)), _grants(after.get(name))
        subject = label(name, role)
        for verb, grants in (("may from now on", then - now), ("may no more", now - then)):
            by_resource: dict[str, list[str]] = defaultdict(list)
            for action, resource in sorted(grants):
                by_resource[resource].append(action)
            for resource, actions in by_resource.items():
                says = f"{verb} {', '.join(actions)} on {resource}"
                yield Change(weight=Weight.PERMISSION, subject=subject, says=says)


def _grants(role: Mapping[str, Any] | None) -> set[tuple[str, str]]:
    """Actions with what they are on, conditions included; what is denied is marked so."""
    found = set()
    for policy in (role or {}).get("Properties", {}).get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            denied = "not " if statement["Effect"] == "Deny" else ""
            on = f" if {said(statement['Condition'])}" if "Condition" in statement else ""
            for action in _several(statement["Action"]):
                for resource in _several(statement["Resource"]):
                    found.add((f"{denied}{action}", f"{said(resource)}{on}"))
    return found


def _several(node: Any) -> list[Any]:
    return node if isinstance(node, list) else [node]


def said(node: Any) -> str:
    """A node of a template in short: `InvocationLog.Arn`, `${Artifacts.Arn}/models/*`."""
    if isinstance(node, Mapping) and len(node) == 1:
        ((kind, of),) = node.items()
        if kind == "Fn::GetAtt":
            return ".".join(of) if isinstance(of, list) else str(of)
        if kind in ("Ref", "Fn::Sub") and isinstance(of, str):
            return of
    return node if isinstance(node, str) else json.dumps(node, sort_keys=True)


def settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What functions that are there before and after are set to."""
    for name in sorted({*before} & {*after}):
        if before[name]["Type"] != "AWS::Lambda::Function" or after[name]["Type"] != "AWS::Lambda::Function":
            continue
        old, new = before[name]["Properties"], after[name]["Properties"]
        subject = label(name, new)
        for key in SETTINGS:
            if old.get(key) != new.get(key):
                says = f"{key} {_short(old, key)} -> {_short(new, key)}"
                yield Change(weight=Weight.SETTING, subject=subject, says=says)
        now, then = (side.get("Environment", {}).get("Variables", {}) for side in (old, new))
        for key in sorted({*now, *then}):
            if (now.get(key) or "") != (then.get(key) or ""):
                says = "changes" if _UNSHOWN.search(key) else f"{_short(now, key)} -> {_short(then, key)}"
                emptied = " (it is emptied)" if now.get(key) and not then.get(key) else ""
                yield Change(weight=Weight.SETTING, subject=subject, says=f"{key} {says}{emptied}")


def _short(holder: Mapping[str, Any], key: str) -> str:
    value = said(holder[key]) if holder.get(key) not in (None, "") else "nothing"
    return value if len(value) <= SHOWN else f"{value[: SHOWN - 3]}..."


def libraries(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """By the bills of both: libraries that come, go or change, and how many of FISO's own files do."""
    for package in sorted({*before} & {*after}):
        old, new = dict(sbom.libraries(before[package])), dict(sbom.libraries(after[package]))
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                says = f"{name} {old.get(name, 'not there')} -> {new.get(name, 'gone')}"
                yield Change(weight=Weight.LIBRARY, subject=f"{package}.zip", says=says)
        now, then = _own(before[package]), _own(after[package])
        if changed := [name for name in {*now, *then} if now.get(name) != then.get(name)]:
            says = f"{len(changed)} files of FISO's own change"
            yield Change(weight=Weight.LIBRARY, subject=f"{package}.zip", says=says)


def _own(bill: Mapping[str, Any]) -> dict[str, str]:
    """FISO's own files with their digests; bytecode follows its source."""
    return {
        file["name"]: file["hashes"][0]["content"]
        for each in bill["components"]
        if each["type"] != "library"
        for file in each["components"]
        if not file["name"].endswith(".pyc")
    }
