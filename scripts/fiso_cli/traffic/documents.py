"""Documents: JSON that came over HTTP, read with its types checked. What does not fit is a `CommandError`."""

import json

from fiso.codecs.typed import Document, Json
from fiso_cli.errors import CommandError


def parsed(body: bytes) -> Document:
    """A JSON object from bytes."""
    try:
        document: Json = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"the answer is not JSON: {body[:80]!r}") from error
    return mapping(document)


def mapping(value: Json) -> Document:
    """A JSON object."""
    if not isinstance(value, dict):
        raise unexpected("an object", value)
    return value


def items(value: Json) -> list[Json]:
    """A JSON array."""
    if not isinstance(value, list):
        raise unexpected("an array", value)
    return value


def rows_of(document: Document, key: str) -> list[Document]:
    """The objects of the array at a key."""
    return [mapping(row) for row in items(document.get(key))]


def text_or_none(value: Json) -> str | None:
    """A string, or None for anything else."""
    return value if isinstance(value, str) else None


def unexpected(wanted: str, value: Json) -> CommandError:
    """The answer has another shape than this version of the command knows."""
    return CommandError(f"the answer is not as expected: {wanted} is missing, {str(value)[:60]!r} stands there")
