"""The vendor's own resource types (Azure/bicep-types-az, `types.json` per provider and version), and what of a resource
does not fit them: unknown, missing, read-only and wrongly typed properties, values that are none of an enumeration.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

REQUIRED, READ_ONLY = 1, 2
_ENVELOPE = frozenset({"dependsOn", "scope", "comments", "condition", "copy"})
"""Of a template's resource, and not of the resource's own."""


def folder() -> Path | None:
    """Where the types lie: `PROVIDER/VERSION/types.json` below what `FISO_AZURE_TYPES` names."""
    named = os.environ.get("FISO_AZURE_TYPES", "")
    return Path(named) if named and Path(named).is_dir() else None


@dataclass(frozen=True, slots=True)
class Types:
    """All types of one provider in one version, which refer to one another by number."""

    known: tuple[Mapping[str, Any], ...]

    def at(self, reference: Mapping[str, str]) -> Mapping[str, Any]:
        """The type that `{"$ref": "#/12"}` means."""
        return self.known[int(reference["$ref"].rpartition("/")[2])]

    def resource(self, kind: str, version: str) -> Mapping[str, Any] | None:
        """The body of a resource type."""
        wanted = f"{kind}@{version}".lower()
        for each in self.known:
            if each["$type"] == "ResourceType" and str(each["name"]).lower() == wanted:
                return self.at(each["body"])
        return None


@cache
def load(root: Path, provider: str, version: str) -> Types | None:
    """The types, or None where the folder does not have them."""
    file = root / provider.lower() / version / "types.json"
    return Types(tuple(json.loads(file.read_text(encoding="utf-8")))) if file.is_file() else None


def problems(root: Path, resource: Mapping[str, Any]) -> list[str]:
    """What of a resource (`type`, `apiVersion`, `name` and its body) does not fit; without types that says so."""
    kind, version = str(resource["type"]), str(resource["apiVersion"])
    types = load(root, kind.partition("/")[0], version)
    if types is None:
        return [f"no types of {kind.partition('/')[0]} {version}"]
    body = types.resource(kind, version)
    if body is None:
        return [f"{kind} is not a resource of {version}"]
    given = {name: value for name, value in resource.items() if name not in _ENVELOPE}
    given["name"] = str(given["name"]).rpartition("/")[2]
    return list(_of(types, body, given, kind))


def _of(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    check = _CHECKS.get(str(wanted["$type"]))
    if check is not None:
        yield from check(types, wanted, given, where)


def _object(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{where} is not an object"
        return
    known, more = wanted.get("properties", {}), wanted.get("additionalProperties")
    for name, value in given.items():
        found = known.get(name)
        if found is None:
            if more is None:
                yield f"{where}.{name} is unknown"
            else:
                yield from _of(types, types.at(more), value, f"{where}.{name}")
        elif found["flags"] & READ_ONLY and name not in {"type", "apiVersion", "name"}:
            yield f"{where}.{name} is read-only"
        else:
            yield from _of(types, types.at(found["type"]), value, f"{where}.{name}")
    for name, found in known.items():
        if found["flags"] & REQUIRED and name not in given:
            yield f"{where}.{name} is missing"


def _one_of_kinds(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    by = str(wanted["discriminator"])
    found = wanted["elements"].get(given.get(by)) if isinstance(given, Mapping) else None
    if found is None:
        yield f"{where}.{by} is none of {', '.join(wanted['elements'])}"
        return
    element = types.at(found)
    known = {**wanted.get("baseProperties", {}), **element.get("properties", {})}
    yield from _object(types, {**element, "properties": known}, given, where)


def _array(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, list):
        yield f"{where} is not a list"
        return
    for number, each in enumerate(given):
        yield from _of(types, types.at(wanted["itemType"]), each, f"{where}[{number}]")


def _union(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    """An enumeration that also takes any text is checked against its names alone: FISO uses no unknown ones."""
    choices = [types.at(each) for each in wanted["elements"]]
    literals = [str(each["value"]) for each in choices if each["$type"] == "StringLiteralType"]
    if literals:
        if given not in literals:
            yield f"{where} is {given!r}, none of {', '.join(literals)}"
    elif all(list(_of(types, each, given, where)) for each in choices):
        yield f"{where} is of none of its types"


def _string(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, str):
        yield f"{where} is not text"
        return
    length, pattern = len(given), wanted.get("pattern")
    if not wanted.get("minLength", 0) <= length <= wanted.get("maxLength", length):
        yield f"{where} is {length} characters long"
    if pattern and not re.search(pattern, given):
        yield f"{where} does not match {pattern}"


def _integer(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, int) or isinstance(given, bool):
        yield f"{where} is not a whole number"
    elif not wanted.get("minValue", given) <= given <= wanted.get("maxValue", given):
        yield f"{where} is {given}"


def _boolean(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, bool):
        yield f"{where} is not true or false"


def _literal(types: Types, wanted: Mapping[str, Any], given: Any, where: str) -> Iterator[str]:
    if str(given).lower() != str(wanted["value"]).lower():
        yield f"{where} is {given!r}, not {wanted['value']!r}"


_CHECKS = {
    "ObjectType": _object,
    "DiscriminatedObjectType": _one_of_kinds,
    "ArrayType": _array,
    "UnionType": _union,
    "StringType": _string,
    "StringLiteralType": _literal,
    "IntegerType": _integer,
    "BooleanType": _boolean,
}
