"""Strategies: an operator's rules of thumb as conditions on data, never as code.

A strategy says: when the request is like this, multiply the score of candidates like that by a factor. Fields and
operators are closed sets, so a policy can be checked when it is written, shown in words, and never runs anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Annotated, TypeAlias

from fiso.domain.endpoint import Provider
from fiso.domain.fields import NAME, Within

Value: TypeAlias = str | int | float
LARGEST_FACTOR = 10.0


class RequestField(StrEnum):
    """What may be asked of a request. Hours and days (ISO, Monday is 1) are UTC, as in the features."""

    HOUR_OF_DAY = "hour_of_day"
    DAY_OF_WEEK = "day_of_week"
    FUNCTION_TYPE = "function_type"
    REQUEST_SIZE_BYTES = "request_size_bytes"
    USER_REGION = "user_region"


class CandidateField(StrEnum):
    """What may be asked of a candidate: three facts, and the predicted chance that this call starts cold."""

    PROVIDER = "provider"
    REGION = "region"
    MEMORY_MB = "memory_mb"
    COLD_PROBABILITY = "cold_probability"


Field: TypeAlias = RequestField | CandidateField


class Operator(StrEnum):
    """How a field is compared. `between` includes both ends."""

    IS = "is"
    IS_NOT = "is_not"
    IN = "in"
    NOT_IN = "not_in"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    BETWEEN = "between"


_SAME = (Operator.IS, Operator.IS_NOT, Operator.IN, Operator.NOT_IN)
_ORDERED = (Operator.AT_LEAST, Operator.AT_MOST, Operator.BETWEEN)
SEVERAL = (Operator.IN, Operator.NOT_IN)
"""The operators that take a list of any length; `between` takes two values, every other one."""

_TEXTS: tuple[Field, ...] = (
    RequestField.FUNCTION_TYPE,
    RequestField.USER_REGION,
    CandidateField.PROVIDER,
    CandidateField.REGION,
)
RANGES: Mapping[Field, tuple[float, float]] = {
    RequestField.HOUR_OF_DAY: (0, 23),
    RequestField.DAY_OF_WEEK: (1, 7),
    RequestField.REQUEST_SIZE_BYTES: (0, float("inf")),
    CandidateField.MEMORY_MB: (1, float("inf")),
    CandidateField.COLD_PROBABILITY: (0, 1),
}
_ROUND_THE_CLOCK = (RequestField.HOUR_OF_DAY, RequestField.DAY_OF_WEEK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison of one field.

    `hour_of_day` and `day_of_week` go round: between 22 and 5 is the night, between 6 and 1 Saturday to Monday.
    """

    field: Field
    operator: Operator
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        self._check_operator()
        for value in self.values:
            _check_value(self.field, value)
        first, last = self.values[0], self.values[-1]
        if self.operator is not Operator.BETWEEN or isinstance(first, str) or isinstance(last, str):
            return
        if first > last and self.field not in _ROUND_THE_CLOCK:
            raise ValueError(f"{self.field} between {first} and {last} holds for nothing")

    def _check_operator(self) -> None:
        allowed = operators_of(self.field)
        if self.operator not in allowed:
            raise ValueError(f"{self.field} takes {', '.join(allowed)}, not {self.operator}")
        wanted = 2 if self.operator is Operator.BETWEEN else 1
        is_right = bool(self.values) if self.operator in SEVERAL else len(self.values) == wanted
        if not is_right:
            number = "a list of values" if self.operator in SEVERAL else ("one value", "a first and a last")[wanted - 1]
            raise ValueError(f"{self.operator} takes {number}, not {list(self.values)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """When all of `when` hold for a request, the score of each candidate that meets all of `candidates` is multiplied.

    A `factor` below 1 avoids, above 1 prefers; of strategies that hold at once, the factors multiply. An empty `when`
    always holds. `candidates` must say something: a factor for everybody would move nobody.
    """

    name: Annotated[str, NAME]
    candidates: frozenset[Condition]
    factor: Annotated[float, Within(0, LARGEST_FACTOR, above=True)]
    when: frozenset[Condition] = frozenset()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a strategy needs a name")
        if not 0 < self.factor <= LARGEST_FACTOR:
            raise ValueError(f"strategy {self.name}: factor must be above 0 and at most 10: {self.factor}")
        if not self.candidates:
            raise ValueError(f"strategy {self.name}: must say which candidates it is about")
        self._check(self.when, RequestField)
        self._check(self.candidates, CandidateField)

    def _check(self, conditions: frozenset[Condition], kind: type[StrEnum]) -> None:
        asked = [(condition.field, condition.operator) for condition in conditions]
        if len(set(asked)) != len(asked):
            raise ValueError(f"strategy {self.name}: the same field and operator stand there twice")
        for condition in conditions:
            if not isinstance(condition.field, kind):
                raise ValueError(f"strategy {self.name}: {condition.field} is not one of {', '.join(kind)}")


def operators_of(field: Field) -> tuple[Operator, ...]:
    """The operators that make sense of a field: no order among words, no equality of a probability."""
    if field in _TEXTS:
        return _SAME
    return _ORDERED if field is CandidateField.COLD_PROBABILITY else (*_SAME, *_ORDERED)


def goes_round(field: Field) -> bool:
    """Whether the field's values come back to the first after the last, as hours and days do."""
    return field in _ROUND_THE_CLOCK


def _check_value(field: Field, value: Value) -> None:
    if field in _TEXTS:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{field} is compared with text, not {value!r}")
        if field is CandidateField.PROVIDER and value not in set(Provider):
            raise ValueError(f"provider is one of {', '.join(Provider)}, not {value!r}")
        return
    if isinstance(value, str | bool) or not isfinite(value):
        raise ValueError(f"{field} is compared with a number, not {value!r}")
    if field is not CandidateField.COLD_PROBABILITY and not isinstance(value, int):
        raise ValueError(f"{field} is a whole number, not {value!r}")
    least, most = RANGES[field]
    if not least <= value <= most:
        within = f"at least {least:g}" if most == float("inf") else f"within {least:g} and {most:g}"
        raise ValueError(f"{field} is {within}, not {value!r}")
