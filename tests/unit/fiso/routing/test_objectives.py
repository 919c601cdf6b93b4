import pytest

from fiso.domain.decision import Prediction
from fiso.routing.scoring import by_cost, within
from tests.builders import a_prediction, a_spread

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
