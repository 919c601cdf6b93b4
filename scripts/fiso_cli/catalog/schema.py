"""The JSON Schema of `fiso.yaml`, made from the domain's types: editors, `fiso check` and `fiso apply` go by it.

What a file writes otherwise than the types have it (allow and deny, a pin, conditions cut short) is said here; how it
is then read is in `spelling`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from math import inf
from typing import Annotated, get_args, get_origin

from fiso.codecs.typed import Document, Json
from fiso.domain import identity
from fiso.domain.endpoint import Endpoint, EndpointId, Provider, Region
from fiso.domain.fields import NAME, AtMost, Means, Spelled, Within, hints_of
from fiso.domain.policy import Idempotent, Policy, Weights
from fiso.domain.stage_rules import StageRules, TenantQuotas
from fiso.domain.strategy import RANGES, SEVERAL, CandidateField, Field, Operator, RequestField, Strategy, operators_of
from fiso.domain.terms import Terms
from fiso_cli.catalog.spelling import PRESETS

_MODE = Spelled(f"^(route|observe|pin:{NAME.pattern[1:-1]})$", "must be route, observe or pin:<endpoint>")
_PLAIN: Mapping[object, Document] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
}


def of_file() -> Document:
    """The whole file."""
    policy: Document = {"$ref": "#/definitions/policy"}
    function = {
        "type": _of(Annotated[str, NAME]),
        "endpoints": _list(_object(Endpoint), least=1),
        "policy": policy,
        "prices": _object(Terms),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "fiso.yaml: functions, their endpoints and their policies",
        **_closed(
            {
                "version": {"const": 1},
                "quotas": _object(TenantQuotas),
                "hosts": _of(hints_of(StageRules)["hosts"]),
                "identities": _closed({name: {"type": "string"} for name in identity.NAMES}),
                "defaults": _closed({"policy": policy, "prices": _object(Terms)}),
                "functions": {
                    "type": ["object", "null"],
                    "propertyNames": _of(Annotated[str, NAME]),
                    "additionalProperties": _closed(function, required=["type", "endpoints"]),
                },
            },
            required=["version", "functions"],
        ),
        "definitions": {"policy": _closed(policy_keys()), "strategy": _strategy()},
    }


def policy_keys() -> dict[str, Document]:
    """What may be said of each key of a policy in a file."""
    keys: dict[str, Document] = {}
    for name, hint in hints_of(Policy).items():
        if name.startswith(("allowed_", "denied_")):
            keys["allow" if name.startswith("allowed_") else "deny"] = _places(hint)
        elif any(isinstance(said, Means) for said in getattr(hint, "__metadata__", ())):
            keys[name] = _of(hint)
    keys["mode"] = {**keys["mode"], **_of(Annotated[str, _MODE])}
    del keys["mode"]["enum"]
    keys["idempotent"]["enum"] = [
        *(word.value for word in Idempotent),
        True,
        False,
    ]  # YAML 1.1 reads yes and no as these
    return keys


def _of(hint: object) -> Document:
    """What a value of a type may be in a file."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _with(_of(arguments[0]), arguments[1:])
    if type(None) in arguments:  # a file leaves out what is not set
        return _of(next(each for each in arguments if each is not type(None)))
    if origin in (tuple, frozenset):
        return _list(_of(arguments[0]))
    if origin is Mapping:
        return {
            "type": "object",
            "propertyNames": _of(arguments[0]),
            "additionalProperties": _of(arguments[1]),
        }
    if hint is Strategy:
        return {"$ref": "#/definitions/strategy"}
    if hint is EndpointId:
        return _of(Annotated[str, NAME])
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"enum": [word.value for word in hint]}
    if hint is Weights:
        return _weights()
    return _object(hint) if isinstance(hint, type) and is_dataclass(hint) else {**_PLAIN[hint]}


def _with(plain: Document, said: Sequence[object]) -> Document:
    found = dict(plain)
    for part in said:
        if isinstance(part, Within):
            found["exclusiveMinimum" if part.above else "minimum"] = part.least
            if part.most != inf:
                found["maximum"] = part.most
        elif isinstance(part, Spelled):
            found |= {"pattern": part.pattern, "patternErrorMessage": part.says}
        elif isinstance(part, AtMost):
            found |= (
                {"maxItems": part.entries} if found["type"] == "array" else {"minLength": 1, "maxLength": part.entries}
            )
        elif isinstance(part, Means):
            found["description"] = part.text
    return found


def _object(kind: type) -> Document:
    hints = hints_of(kind)
    needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    return _closed({name: _of(hint) for name, hint in hints.items()}, required=needed)


def _closed(properties: Mapping[str, Document], *, required: Sequence[str] = ()) -> Document:
    found: Document = {
        "type": "object",
        "properties": {str(name): said for name, said in properties.items()},
        "additionalProperties": False,
    }
    return {**found, "required": [*required]} if required else found


def _list(items: Document, *, least: int = 0, most: int | None = None) -> Document:
    found: Document = {"type": "array", "items": items}
    return found | ({"minItems": least} if least else {}) | ({} if most is None else {"maxItems": most})


def _weights() -> Document:
    """All four, so that none is forgotten, and not all of them 0."""
    keys = hints_of(Weights)
    positive: list[Json] = [{"properties": {name: {"exclusiveMinimum": 0}}} for name in keys]
    return {**_closed({name: _of(hint) for name, hint in keys.items()}, required=[*keys]), "anyOf": positive}


def _places(hint: object) -> Document:
    places = _closed({"providers": _list(_of(Provider)), "regions": _list(_of(Region))})
    return _with(places, [said for said in get_args(hint)[1:] if isinstance(said, Means)])


def _strategy() -> Document:
    """A preset's name, or the whole."""
    hints = hints_of(Strategy)
    keys = {
        "name": _of(hints["name"]),
        "when": _closed({field: _conditions(field) for field in RequestField}),
        "candidates": {**_closed({field: _conditions(field) for field in CandidateField}), "minProperties": 1},
        "factor": _of(hints["factor"]),
    }
    whole = _closed(keys, required=["name", "candidates", "factor"])
    return {"if": {"type": "string"}, "then": {"enum": [*PRESETS]}, "else": whole}


def _conditions(field: Field) -> Document:
    """By operator; or cut short: one value for `is`, a list for `in`."""
    value, allowed = _operand(field), operators_of(field)
    by_operator = _closed({operator: _operands(operator, value) for operator in allowed})
    by_operator["minProperties"] = 1
    if Operator.IS not in allowed:
        return by_operator
    short: Document = {"if": {"type": "array"}, "then": _list(value, least=1), "else": value}
    return {"if": {"type": "object"}, "then": by_operator, "else": short}


def _operands(operator: Operator, value: Document) -> Document:
    if operator is Operator.BETWEEN:
        return _list(value, least=2, most=2)
    return _list(value, least=1) if operator in SEVERAL else value


def _operand(field: Field) -> Document:
    if field is CandidateField.PROVIDER:
        return _of(Provider)
    if field not in RANGES:
        return {"type": "string", "minLength": 1}
    return _with(_of(float if field is CandidateField.COLD_PROBABILITY else int), [Within(*RANGES[field])])
