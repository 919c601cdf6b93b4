from datetime import datetime, timedelta

import pytest

from fiso.codecs.policy import POLICY_CODEC
from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.strategy import Condition, Field, Operator, RequestField, Strategy, Value
from fiso.routing.strategies import Candidate, adjusted, holds, request_facts
from fiso_cli.catalog.spelling import PRESETS
from tests.builders import NOW, a_prediction, a_request, a_spread, an_endpoint

MONDAY_NOON = NOW.replace(hour=12)
ENDPOINTS = [an_endpoint(provider) for provider in Provider]


def preset(name: str) -> Strategy:
    return POLICY_CODEC.from_document(Strategy, PRESETS[name])


def scored(strategy: Strategy, *, at: datetime, function_type: str = "batch", cold: str = "") -> dict[str, float]:
    """The score of each provider's endpoint, 0.5 before the strategy."""
    candidates = {
        e.id: Candidate(endpoint=e, prediction=a_prediction(e.id, spread=a_spread(cold=0.8 if e.id == cold else 0.1)))
        for e in ENDPOINTS
    }
    scores = [Score(endpoint=e.id, value=0.5, terms={"latency": 0.5}) for e in ENDPOINTS]
    facts = request_facts(a_request(), function_type=function_type, now=at)
    return {score.endpoint: score.value for score in adjusted(scores, [strategy], facts, candidates)}


@pytest.mark.parametrize(("hour", "gcp"), [(8, 0.5), (9, 0.625), (17, 0.625), (18, 0.5)])
def test_peak_hours_prefer_gcp_for_batch_work(hour: int, gcp: float) -> None:
    found = scored(preset("peak_hours_aws_to_gcp"), at=NOW.replace(hour=hour))
    assert found == {"aws": 0.5, "azure": 0.5, "gcp": gcp}


def test_peak_hours_leave_other_work_alone() -> None:
    found = scored(preset("peak_hours_aws_to_gcp"), at=MONDAY_NOON, function_type="image")
    assert set(found.values()) == {0.5}


@pytest.mark.parametrize(("days_later", "azure"), [(4, 0.5), (5, 0.35), (6, 0.35), (7, 0.5)])
def test_weekends_reduce_azure(days_later: int, azure: float) -> None:
    found = scored(preset("weekend_scale_down"), at=MONDAY_NOON + timedelta(days=days_later))
    assert found == pytest.approx({"aws": 0.5, "azure": azure, "gcp": 0.5})


def test_a_predicted_cold_start_routes_to_the_warm() -> None:
    found = scored(preset("cold_start_optimization"), at=MONDAY_NOON, cold="aws")
    assert found == pytest.approx({"aws": 0.3, "azure": 0.5, "gcp": 0.5})
    assert [*found] == ["azure", "gcp", "aws"]


def test_each_factor_stands_among_the_terms_by_its_strategys_name() -> None:
    candidates = {e.id: Candidate(endpoint=e, prediction=a_prediction(e.id)) for e in ENDPOINTS}
    scores = [Score(endpoint=e.id, value=0.5, terms={"latency": 0.5}) for e in ENDPOINTS]
    facts = request_facts(a_request(), function_type="batch", now=MONDAY_NOON)
    best = adjusted(scores, [preset("peak_hours_aws_to_gcp")], facts, candidates)[0]
    assert (best.endpoint, best.terms) == (
        EndpointId("gcp"),
        {"latency": 0.5, "strategy:peak_hours_aws_to_gcp": 1.25},
    )


@pytest.mark.parametrize(
    ("field", "operator", "values", "value", "expected"),
    [
        (RequestField.HOUR_OF_DAY, Operator.BETWEEN, (22, 5), 23, True),
        (RequestField.HOUR_OF_DAY, Operator.BETWEEN, (22, 5), 5, True),
        (RequestField.HOUR_OF_DAY, Operator.BETWEEN, (22, 5), 12, False),
        (RequestField.DAY_OF_WEEK, Operator.BETWEEN, (6, 1), 7, True),
        (RequestField.DAY_OF_WEEK, Operator.BETWEEN, (6, 1), 3, False),
        (RequestField.REQUEST_SIZE_BYTES, Operator.AT_LEAST, (10,), 10, True),
        (RequestField.REQUEST_SIZE_BYTES, Operator.AT_LEAST, (10,), 9, False),
        (RequestField.REQUEST_SIZE_BYTES, Operator.AT_MOST, (10,), 10, True),
        (RequestField.REQUEST_SIZE_BYTES, Operator.AT_MOST, (10,), 11, False),
        (RequestField.USER_REGION, Operator.IN, ("a", "b"), "b", True),
        (RequestField.USER_REGION, Operator.NOT_IN, ("a", "b"), "c", True),
        (RequestField.USER_REGION, Operator.IS_NOT, ("a",), "a", False),
        (RequestField.USER_REGION, Operator.IS_NOT, ("a",), None, False),
    ],
)
def test_a_condition_holds_as_it_reads(
    field: Field, operator: Operator, values: tuple[Value, ...], value: Value | None, expected: bool
) -> None:
    assert holds(Condition(field=field, operator=operator, values=values), value) is expected
