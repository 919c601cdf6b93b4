from math import sqrt

import pytest

from fiso.domain.decision import Score
from fiso.domain.endpoint import EndpointId
from fiso.routing.selection import (
    FREE_TRIES,
    LATE_SHARE,
    LINEAR_REQUESTS,
    TRY,
    expected_gain,
    picked,
    propensities,
)


def score(value: float, name: str = "other", **changes: float) -> Score:
    fields: dict[str, object] = {"observations": 1_000.0, **changes}
    return Score(endpoint=EndpointId(name), value=value, terms={}, **fields)  # type: ignore[arg-type]


BEST = score(1.0, "best")
UNDIRECTED = LATE_SHARE * 0.1
"""The most that inverse-gap weighting takes of the requests below."""


def new(value: float, doubt: float = 0.5) -> Score:
    return score(value, observations=0, learnable=doubt, doubt=doubt, is_new=True)


def chances(*others: Score, exploration: float = 0.1, seen: float = 1000.0, unfolded: float = 0.0) -> list[float]:
    return list(propensities([BEST, *others], exploration=exploration, seen=seen, unfolded=unfolded))[1:]


def test_a_worse_candidate_is_called_the_more_rarely_the_further_it_is_behind() -> None:
    # half the score is twice the loss, a gap of 1: .2 * .1 / (1 * 2^2), worked by hand; a fifth is a gap of 4
    assert chances(score(0.5)) == pytest.approx([LATE_SHARE * 0.1 / 4])
    assert chances(score(0.2)) == pytest.approx([LATE_SHARE * 0.1 / 100])
    assert chances(score(1.0), score(1.0)) == pytest.approx([UNDIRECTED / 2] * 2)


def test_a_copy_never_called_that_may_pay_is_tried_as_soon_as_its_loss_is_earned_and_a_little_sooner() -> None:
    # a gap of 4, 2 + .1 * n earned, .5 for each of two copies; of hope there is enough
    assert chances(new(0.2, doubt=2.0), seen=9)[0] < UNDIRECTED
    assert chances(new(0.2, doubt=2.0), seen=11) == [TRY]


def test_one_of_which_little_is_expected_waits_until_its_worst_plausible_price_was_earned() -> None:
    # a gap of 1.5, at worst 2.5 * exp(2.33 * .2) - 1 = 2.984
    assert chances(new(0.4, doubt=0.2), seen=9)[0] < UNDIRECTED
    assert chances(new(0.4, doubt=0.2), seen=10) == [TRY]
    assert chances(new(0.4, doubt=2.0), seen=0) == [TRY]


def test_what_may_pay_goes_before_what_is_sure_not_to() -> None:
    near, hopeful = new(0.8, doubt=0.01), new(0.5, doubt=1.0)
    assert chances(near, hopeful) == [UNDIRECTED / 2, TRY]


def test_copies_never_called_are_tried_one_at_a_time_the_safest_first() -> None:
    wild, safe = new(0.9, doubt=2.0), new(0.7, doubt=0.3)
    assert chances(wild, safe)[1] == TRY
    assert chances(wild, safe)[0] < UNDIRECTED


def test_what_tries_lost_is_taken_off_what_was_earned() -> None:
    tried = score(0.5, tries=1, tried_loss=FREE_TRIES + 0.1 * 30)
    assert chances(tried, new(0.5, doubt=2.0), seen=24)[1] < UNDIRECTED  # 1.5 in advance, for three copies
    assert chances(tried, new(0.5, doubt=2.0), seen=26)[1] == TRY


def test_a_first_try_that_came_out_worse_than_expected_counts_for_what_it_lost() -> None:
    tried = score(0.1, tries=1, tried_loss=0.1)  # it is nine calls behind, as is known now
    assert chances(tried, new(0.5, doubt=2.0), seen=64)[1] < UNDIRECTED
    assert chances(tried, new(0.5, doubt=2.0), seen=66)[1] == TRY


def test_later_the_budget_grows_with_the_root_of_the_requests() -> None:
    earned = FREE_TRIES + 0.1 * sqrt(LINEAR_REQUESTS * 10_000)
    spent = score(0.1, tries=1, tried_loss=earned + 0.49)
    assert chances(spent, new(0.5, doubt=2.0), seen=10_000)[1] == TRY
    assert chances(spent, new(0.49, doubt=2.0), seen=10_000)[1] < UNDIRECTED


def test_a_known_candidate_is_tried_where_that_is_worth_its_price() -> None:
    unsure = score(0.5, learnable=1.0)
    assert chances(unsure) == [TRY]
    doubtful = score(0.5, learnable=0.3)  # a try loses 1 and is expected to save a thousandth per request
    assert chances(doubtful, seen=0)[0] < UNDIRECTED
    assert chances(doubtful, seen=3000) == [TRY]


def test_tries_are_at_most_the_policys_share_of_the_requests() -> None:
    near = score(0.999, learnable=0.3, tries=105, tried_loss=0.1)
    assert chances(near, seen=1000)[0] == UNDIRECTED
    assert chances(near, seen=1020)[0] == TRY


def test_where_many_requests_are_under_way_each_draws_a_try_more_rarely() -> None:
    assert chances(new(0.5), unfolded=9.0) == [TRY]
    assert chances(new(0.5), unfolded=100.0) == pytest.approx([TRY / 10])


def test_no_exploration_always_takes_the_best() -> None:
    assert propensities([BEST, new(1.0, 9.0)], exploration=0.0, seen=5) == (1.0, 0.0)
    assert picked(propensities([BEST, score(1.0)], exploration=0.0, seen=5), 0.999999) == 0


def test_a_candidate_without_any_score_is_never_chosen() -> None:
    assert chances(new(0.0, 9.0), exploration=0.5) == [0.0]


def test_the_expected_gain_is_the_price_of_a_put() -> None:
    # Black and Scholes at the money, deviation .2: N(0) - exp(.02) * N(-.2) = .5 - 1.0202013 * .4207403
    assert expected_gain(BEST, score(1.0, learnable=0.2)) == pytest.approx(0.0707608, abs=1e-6)
    assert expected_gain(BEST, score(1e-300, learnable=1.0)) == 0.0
