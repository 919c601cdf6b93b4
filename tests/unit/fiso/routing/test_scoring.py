import pytest

from fiso.domain.decision import Prediction
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Scoring, Weights
from fiso.routing.scoring import by_cost, score, within
from tests.builders import a_prediction, a_spread

AWS = a_prediction("aws", latency_ms=100, cost_usd=2e-6)
GCP = a_prediction("gcp", latency_ms=200, cost_usd=1e-6)
NEAR = {EndpointId("aws"): 1.0, EndpointId("gcp"): 0.7}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        # .4*1 + .3*.5 + .2*.999 + .1*1  and  .4*.5 + .3*1 + .2*.999 + .1*.7, worked by hand
        (Weights(), {"aws": 0.8498, "gcp": 0.7698}),
        (Weights(latency=1, cost=0, reliability=0, region_affinity=0), {"aws": 1.0, "gcp": 0.5}),
        (Weights(latency=0, cost=1, reliability=0, region_affinity=0), {"aws": 0.5, "gcp": 1.0}),
    ],
)
def test_relative_scores_are_the_weighted_mean_of_shares_of_the_best(
    weights: Weights, expected: dict[str, float]
) -> None:
    scores = score([AWS, GCP], NEAR, weights=weights, scoring=Scoring.RELATIVE)
    assert {s.endpoint: s.value for s in scores} == pytest.approx(expected)


def test_reciprocal_scores_are_the_briefs_numbers() -> None:
    """By hand: .4*100/150 + .3*.001/.001 + .2*.85 + .1*1 and .4*100/140 + .3*.001/.0009 + .2*.88 + .1*.7."""
    predictions = [
        a_prediction("aws", latency_ms=150, cost_usd=0.001, success_probability=0.85),
        a_prediction("gcp", latency_ms=140, cost_usd=0.0009, success_probability=0.88),
    ]
    scores = score(predictions, NEAR, weights=Weights(), scoring=Scoring.RECIPROCAL)
    assert [(s.endpoint, round(s.value, 4)) for s in scores] == [("gcp", 0.8650), ("aws", 0.8367)]


def test_a_free_endpoint_does_not_divide_by_zero() -> None:
    free = a_prediction("gcp", cost_usd=0.0)
    scores = score([AWS, free], NEAR, weights=Weights(), scoring=Scoring.RELATIVE)
    assert {s.endpoint: s.terms["cost"] for s in scores} == {"gcp": 1.0, "aws": 0.0}


def test_an_unpriced_endpoint_gets_no_share_of_the_cost_term() -> None:
    unpriced = a_prediction("gcp", cost_usd=None)
    scores = score([AWS, unpriced], NEAR, weights=Weights(), scoring=Scoring.RELATIVE)
    assert {s.endpoint: s.terms["cost"] for s in scores} == {"aws": 1.0, "gcp": 0.0}


def test_the_trained_cost_prices_only_when_asked_to() -> None:
    aws = a_prediction("aws", cost_usd=1e-6, model_cost_usd=4e-6)
    gcp = a_prediction("gcp", cost_usd=2e-6, model_cost_usd=1e-6)
    only_cost = Weights(latency=0, cost=1, reliability=0, region_affinity=0)
    by_tariff = score([aws, gcp], NEAR, weights=only_cost, scoring=Scoring.RELATIVE)
    by_model = score([aws, gcp], NEAR, weights=only_cost, scoring=Scoring.RELATIVE, cost_by_model=True)
    assert [by_tariff[0].endpoint, by_model[0].endpoint] == ["aws", "gcp"]


@pytest.mark.parametrize("weights", [(0, 0, 0, 0), (-1, 1, 1, 1), (float("nan"), 1, 1, 1), (float("inf"), 1, 1, 1)])
def test_weights_that_weigh_nothing_or_cannot_be_compared_are_refused(weights: tuple[float, ...]) -> None:
    latency, cost, reliability, region_affinity = weights
    with pytest.raises(ValueError, match=r"must be (finite|positive)"):
        Weights(latency=latency, cost=cost, reliability=reliability, region_affinity=region_affinity)


DEAR = a_prediction("aws", spread=a_spread(200.0), cost_usd=8e-6)
CHEAP = a_prediction("azure", spread=a_spread(300.0), cost_usd=4e-6)
CHEAPEST_SLOW = a_prediction("gcp", spread=a_spread(600.0), cost_usd=1e-6)
SLOWER = a_prediction("old", spread=a_spread(1200.0), cost_usd=1e-7)


def values(predictions: list[Prediction], objective_ms: float) -> dict[str, float]:
    scores = by_cost(predictions, objective_ms=objective_ms)
    placed = within(scores, {p.endpoint: p for p in predictions}, objective_ms=objective_ms)
    return {score.endpoint: score.value for score in placed}


def test_those_who_keep_the_objective_score_as_shares_of_the_cheapest_and_the_others_below_them() -> None:
    # 4/4; 4/8; the lowest of those (0.5) times 300/600; the same times 300/1200, worked by hand
    found = values([DEAR, CHEAP, CHEAPEST_SLOW, SLOWER], 300.0)
    assert found == {"azure": 1.0, "aws": 0.5, "gcp": 0.25, "old": 0.125}
    assert [*found] == ["azure", "aws", "gcp", "old"]


def test_when_none_keeps_it_the_lowest_p95_is_best() -> None:
    assert values([SLOWER, CHEAPEST_SLOW, CHEAP], 150.0) == {"azure": 0.5, "gcp": 0.25, "old": 0.125}


def test_an_endpoint_without_a_price_comes_last_of_those_who_keep_it() -> None:
    unpriced = a_prediction("zzz", spread=a_spread(100.0), cost_usd=None)
    assert [*values([unpriced, DEAR, CHEAPEST_SLOW], 300.0)] == ["aws", "zzz", "gcp"]


def test_the_models_cost_counts_where_the_policy_says_so() -> None:
    told = [a_prediction("a", cost_usd=1.0, model_cost_usd=4.0), a_prediction("b", cost_usd=9.0, model_cost_usd=2.0)]
    scores = by_cost(told, objective_ms=1000.0, cost_by_model=True)
    assert {score.endpoint: score.value for score in scores} == pytest.approx({"b": 1.0, "a": 0.5})


def test_explain_is_told_who_keeps_the_objective() -> None:
    scores = within(
        by_cost([DEAR, SLOWER], objective_ms=300.0), {p.endpoint: p for p in (DEAR, SLOWER)}, objective_ms=300.0
    )
    assert {score.endpoint: score.terms["within_objective"] for score in scores} == {"aws": 1.0, "old": 0.0}
