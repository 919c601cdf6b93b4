"""Laws of what an operator can ask for: limits, tiers, strategies, the objective, control blocks."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.decision import Prediction, Score
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Weights
from fiso.domain.strategy import CandidateField, Condition, Operator, Strategy
from fiso.routing.constraints import is_control, limited, tail_ms, tiered
from fiso.routing.scoring import by_cost, score, within
from fiso.routing.selection import propensities
from fiso.routing.strategies import Candidate, adjusted, request_facts
from tests.builders import NOW, a_policy, a_request, a_spread, an_endpoint
from tests.strategies import candidates, ids, names, unit

tails = st.none() | st.floats(min_value=1, max_value=1000)
predicted = st.tuples(candidates, st.lists(tails, min_size=6, max_size=6)).map(
    lambda drawn: [
        replace(p, spread=None if tail is None else a_spread(tail)) for p, tail in zip(drawn[0], drawn[1], strict=False)
    ]
)
amounts = st.none() | st.floats(min_value=1e-9, max_value=1000)
objectives = st.floats(min_value=1, max_value=1000)
demotions = st.frozensets(ids, max_size=4)
places = st.dictionaries(ids, st.integers(0, 2), max_size=6)
shares = st.sampled_from([0.05, 0.1, 0.25, 0.5])
FACTS = request_facts(a_request(), function_type="text", now=NOW)


def tiers_of(place: dict[EndpointId, int]) -> list[frozenset[EndpointId]]:
    return [frozenset(e for e, n in place.items() if n == number) for number in sorted(set(place.values()))]


def weighted(predictions: list[Prediction]) -> list[Score]:
    return score(predictions, {p.endpoint: 0.5 for p in predictions}, weights=Weights(), scoring=a_policy().scoring)


def cheapest_within(predictions: list[Prediction], objective_ms: float) -> list[Score]:
    scores = by_cost(predictions, objective_ms=objective_ms)
    return within(scores, {p.endpoint: p for p in predictions}, objective_ms=objective_ms)


def shuffled(predictions: list[Prediction], seed: int) -> list[Prediction]:
    return random.Random(seed).sample(predictions, len(predictions))


def about_everybody(factor: float) -> Strategy:
    anybody = Condition(field=CandidateField.COLD_PROBABILITY, operator=Operator.AT_LEAST, values=(0.0,))
    return Strategy(name="everybody", candidates=frozenset({anybody}), factor=factor)


def with_factor(predictions: list[Prediction], factor: float) -> list[Score]:
    known = {p.endpoint: Candidate(endpoint=an_endpoint(id=p.endpoint), prediction=p) for p in predictions}
    return adjusted(weighted(predictions), [about_everybody(factor)], FACTS, known)


@given(predicted, st.tuples(amounts, amounts), demotions, st.integers())
def test_limits_depend_on_no_order_and_never_leave_nobody(
    predictions: list[Prediction],
    asked: tuple[float | None, float | None],
    deprioritised: frozenset[EndpointId],
    seed: int,
) -> None:
    policy = a_policy(max_p95_ms=asked[0], max_cost_usd=asked[1])
    found = limited(predictions, policy, deprioritised=deprioritised)
    again = limited(shuffled(predictions, seed), policy, deprioritised=deprioritised)
    assert found.kept
    assert {p.endpoint for p in found.kept} == {p.endpoint for p in again.kept}
    assert (set(found.exclusions), found.notes) == (set(again.exclusions), again.notes)
    assert len(found.kept) + len(found.exclusions) == len(predictions)
    if any(p.endpoint not in deprioritised for p in predictions):
        assert any(p.endpoint not in deprioritised for p in found.kept)


@given(predicted, amounts)
def test_a_limit_either_holds_for_all_who_are_left_or_is_noted(
    predictions: list[Prediction], slowest: float | None
) -> None:
    found = limited(predictions, a_policy(max_p95_ms=slowest))
    holds = slowest is None or all(tail_ms(p) <= slowest for p in found.kept)
    assert holds is not bool(found.notes)


@given(predicted, places, demotions, st.floats(0, 0.5))
def test_a_later_tier_never_gets_propensity_while_an_earlier_one_is_available(
    predictions: list[Prediction],
    place: dict[EndpointId, int],
    deprioritised: frozenset[EndpointId],
    exploration: float,
) -> None:
    scores = weighted(predictions)
    found = tiered(scores, tiers_of(place), deprioritised=deprioritised)
    available = [s.endpoint for s in scores if s.endpoint not in deprioritised] or [s.endpoint for s in scores]
    earliest = min(place.get(endpoint, 3) for endpoint in available)
    assert [s.endpoint for s in found.first] == [e for e in available if place.get(e, 3) == earliest]
    assert sum(propensities(found.first, exploration=exploration, seen=100.0)) == pytest.approx(1)
    assert sorted((*found.first, *found.behind), key=scores.index) == scores


@given(predicted)
def test_without_tiers_and_demotions_nothing_moves(predictions: list[Prediction]) -> None:
    assert tiered(weighted(predictions), ()).first == tuple(weighted(predictions))


@given(predicted, objectives, st.integers())
def test_the_objective_depends_on_no_order(predictions: list[Prediction], objective_ms: float, seed: int) -> None:
    assert cheapest_within(shuffled(predictions, seed), objective_ms) == cheapest_within(predictions, objective_ms)


@given(predicted, objectives)
def test_the_best_is_the_cheapest_that_keeps_the_objective_else_the_lowest_p95(
    predictions: list[Prediction], objective_ms: float
) -> None:
    by_id = {p.endpoint: p for p in predictions}
    best = by_id[cheapest_within(predictions, objective_ms)[0].endpoint]
    keeping = [p for p in predictions if tail_ms(p) <= objective_ms]
    if keeping:
        priced = [p.cost_usd for p in keeping if p.cost_usd is not None]
        assert tail_ms(best) <= objective_ms
        assert best.cost_usd == (min(priced) if priced else None)
    else:
        assert tail_ms(best) == min(map(tail_ms, predictions))


@given(predicted, objectives)
def test_who_misses_ranks_below_all_who_keep_it_by_p95(predictions: list[Prediction], objective_ms: float) -> None:
    by_id = {p.endpoint: p for p in predictions}
    scores = cheapest_within(predictions, objective_ms)
    ranked = [tail_ms(by_id[s.endpoint]) for s in scores]
    missed = [tail for tail in ranked if tail > objective_ms]
    assert missed == sorted(missed) == ranked[len(ranked) - len(missed) :]
    assert all(0 <= s.value <= 1 for s in scores)
    assert [s.value for s in scores] == sorted((s.value for s in scores), reverse=True)


@given(predicted, st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
def test_a_factor_for_everybody_multiplies_every_value_and_moves_nobody(
    predictions: list[Prediction], factor: float
) -> None:
    before = [(s.endpoint, s.value * factor) for s in weighted(predictions)]
    assert [(s.endpoint, s.value) for s in with_factor(predictions, factor)] == before


@given(predicted, st.floats(min_value=0.1, max_value=10), st.integers())
def test_strategies_depend_on_no_order(predictions: list[Prediction], factor: float, seed: int) -> None:
    assert with_factor(shuffled(predictions, seed), factor) == with_factor(predictions, factor)


@given(predicted, objectives, st.floats(min_value=0.1, max_value=10), st.integers(0, 5))
def test_no_strategy_lifts_a_candidate_past_one_that_keeps_the_objective(
    predictions: list[Prediction], objective_ms: float, factor: float, favoured: int
) -> None:
    likely = predictions[favoured % len(predictions)].endpoint
    marked = [replace(p, spread=a_spread(tail_ms(p), cold=1.0 if p.endpoint == likely else 0.0)) for p in predictions]
    asked = Condition(field=CandidateField.COLD_PROBABILITY, operator=Operator.AT_LEAST, values=(0.5,))
    strategy = Strategy(name="one", candidates=frozenset({asked}), factor=factor)
    known = {p.endpoint: Candidate(endpoint=an_endpoint(id=p.endpoint), prediction=p) for p in marked}
    scores = adjusted(by_cost(marked, objective_ms=objective_ms), [strategy], FACTS, known)
    placed = within(scores, {p.endpoint: p for p in marked}, objective_ms=objective_ms)
    keeps = [s.terms["within_objective"] for s in placed]
    assert keeps == sorted(keeps, reverse=True)


@given(names, shares, st.integers(60, 86_400))
def test_the_share_of_control_blocks_is_the_share_asked_for(function: str, share: float, block_s: int) -> None:
    blocks = 2000
    count = sum(
        is_control(function, NOW + timedelta(seconds=n * block_s), share=share, block_s=block_s) for n in range(blocks)
    )
    deviation = (blocks * share * (1 - share)) ** 0.5
    assert abs(count - blocks * share) <= 6 * deviation


@given(names, unit, st.integers(60, 86_400), st.integers(0, 10**6), unit)
def test_a_block_is_control_from_its_first_second_to_its_last_and_more_share_only_adds_blocks(
    function: str, share: float, block_s: int, number: int, within_block: float
) -> None:
    start = NOW - timedelta(seconds=NOW.timestamp() % block_s) + timedelta(seconds=number * block_s)
    inside = start + timedelta(seconds=int(within_block * (block_s - 1)))
    drawn = is_control(function, start, share=share, block_s=block_s)
    assert is_control(function, inside, share=share, block_s=block_s) is drawn
    assert is_control(function, start, share=min(1.0, share * 1.5 + 0.1), block_s=block_s) or not drawn
