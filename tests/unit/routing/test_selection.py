import pytest

from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId
from fiso.routing.selection import GAMMA, choose, propensities

OFTEN = {EndpointId(f"e{index}"): 10**9 for index in range(3)}


def scores(*values: float) -> list[Score]:
    return [Score(endpoint=EndpointId(f"e{index}"), value=value, terms={}) for index, value in enumerate(values)]


def test_a_worse_candidate_is_tried_in_inverse_proportion_to_its_gap() -> None:
    # gap .1 of a best of 1.0: 1 / (2 + 200 * .1) = 1/22, worked by hand
    assert propensities(scores(1.0, 0.9), exploration=0.5, calls=OFTEN) == pytest.approx((21 / 22, 1 / 22), rel=1e-3)


def test_exploration_bounds_what_the_others_get_together() -> None:
    chances = propensities(scores(1.0, 1.0, 1.0), exploration=0.05, calls=OFTEN)
    assert chances == pytest.approx((0.95, 0.025, 0.025))


def test_no_exploration_always_takes_the_best() -> None:
    assert propensities(scores(1.0, 1.0), exploration=0.0, calls=OFTEN) == (1.0, 0.0)
    assert choose(scores(1.0, 1.0), exploration=0.0, draw=0.999999, calls={}).chosen == 0


def test_the_expected_loss_of_exploring_is_bounded_whatever_the_gap() -> None:
    for gap in (0.001, 0.01, 0.1, 0.5, 0.99):
        best, other = propensities(scores(1.0, 1.0 - gap), exploration=0.5, calls=OFTEN)
        assert other * gap <= 1 / GAMMA
        assert best > other


def test_the_draw_picks_by_the_propensities() -> None:
    choice = choose(scores(1.0, 0.9), exploration=0.5, draw=21.5 / 22, calls=OFTEN)
    assert choice.chosen == 1


def test_a_single_candidate_is_certain() -> None:
    assert choose(scores(0.3), exploration=0.5, draw=0.7, calls=OFTEN).propensities == (1.0,)


def test_a_candidate_that_was_never_called_is_tried_whatever_is_guessed_of_it() -> None:
    guessed_bad = scores(1.0, 0.5)
    never = propensities(guessed_bad, exploration=0.5, calls={EndpointId("e0"): 1000})
    known = propensities(guessed_bad, exploration=0.5, calls=OFTEN)
    assert never[1] == pytest.approx(0.5)
    assert known[1] < 0.01
