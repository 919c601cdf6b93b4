"""Problems of a declared catalog, one line each: where, and what must be so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from fiso_cli.catalog import schema, strategies

Place = tuple[str | int, ...]

_NAME_RULE = "must be lower-case letters, digits, - and _, beginning with a letter or digit, at most 63"
_REGION_RULE = "must be a region as the provider writes it, as in us-east-1 or westeurope"
_PATTERNS = {
    "mode": "must be route, observe or pin:<endpoint>",
    "path": "must be empty or begin with / and hold plain segments, as in /graph-bfs",
    "region": _REGION_RULE,
    "regions": _REGION_RULE,
    "residency": _REGION_RULE,
}
_SHAPES: Mapping[str, type[BaseModel]] = {
    "endpoints": schema.DeclaredEndpoint,
    "policy": schema.DeclaredPolicy,
    "weights": schema.DeclaredWeights,
    "allow": schema.DeclaredPlaces,
    "deny": schema.DeclaredPlaces,
    "defaults": schema.DeclaredDefaults,
    "strategies": strategies.DeclaredStrategy,
    "when": strategies.DeclaredWhen,
    "candidates": strategies.DeclaredCandidates,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong at one place of the file."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{_dotted(self.place)}: {self.message}" if self.place else self.message


def problems_of(error: ValidationError, within: Place = ()) -> list[Problem]:
    """Every problem that pydantic found, in our words."""
    return [_problem(found, within) for found in error.errors(include_url=False)]


def _problem(found: Any, within: Place) -> Problem:
    place = (*within, *(part for part in found["loc"] if part != "[key]"))
    kind, context = found["type"], found.get("ctx", {})
    if kind == "extra_forbidden":
        message = _unknown_key(place)
    elif kind == "string_pattern_mismatch":
        message = _pattern(place)
    elif kind == "string_type" and isinstance(found["input"], bool | int | float):
        message = f"must be text: put {found['input']!r} in quotes"
    else:
        message = _SAYINGS[kind].format(**context) if kind in _SAYINGS else found["msg"]
    return Problem(place=place, message=message)


def _dotted(place: Iterable[str | int]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _unknown_key(place: Place) -> str:
    around = [part for part in place[:-1] if isinstance(part, str)]
    otherwise: type[BaseModel] = schema.DeclaredFunction if around[:1] == ["functions"] else schema.DeclaredCatalog
    keys = _SHAPES.get(around[-1] if around else "", otherwise).model_fields
    close = get_close_matches(str(place[-1]), keys, n=1)
    if close:
        return f"unknown key, did you mean {close[0]!r}?"
    return f"unknown key, there are {', '.join(keys)}" if around[-1:] in _CLOSED_SETS else "unknown key"


_CLOSED_SETS = (["when"], ["candidates"])


def _pattern(place: Place) -> str:
    name = next((part for part in reversed(place) if isinstance(part, str)), "")
    return _PATTERNS.get(name, _NAME_RULE)


_SAYINGS = {
    "missing": "is missing",
    "invalid_key": "keys must be text",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be positive",  # the schema's only such bound is 0
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "value_error": "{error}",
}
"""What each of pydantic's error types means to the reader; its own words for any other."""
