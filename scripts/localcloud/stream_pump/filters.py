"""Filter patterns: which stream records a mapping wants. Pure.

The part of AWS's syntax that a mapping of ours can need: exact values, `exists`, `prefix`, `anything-but`. A pattern
with any other operator is refused, because delivering it unfiltered (or not at all) would not be what AWS does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

OPERATORS = frozenset({"exists", "prefix", "anything-but"})


class PatternError(ValueError):
    """A filter pattern that this pump does not follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One parsed pattern: objects nest as in the record, leaves are lists of alternatives."""

    fields: Mapping[str, object]

    def matches(self, record: Mapping[str, object]) -> bool:
        return _matches_object(self.fields, record)


def parse(text: str) -> Pattern:
    """A pattern from its JSON text. Raises `PatternError` with one line."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise PatternError(f"filter pattern is not JSON: {text!r}") from error
    if not isinstance(fields, dict):
        raise PatternError(f"filter pattern is not an object: {text!r}")
    _check(fields, text)
    return Pattern(fields=fields)


def _check(fields: Mapping[str, object], text: str) -> None:
    for name, value in fields.items():
        if isinstance(value, dict):
            _check(value, text)
        elif not isinstance(value, list) or not value or name.startswith("$"):
            raise PatternError(f"filter pattern: {name!r} must be a list of values in {text!r}")
        else:
            unknown = {str(key) for item in value if isinstance(item, dict) for key in item} - OPERATORS
            if unknown:
                raise PatternError(f"filter pattern: {', '.join(sorted(unknown))} is not supported in {text!r}")


def _matches_object(fields: Mapping[str, object], record: Mapping[str, object]) -> bool:
    for name, wanted in fields.items():
        value = record.get(name)
        if isinstance(wanted, dict):
            if not _matches_object(wanted, value if isinstance(value, dict) else {}):
                return False
        elif isinstance(wanted, list) and not any(_matches_leaf(w, value, name in record) for w in wanted):
            return False
    return True


def _matches_leaf(wanted: object, value: object, is_present: bool) -> bool:
    if isinstance(wanted, dict):
        return all(_applies(operator, operand, value, is_present) for operator, operand in wanted.items())
    return is_present and type(wanted) is type(value) and wanted == value


def _applies(operator: str, operand: object, value: object, is_present: bool) -> bool:
    if operator == "exists":
        # AWS: `exists` sees leaf nodes only, an object is not one.
        return (is_present and not isinstance(value, dict)) is operand
    if operator == "anything-but":
        # AWS: a field that is not there is not "anything", it matches nothing.
        return (
            is_present
            and not isinstance(value, dict)
            and value not in (operand if isinstance(operand, list) else [operand])
        )
    return isinstance(value, str) and isinstance(operand, str) and value.startswith(operand)
