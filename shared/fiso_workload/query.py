"""A request's query string as a mapping, read the same way on every cloud. Standard library only."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fiso_workload.answer import Refusal


def parse(raw: str) -> Mapping[str, str]:
    """The raw query string decoded; the last value of a repeated name wins, unreadable bytes become U+FFFD."""
    return dict(parse_qsl(raw, keep_blank_values=True))


def whole(query: Mapping[str, str], name: str, *, default: int | None, low: int, high: int) -> int:
    """A whole number between `low` and `high`; `Refusal` when it is missing without a default, or is anything else."""
    text = query.get(name)
    if text is None:
        if default is None:
            raise Refusal(f"query parameter {name} is required")
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise Refusal(f"query parameter {name} must be a whole number between {low} and {high}")
    return int(text)


def one_of(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """One of `choices`, the first when it is missing; `Refusal` otherwise."""
    text = query.get(name, choices[0])
    if text not in choices:
        raise Refusal(f"query parameter {name} must be one of {', '.join(choices)}")
    return text
