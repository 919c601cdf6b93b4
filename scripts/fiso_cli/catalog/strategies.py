"""Strategies as `fiso.yaml` declares them: conditions by field and operator, and the presets that go by name."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from fiso.codecs.policy import conditions_from, strategy_from_document
from fiso.codecs.record import Document, Json
from fiso.domain.strategy import LARGEST_FACTOR, CandidateField, Operator, RequestField, Strategy
from fiso.domain.strategy import Field as AnyField

PRESETS: Mapping[str, Document] = {
    "peak_hours_aws_to_gcp": {
        "name": "peak_hours_aws_to_gcp",
        "when": {"hour_of_day": {"between": [9, 17]}, "function_type": {"is": "batch"}},
        "candidates": {"provider": {"is": "gcp"}},
        "factor": 1.25,
    },
    "weekend_scale_down": {
        "name": "weekend_scale_down",
        "when": {"day_of_week": {"in": [6, 7]}},
        "candidates": {"provider": {"is": "azure"}},
        "factor": 0.7,
    },
    "cold_start_optimization": {
        "name": "cold_start_optimization",
        "when": {},
        "candidates": {"cold_probability": {"at_least": 0.5}},
        "factor": 0.6,
    },
}
"""The brief's three cost strategies. Its conditions are kept; the factors are by argument, fitted to no data: they turn
a choice between candidates that score within a quarter (of 1.25, 1/0.7, 1/0.6) of one another, and no wider one."""


STRICTLY = ConfigDict(extra="forbid", strict=True, frozen=True)
"""What all declared shapes share: unknown keys are refused, nothing is converted silently."""


class _Declared(BaseModel):
    model_config = STRICTLY


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def preset_by_name(value: object) -> object:
    """A preset for its name; anything else as it is."""
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise ValueError(f"no preset is called {value!r}, only {', '.join(PRESETS)}")
    return PRESETS[value]


def _written_short(value: object) -> object:
    """`provider: gcp` means is, `day_of_week: [6, 7]` means in."""
    if isinstance(value, list):
        return {Operator.IN.value: value}
    return {Operator.IS.value: value} if isinstance(value, str | int | float) else value


Asked: TypeAlias = dict[Annotated[Operator, Field(strict=False)], object]


def _check(field: AnyField, asked: dict[Operator, Json]) -> dict[Operator, Json]:
    if not asked:
        raise ValueError("must not be empty")
    try:
        conditions_from(field, {operator.value: operands for operator, operands in asked.items()})
    except TypeError as error:
        raise ValueError(str(error)) from error
    return asked


def _known(field: AnyField) -> AfterValidator:
    return AfterValidator(partial(_check, field))


_SHORT = BeforeValidator(_written_short)


class DeclaredWhen(_Declared):
    """Conditions on the request; all must hold."""

    hour_of_day: Annotated[Asked, _SHORT, _known(RequestField.HOUR_OF_DAY)] = {}
    day_of_week: Annotated[Asked, _SHORT, _known(RequestField.DAY_OF_WEEK)] = {}
    function_type: Annotated[Asked, _SHORT, _known(RequestField.FUNCTION_TYPE)] = {}
    request_size_bytes: Annotated[Asked, _SHORT, _known(RequestField.REQUEST_SIZE_BYTES)] = {}
    user_region: Annotated[Asked, _SHORT, _known(RequestField.USER_REGION)] = {}


class DeclaredCandidates(_Declared):
    """Conditions on a candidate; all must hold."""

    provider: Annotated[Asked, _SHORT, _known(CandidateField.PROVIDER)] = {}
    region: Annotated[Asked, _SHORT, _known(CandidateField.REGION)] = {}
    memory_mb: Annotated[Asked, _SHORT, _known(CandidateField.MEMORY_MB)] = {}
    cold_probability: Annotated[Asked, _SHORT, _known(CandidateField.COLD_PROBABILITY)] = {}


def _says_something(value: DeclaredCandidates) -> DeclaredCandidates:
    if not value.model_fields_set:
        raise ValueError("must not be empty: a factor for every candidate moves none")
    return value


class DeclaredStrategy(_Declared):
    """One strategy."""

    name: Name
    when: DeclaredWhen = DeclaredWhen()
    candidates: Annotated[DeclaredCandidates, AfterValidator(_says_something)]
    factor: Annotated[float, Field(gt=0, le=LARGEST_FACTOR, allow_inf_nan=False)]


def to_domain(declared: DeclaredStrategy) -> Strategy:
    """The strategy as the domain has it."""
    document = declared.model_dump(mode="json", exclude_unset=True)
    return strategy_from_document({"when": {}, **document})
