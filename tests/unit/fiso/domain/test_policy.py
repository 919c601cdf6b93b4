from typing import Any

import pytest

from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Objective, Policy
from fiso.domain.strategy import CandidateField, Condition, Field, Operator, RequestField, Strategy, Value
from tests.builders import an_entry

AWS, GCP = EndpointId("aws"), EndpointId("gcp")
ON_GCP = Condition(field=CandidateField.PROVIDER, operator=Operator.IS, values=("gcp",))


def a_strategy(**changes: Any) -> Strategy:
    fields: dict[str, Any] = {"name": "mine", "candidates": frozenset({ON_GCP}), "factor": 2.0}
    return Strategy(**(fields | changes))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"objective": Objective.CHEAPEST_WITHIN}, "latency_objective_ms: is missing: objective cheapest_within"),
        ({"latency_objective_ms": 0.0}, "latency_objective_ms: must be positive"),
        ({"latency_objective_ms": float("nan")}, "latency_objective_ms: must be positive"),
        ({"max_p95_ms": -1.0}, "max_p95_ms: must be positive"),
        ({"max_cost_usd": float("inf")}, "max_cost_usd: must be positive"),
        ({"tiers": (frozenset(),)}, "tiers.0: must not be empty"),
        ({"tiers": (frozenset({AWS}), frozenset({GCP, AWS}))}, "tiers.1: 'aws' already stands in a tier"),
        ({"strategies": (a_strategy(), a_strategy(factor=3.0))}, "strategies.1: 'mine' is already there"),
        ({"control_share": 0.1}, "home: is missing: control_share"),
        ({"control_share": 0.6, "home": AWS}, "control_share: must be within"),
        ({"control_share": float("nan"), "home": AWS}, "control_share: must be within"),
        ({"control_block_s": 59}, "control_block_s: must be within"),
        ({"control_block_s": 604_801}, "control_block_s: must be within"),
    ],
)
def test_an_impossible_policy_cannot_be_built(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Policy(version=1, **fields)


def test_a_tier_names_the_functions_own_endpoints_only() -> None:
    with pytest.raises(ValueError, match=r"tiers.0: no endpoint 'nowhere' here, only"):
        an_entry(tiers=(frozenset({AWS, EndpointId("nowhere")}),))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": ""}, "needs a name"),
        ({"factor": 0.0}, "above 0"),
        ({"factor": 10.5}, "at most 10"),
        ({"factor": float("nan")}, "above 0"),
        ({"candidates": frozenset()}, "which candidates"),
        ({"when": frozenset({ON_GCP})}, "provider is not one of hour_of_day"),
    ],
)
def test_an_impossible_strategy_cannot_be_built(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        a_strategy(**changes)


def test_a_field_is_not_compared_twice_the_same_way() -> None:
    other = Condition(field=CandidateField.PROVIDER, operator=Operator.IS, values=("aws",))
    with pytest.raises(ValueError, match="twice"):
        a_strategy(candidates=frozenset({ON_GCP, other}))


@pytest.mark.parametrize(
    ("field", "operator", "values", "problem"),
    [
        (RequestField.HOUR_OF_DAY, Operator.IS, (24,), "within 0 and 23"),
        (RequestField.DAY_OF_WEEK, Operator.IN, (0, 1), "within 1 and 7"),
        (RequestField.HOUR_OF_DAY, Operator.IS, (9.5,), "whole number"),
        (RequestField.HOUR_OF_DAY, Operator.IS, ("9",), "compared with a number"),
        (RequestField.HOUR_OF_DAY, Operator.IS, (True,), "compared with a number"),
        (RequestField.HOUR_OF_DAY, Operator.IS, (), "one value"),
        (RequestField.HOUR_OF_DAY, Operator.IS, (1, 2), "one value"),
        (RequestField.HOUR_OF_DAY, Operator.BETWEEN, (9,), "a first and a last"),
        (RequestField.HOUR_OF_DAY, Operator.IN, (), "a list of values"),
        (RequestField.REQUEST_SIZE_BYTES, Operator.BETWEEN, (9, 8), "holds for nothing"),
        (RequestField.FUNCTION_TYPE, Operator.AT_LEAST, ("a",), "takes is, is_not, in, not_in"),
        (RequestField.USER_REGION, Operator.IS, (7,), "compared with text"),
        (CandidateField.PROVIDER, Operator.IS, ("ibm",), "provider is one of"),
        (CandidateField.MEMORY_MB, Operator.AT_MOST, (0,), "at least 1"),
        (CandidateField.COLD_PROBABILITY, Operator.IS, (0.5,), "takes at_least"),
        (CandidateField.COLD_PROBABILITY, Operator.AT_LEAST, (float("nan"),), "compared with a number"),
        (CandidateField.COLD_PROBABILITY, Operator.AT_LEAST, (1.5,), "within 0 and 1"),
    ],
)
def test_an_impossible_condition_cannot_be_built(
    field: Field, operator: Operator, values: tuple[Value, ...], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Condition(field=field, operator=operator, values=values)
