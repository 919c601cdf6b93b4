import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import tariff
from fiso.domain.decision import Prediction, Score
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Scoring, Weights
from fiso.routing.breaker import CLOSED, BreakerState
from fiso.routing.scoring import score
from fiso.routing.selection import choose, propensities
from tests.builders import NOW, an_endpoint
from tests.strategies import candidates, ids, unit

scorings = st.sampled_from(Scoring)
memory_mb = st.integers(128, 10_240)
call_counts = st.dictionaries(ids, st.integers(0, 10**6), max_size=6)
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


@given(candidates, scorings, call_counts, st.floats(0, 0.5), st.floats(0, 1, exclude_max=True))
def test_propensities_sum_to_one_and_exploration_stays_within_its_bound(
    predictions: list[Prediction], scoring: Scoring, calls: dict[EndpointId, int], exploration: float, draw: float
) -> None:
    chosen = choose(ranked(predictions, scoring), exploration=exploration, draw=draw, calls=calls)
    assert sum(chosen.propensities) == pytest.approx(1)
    assert min(chosen.propensities) >= 0
    assert sum(chosen.propensities[1:]) <= exploration + 1e-9
    assert chosen.propensities[chosen.chosen] > 0 or len(predictions) == 1


@given(st.lists(unit, min_size=1, max_size=4), st.integers(0, 2**32))
def test_propensities_match_the_frequencies_of_the_choice(values: list[float], seed: int) -> None:
    rng, rounds = random.Random(seed), 2000
    scores = [
        Score(endpoint=EndpointId(str(index)), value=value, terms={})
        for index, value in enumerate(sorted(values, reverse=True))
    ]
    counts = Counter(choose(scores, exploration=0.5, draw=rng.random(), calls={}).chosen for _ in range(rounds))
    for index, chance in enumerate(propensities(scores, exploration=0.5, calls={})):
        deviation = (rounds * chance * (1 - chance)) ** 0.5
        assert abs(counts[index] - rounds * chance) <= 6 * deviation + 1


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "throttle"]), st.floats(0, 60)), max_size=60))
def test_a_breaker_never_goes_from_open_to_closed_without_half_open(events: list[tuple[str, float]]) -> None:
    breaker, now = CLOSED, NOW
    for what, seconds in events:
        before = breaker.state(now)
        breaker = (
            breaker.after_success(now)
            if what == "ok"
            else breaker.after_failure(now, retry_after_s=1.0 if what == "throttle" else None)
        )
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
