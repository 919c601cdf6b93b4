import pytest

from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId
from fiso.routing.selection import UNDIRECTED, expected_gain, picked, propensities


def scores(*values: float, learnable: float = 0.0, observations: float = 1_000.0) -> list[Score]:
    return [
        Score(endpoint=EndpointId(f"e{index}"), value=value, terms={}, learnable=learnable, observations=observations)
        for index, value in enumerate(values)
    ]


def test_a_worse_candidate_is_tried_in_inverse_proportion_to_its_gap() -> None:
    # half the score is twice the loss, a gap of 1: .05 * .1 / 1, worked by hand
    assert propensities(scores(1.0, 0.5), exploration=0.1, seen=1000)[1] == pytest.approx(UNDIRECTED * 0.1)
    # a fifth of the score is a gap of 4
    assert propensities(scores(1.0, 0.2), exploration=0.1, seen=1000)[1] == pytest.approx(UNDIRECTED * 0.1 / 4)


def test_a_candidate_that_may_turn_out_better_is_tried_as_often_as_the_policy_allows() -> None:
    unsure = propensities(scores(1.0, 0.5, learnable=1.0), exploration=0.1, seen=1000)
    assert unsure[1] == pytest.approx(0.1, rel=1e-2)
    assert propensities(scores(1.0, 0.99, learnable=1.0), exploration=0.1, seen=1000)[1] == pytest.approx(0.5)


def test_what_was_not_spent_on_a_candidate_so_far_may_be_spent_now() -> None:
    # 9 calls of it among 49: (49 / 10) * .1 of a loss of 1
    some = propensities(scores(1.0, 0.5, learnable=2.0, observations=9.0), exploration=0.1, seen=49)
    assert some[1] == pytest.approx(0.49)
    never = propensities(scores(1.0, 0.5, learnable=2.0, observations=0.0), exploration=0.1, seen=49)
    assert never[1] == pytest.approx(0.5)


def test_the_same_doubt_is_not_worth_a_try_for_a_function_that_is_hardly_called() -> None:
    doubtful = scores(1.0, 0.5, learnable=0.3)  # a try loses 1 and is expected to save a thousandth per request
    assert propensities(doubtful, exploration=0.1, seen=0)[1] == pytest.approx(UNDIRECTED * 0.1)
    assert propensities(doubtful, exploration=0.1, seen=2000)[1] == pytest.approx(0.2, rel=1e-2)


def test_equal_candidates_that_are_known_well_get_a_small_share_each() -> None:
    chances = propensities(scores(1.0, 1.0, 1.0), exploration=0.05, seen=1000)
    assert chances == pytest.approx((0.95, 0.025, 0.025))


def test_no_exploration_always_takes_the_best() -> None:
    assert propensities(scores(1.0, 1.0, learnable=9.0), exploration=0.0, seen=5) == (1.0, 0.0)
    assert picked(propensities(scores(1.0, 1.0), exploration=0.0, seen=5), 0.999999) == 0


def test_a_candidate_without_any_score_is_never_chosen() -> None:
    assert propensities(scores(1.0, 0.0, learnable=9.0), exploration=0.5, seen=5) == (1.0, 0.0)


def test_the_expected_gain_is_the_price_of_a_put() -> None:
    # Black and Scholes at the money, deviation .2: N(0) - exp(.02) * N(-.2) = .5 - 1.0202013 * .4207403
    best, other = scores(1.0, 1.0, learnable=0.2)
    assert expected_gain(best, other) == pytest.approx(0.0707608, abs=1e-6)
    assert expected_gain(*scores(1.0, 1e-300, learnable=1.0)) == 0.0
