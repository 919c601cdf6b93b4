"""Problems of a declared catalog, one line each: where, and what must be so."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache

from jsonschema_rs import Draft7Validator, ValidationError
from jsonschema_rs import ValidationErrorKind as Kind

from fiso.codecs.typed import Document, Json
from fiso_cli.catalog import schema
from fiso_cli.catalog.rules import Problem
from fiso_cli.traffic.documents import mapping


def of_shape(document: Json) -> Iterator[Problem]:
    """Everything in a file's document that its schema refuses, in our words."""
    for error in _validator().iter_errors(document):
        yield from _problems(error)


@cache
def _schema() -> Document:
    return schema.of_file()


@cache
def _validator() -> Draft7Validator:
    return Draft7Validator(_schema())


def _problems(error: ValidationError) -> Iterator[Problem]:
    place, kind = tuple(error.instance_path), error.kind
    match kind:
        case Kind.AdditionalProperties(unexpected=keys):
            for key in keys:
                yield Problem(place=(*place, key), message=_unknown(key, error))
        case Kind.Required(property=key):
            yield Problem(place=(*place, key), message="is missing")
        case Kind.PropertyNames(error=inner):
            yield Problem(place=(*place, str(inner.instance)), message=_broken(error, inner))
        case _:
            yield Problem(place=place, message=_broken(error))


def _broken(error: ValidationError, inner: ValidationError | None = None) -> str:
    """What must be so, where the place itself, or a key there, is wrong."""
    match (inner or error).kind:
        case Kind.Type(types=types):
            return _type(next(each for each in types if each != "null"), error.instance)
        case Kind.Enum(options=list(options)):
            return f"must be {_either(options)}"
        case Kind.Pattern():
            return str(_part(error.schema_path[:-1])["patternErrorMessage"])
        case Kind.MinItems(limit=1):
            return "must not be empty"
        case kind:
            return _SAYINGS[kind.name].format(kind.value) if kind.name in _SAYINGS else error.message


_SAYINGS = {
    "const": "must be {}",
    "minLength": "must not be empty",
    "maxLength": "must have at most {} characters",
    "minProperties": "must not be empty",
    "minItems": "must have {} entries",
    "maxItems": "must have at most {} entries",
    "exclusiveMinimum": "must be positive",  # the schema's only such bound is 0
    "minimum": "must be at least {:g}",
    "maximum": "must be at most {:.10g}",
    "anyOf": "at least one weight must be positive",
}
"""What the schema's keywords mean to the reader; the library's own words for any other."""


def _type(wanted: str, found: object) -> str:
    if wanted == "string" and isinstance(found, bool | int | float):
        return f"must be text: put {found!r} in quotes"
    return f"must be {_TYPES[wanted]}"


_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


def _either(options: Iterable[object]) -> str:
    """`'a', 'b' or 'c'`; true and false are told by the words that they stand for."""
    words = [repr(option) for option in options if not isinstance(option, bool)]
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _unknown(key: str, error: ValidationError) -> str:
    keys = mapping(_part(error.schema_path[:-1])["properties"])
    close = get_close_matches(key, keys, n=1)
    if close:
        return f"unknown key, did you mean {close[0]!r}?"
    return f"unknown key, there are {', '.join(keys)}"


def _part(path: Iterable[str | int]) -> Document:
    """The part of the schema that a path leads to, through its references."""
    part: Json = _schema()
    for step in path:
        if step == "$ref":
            part = mapping(_schema()["definitions"])[str(mapping(part)["$ref"]).rpartition("/")[2]]
        else:
            part = part[int(step)] if isinstance(part, list) else mapping(part)[str(step)]
    return mapping(part)
