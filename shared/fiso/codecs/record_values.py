"""Values of a record's document: each reader gives what a record can have, or raises `TypeError` or `ValueError`.

What parses but cannot be (NaN, a negative time, a name that no store takes as a key) must not get into the states that
decisions are made on, nor keep the stream from going on.
"""

from datetime import UTC, datetime
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"

LARGEST = 1e15
"""No measurement, size or count here is larger, and sums of their squares stay within a float."""
SHORTEST_MS = 1e-9
"""No time above 0 is shorter; its square is still a number to divide by."""
LONGEST_NAME = 200
MOST_ATTEMPTS = 32
"""More than any policy allows: what a record touches must fit into one transaction."""
YEARS = range(2000, 2200)


def parse_instant(text: str) -> datetime:
    """What `instant` wrote."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment


def text(value: object) -> str:
    """Text."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {value!r}")
    return value


def name(value: object) -> str:
    """Text that a store takes as a key."""
    name = text(value)
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise ValueError(f"not a name: {name!r:.80}")
    return name


def moment(value: object) -> datetime:
    """An aware time, in UTC."""
    moment = parse_instant(text(value)).astimezone(UTC)
    if moment.year not in YEARS:
        raise ValueError(f"not a time that a record can have: {value!r:.80}")
    return moment


def attempts(value: object) -> list[Json]:
    """The list of a record's attempts."""
    rows = sequence(value)
    if len(rows) > MOST_ATTEMPTS:
        raise ValueError(f"{len(rows)} attempts are more than a request can have made")
    return rows


def maybe_text(value: object) -> str | None:
    """Text or null."""
    return None if value is None else text(value)


def sure_number(value: object) -> float:
    """A number, as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {value!r:.80}")
    if not -LARGEST <= value <= LARGEST:  # false for NaN as well
        raise ValueError(f"not a number that a record can have: {value!r:.80}")
    return float(value)


def number(value: object) -> float | None:
    """A number or null."""
    return None if value is None else sure_number(value)


def amount(value: object) -> float | None:
    """A number that is not negative, or null."""
    amount = number(value)
    if amount is not None and amount < 0:
        raise ValueError(f"must not be negative: {amount!r}")
    return amount


def time(value: object) -> float | None:
    """Milliseconds or null."""
    time_ms = amount(value)
    if time_ms is not None and 0 < time_ms < SHORTEST_MS:
        raise ValueError(f"not a time: {time_ms!r} ms")
    return time_ms


def sure_time(value: object) -> float:
    """Milliseconds."""
    time_ms = time(value)
    if time_ms is None:
        raise TypeError("expected a time, not null")
    return time_ms


def whole(value: object) -> int:
    """A whole number."""
    return int(sure_number(value))


def maybe_whole(value: object) -> int | None:
    """A whole number or null."""
    return None if value is None else whole(value)


def flag(value: object) -> bool | None:
    """True, false or null."""
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"expected true or false, not {value!r}")
    return value


def mapping(value: object) -> dict[str, Json]:
    """An object."""
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {value!r}")
    return value


def sequence(value: object) -> list[Json]:
    """A list."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list, not {value!r}")
    return value
