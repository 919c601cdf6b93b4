"""Readers of plain JSON values: each gives the value as the type it must have, or raises `TypeError`.

Standard library only, and written by hand: they run while the orchestrator starts.
"""

from collections.abc import Iterable
from enum import StrEnum

from fiso.codecs.typed import Document, Json


def listed(values: Iterable[str | StrEnum]) -> list[Json]:
    """A set as a sorted list."""
    return [*sorted(str(value) for value in values)]


def texts(value: Json) -> frozenset[str]:
    """A list of texts as a set."""
    return frozenset(text(item) for item in sequence(value))


def maybe_text(value: Json) -> str | None:
    """Text or null."""
    return None if value is None else text(value)


def maybe_number(value: Json) -> float | None:
    """A number or null."""
    return None if value is None else number(value)


def text(value: Json) -> str:
    """Text."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {value!r}")
    return value


def number(value: Json) -> float:
    """Any number, as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)


def whole(value: Json) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, not {value!r}")
    return value


def mapping(value: Json) -> Document:
    """An object."""
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {value!r:.80}")
    return value


def sequence(value: Json) -> list[Json]:
    """A list."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list, not {value!r:.80}")
    return value
