import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import tariff
from fiso.domain.decision import Prediction, Score
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Scoring, Weights
from fiso.routing.scoring import score
from fiso.routing.selection import LATE_SHARE, TRY, expected_gain, picked, propensities
from fiso_client.core.breaker import CLOSED, BreakerState
from tests.builders import NOW, an_endpoint
from tests.strategies import candidates

scorings = st.sampled_from(Scoring)
memory_mb = st.integers(128, 10_240)
duration_ms = st.floats(min_value=0, max_value=900_000)


def ranked(predictions: list[Prediction], scoring: Scoring) -> list[Score]:
    return score(predictions, {p.endpoint: 0.5 for p in predictions}, weights=Weights(), scoring=scoring)


@given(candidates, scorings, st.randoms(use_true_random=False))
def test_order_of_candidates_does_not_matter(
    predictions: list[Prediction], scoring: Scoring, rng: random.Random
) -> None:
    shuffled = rng.sample(predictions, len(predictions))
    assert ranked(shuffled, scoring) == ranked(predictions, scoring)


@given(candidates, scorings)
def test_a_dominated_candidate_never_ranks_above_its_dominator(predictions: list[Prediction], scoring: Scoring) -> None:
    better = predictions[0]
    worse = replace(better, endpoint=EndpointId(better.endpoint + "~"), latency_ms=better.latency_ms * 2)
    order = [s.endpoint for s in ranked([*predictions, worse], scoring)]
    assert order.index(better.endpoint) < order.index(worse.endpoint)


@given(candidates)
def test_relative_scores_lie_within_zero_and_one(predictions: list[Prediction]) -> None:
    assert all(0 <= s.value <= 1 + 1e-12 for s in ranked(predictions, Scoring.RELATIVE))


@st.composite
def scored(draw: st.DrawFn) -> list[Score]:
    """Scores, best first, of any certainty."""
    values = draw(st.lists(st.floats(0, 1e6), min_size=1, max_size=6))
    return [
        Score(
            endpoint=EndpointId(str(index)),
            value=value,
            terms={},
            learnable=draw(st.floats(0, 5)),
            observations=draw(st.floats(0, 1e4)),
            doubt=draw(st.floats(0, 5)),
            is_new=draw(st.booleans()),
        )
        for index, value in enumerate(sorted(values, reverse=True))
    ]


@given(scored(), st.floats(0, 0.5), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_propensities_sum_to_one_and_all_others_together_get_less_than_half(
    scores: list[Score], exploration: float, seen: float, draw: float
) -> None:
    chances = propensities(scores, exploration=exploration, seen=seen)
    assert sum(chances) == pytest.approx(1)
    assert min(chances) >= 0
    assert chances[picked(chances, draw)] > 0
    most = LATE_SHARE * exploration
    assert chances[0] >= 1 - TRY - most - 1e-9
    undirected = [chance for chance in chances[1:] if chance != TRY]
    gaps = [scores[0].value / score.value - 1 if score.value else inf for score in scores[1:]]
    lost = sum(c * gap for c, gap in zip(chances[1:], gaps, strict=True) if c != TRY and c)
    assert sum(undirected) <= most + 1e-9
    assert lost <= most + 1e-9


@given(scored(), st.floats(0, 0.5), st.floats(0, 1e6))
def test_no_try_is_due_that_costs_more_than_is_left_of_what_was_earned(
    scores: list[Score], exploration: float, seen: float
) -> None:
    spent = [replace(score, tries=2, tried_loss=1e9) for score in scores]
    assert all(chance != TRY for chance in propensities(spent, exploration=exploration, seen=seen))


@given(scored(), st.floats(0, 1e6), st.integers(0, 2**32))
def test_propensities_match_the_frequencies_of_the_choice(scores: list[Score], seen: float, seed: int) -> None:
    rng, rounds = random.Random(seed), 2000
    chances = propensities(scores, exploration=0.5, seen=seen)
    counts = Counter(picked(chances, rng.random()) for _ in range(rounds))
    for index, chance in enumerate(chances):
        deviation = (rounds * chance * (1 - chance)) ** 0.5
        assert abs(counts[index] - rounds * chance) <= 6 * deviation + 1


@given(scored(), st.floats(0, 2, exclude_min=True))
def test_the_gain_expected_of_a_candidate_grows_with_what_is_left_to_learn(scores: list[Score], more: float) -> None:
    best, other = scores[0], scores[-1]
    surer = expected_gain(best, other)
    assert 0 <= surer <= expected_gain(best, replace(other, learnable=other.learnable + more)) + 1e-9


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "refuse", "throttle"]), st.floats(0, 60)), max_size=60))
def test_a_breaker_never_goes_from_open_to_closed_without_half_open(events: list[tuple[str, float]]) -> None:
    breaker, now = CLOSED, NOW
    for what, seconds in events:
        before = breaker.state(now)
        if what == "ok":
            breaker = breaker.after_success(now)
        elif what == "throttle":
            breaker = breaker.after_throttled(now, retry_after_s=1.0)
        else:
            breaker = breaker.after_failure(now, cause="broken", draw=0.5, is_refusal=what == "refuse")
        after = breaker.state(now)
        assert (before, after) != (BreakerState.OPEN, BreakerState.CLOSED)
        now += timedelta(seconds=seconds)


@given(st.sampled_from(Provider), memory_mb, memory_mb, duration_ms, duration_ms)
def test_cost_never_falls_as_memory_or_duration_grows(
    provider: Provider, memory_a: int, memory_b: int, duration_a: float, duration_b: float
) -> None:
    small, large = sorted((memory_a, memory_b))
    short, long = sorted((duration_a, duration_b))
    prices = tariff.current()
    least = prices.cost_usd(an_endpoint(provider, memory_mb=small), short)
    most = prices.cost_usd(an_endpoint(provider, memory_mb=large), long)
    assert least is not None
    assert most is not None
    assert 0 < least <= most
