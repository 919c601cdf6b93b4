"""What a field of a declared type may hold, said once, beside the field:

    exploration: Annotated[float, Within(0, 0.5), Means("the largest share of requests to others than the best")] = 0.05

The type checks itself by it, and the schema of `fiso.yaml` and the table in docs/policy.md are made from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

from fiso_client.core.grammar import NAME_PATTERN, REGION_PATTERN

Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """A finite number from `least` to `most`, or `above` the least."""

    least: float
    most: float = inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a value may stand there; not a number never may."""
        return (self.least < value if self.above else self.least <= value) and value <= self.most and value < inf

    def __str__(self) -> str:
        if self.above:
            return "positive and finite" if self.most == inf else f"above {self.least:g} and at most {self.most:g}"
        return f"finite and at least {self.least:g}" if self.most == inf else f"within {self.least:g} and {self.most:g}"


@dataclass(frozen=True, slots=True)
class Means:
    """What a field is for, in the words of docs/policy.md; `unset` says its default there where the value does not."""

    text: str
    unset: str = ""


@dataclass(frozen=True, slots=True)
class Spelled:
    """How text is spelled in a file, which is narrower than what stores may hold; `says` is told otherwise."""

    pattern: str
    says: str


@dataclass(frozen=True, slots=True)
class AtMost:
    """How many characters or entries a file may have there."""

    entries: int


NAME = Spelled(
    f"^{NAME_PATTERN}$",
    "must be lower-case letters, digits, - and _, beginning with a letter or digit, at most 63",
)
REGION = Spelled(f"^{REGION_PATTERN}$", "must be a region as the provider writes it, as in us-east-1 or westeurope")


class Impossible(ValueError):
    """A value that cannot be: everything that is wrong with it, each with its place."""

    def __init__(self, problems: Sequence[tuple[Place, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {said}" for place, said in problems))


@cache
def hints_of(kind: type) -> Mapping[str, Any]:
    """The fields of a type, each with everything that is said of it."""
    return get_type_hints(kind, include_extras=True)


def metadata_of(hint: Any) -> tuple[Any, ...]:
    """What is said of a field beside its type; of what it may hold instead of None, too."""
    if get_origin(hint) is Annotated:
        return (*hint.__metadata__, *metadata_of(hint.__origin__))
    return tuple(part for inner in get_args(hint) if type(None) in get_args(hint) for part in metadata_of(inner))


def violations(value: object) -> Iterator[tuple[Place, str]]:
    """Every number of a value that is not within what its field allows."""
    for name, within in _limits(type(value)).items():  # type: ignore[arg-type]  # every class can be hashed
        number = getattr(value, name)
        if number is not None and number not in within:
            yield (name,), f"must be {within}, not {number!r}"


@cache
def _limits(kind: type) -> Mapping[str, Within]:
    found = {
        name: [part for part in metadata_of(hint) if isinstance(part, Within)] for name, hint in hints_of(kind).items()
    }
    return {name: parts[0] for name, parts in found.items() if parts}
