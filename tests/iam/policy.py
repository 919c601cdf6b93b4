"""Whether IAM policies allow an access: effects, actions, resources and conditions, as far as FISO's roles use them.

From AWS's pages "Policy evaluation logic", "IAM JSON policy elements: Condition operators" and "Set operators for
multivalued context keys". What is not known here fails aloud. No kept package does this: moto's leaves conditions out.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from tests.iam.wire import Access

Statement: TypeAlias = Mapping[str, Any]


def is_allowed(access: Access, role: Iterable[Statement]) -> bool:
    """Whether a statement allows it and none denies it."""
    return {statement["Effect"] for statement in role if applies(statement, access)} == {"Allow"}


def applies(statement: Statement, access: Access) -> bool:
    """Whether a statement speaks of the access."""
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown:
        raise ValueError(f"not evaluated here: {sorted(unknown)}")
    return (
        any(matches(pattern.lower(), access.permission.lower()) for pattern in values(statement["Action"]))
        and any(matches(pattern, access.arn) for pattern in values(statement["Resource"]))
        and _holds(statement.get("Condition", {}), dict(access.context))
    )


def values(element: object) -> Sequence[str]:
    """An element's one value, or its list of them."""
    return [str(each) for each in element] if isinstance(element, list | tuple) else [str(element)]


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    if "${" in pattern:
        raise ValueError(f"not evaluated here: a variable in {pattern}")
    characters = ({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.compile("".join(characters), re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """As IAM matches: * for any characters, ? for one."""
    return _expression(pattern).fullmatch(text) is not None


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringNotEquals": str.__eq__,
    "StringLike": matches,
    "StringNotLike": matches,
    "NumericLessThanEquals": lambda most, found: float(found) <= float(most),
}


def _holds(condition: Mapping[str, Mapping[str, object]], context: Mapping[str, Sequence[str]]) -> bool:
    """All operators, all keys. Keys' names are the same in any case."""
    known = {key.lower(): found for key, found in context.items()}
    return all(
        _compares(operator, values(wanted), known.get(key.lower()))
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _compares(operator: str, wanted: Sequence[str], found: Sequence[str] | None) -> bool:
    quantifier, _, name = operator.rpartition(":")
    if name == "Null":
        return wanted == [str(found is None).lower()]
    if name not in _OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise ValueError(f"not evaluated here: {operator}")
    is_negated, compare = "Not" in name, _OPERATORS[name]
    if found is None:  # ForAllValues holds of nothing at all, and so does what is negated
        return quantifier == "ForAllValues" or (is_negated and not quantifier)
    if not quantifier and len(found) != 1:
        raise ValueError(f"{operator} on a key with {len(found)} values")
    each = [any(compare(pattern, value) for pattern in wanted) is not is_negated for value in found]
    return any(each) if quantifier == "ForAnyValue" else all(each)
