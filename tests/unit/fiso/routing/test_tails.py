"""Mean or percentile: what is kept of long answers, and what each policy makes of it."""

import random
from collections.abc import Callable
from math import exp
from statistics import fmean, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.state import LoadLevel
from fiso.routing import levels
from fiso.routing.tails import LARGEST_EXCESS, MULTIPLES, NO_TAIL, Tail, Tails
from tests.builders import NOW

Draw = Callable[[random.Random], float]


def folded(draw: Draw, count: int, *, seed: int = 1) -> tuple[LoadLevel, list[float]]:
    """A level after so many warm answers, and these."""
    rng, level, answers = random.Random(seed), LoadLevel(), list[float]()
    for _ in range(count):
        answers.append(draw(rng))
        level = levels.answered(level, is_cold=False, unexplained=1.0)
        level = levels.warmed(level, latency_ms=answers[-1], cost_usd=None, raw_log=None, at=NOW)
    return level, answers


def own(level: LoadLevel) -> Tail:
    return Tails([level]).of(level)


def steady(rng: random.Random) -> float:
    return 200 * exp(rng.gauss(0, 0.05))


def usual(rng: random.Random) -> float:
    return 100 * exp(rng.gauss(0, 0.4))


def rarely_long(rng: random.Random) -> float:
    return 10_000.0 if rng.random() < 0.025 else 100 * exp(rng.gauss(0, 0.05))


def often_long(rng: random.Random) -> float:
    return 1_500.0 if rng.random() < 0.1 else 100 * exp(rng.gauss(0, 0.05))


def minutes(rng: random.Random) -> float:
    return 60_000 * rng.paretovariate(2) if rng.random() < 0.01 else 300.0


@pytest.mark.parametrize("draw", [steady, usual, rarely_long, often_long, minutes])
def test_mean_and_percentile_are_those_of_the_answers(draw: Draw) -> None:
    means, percentiles = list[float](), list[float]()
    for seed in range(12):
        level, answers = folded(draw, 1_500, seed=seed)
        tail = own(level)
        means.append(level.latency_ms * tail.mean / fmean(answers))
        percentiles.append(level.latency_ms * tail.p95 / quantiles(answers, n=20)[-1])
    assert fmean(means) == pytest.approx(1.0, abs=0.45)  # an excess counts in part while it rests on few answers
    assert fmean(percentiles) == pytest.approx(1.0, abs=0.3)


def test_one_long_answer_is_hardly_evidence_against_its_copy() -> None:
    plain, _ = folded(lambda _: 100.0, 20)
    unlucky = levels.warmed(plain, latency_ms=30_000.0, cost_usd=None, raw_log=None, at=NOW)
    tails = Tails([plain, unlucky])
    assert unlucky.excess > 10
    assert 1 < tails.of(plain).mean < tails.of(unlucky).mean < 1.7


def test_a_copy_that_was_not_seen_is_expected_in_part_like_its_siblings() -> None:
    sibling, _ = folded(rarely_long, 1_000)
    tails = Tails([sibling])
    assert 1 < tails.of(None).mean < tails.of(sibling).mean
    assert tails.of(None).p95 == pytest.approx(tails.of(sibling).p95, rel=0.1)
    unseen = Tails([]).of(None)
    assert unseen.mean == 1.0
    assert unseen.p95 == pytest.approx(1.92, abs=0.02)


def test_a_state_of_older_code_leaves_it_to_the_variation() -> None:
    assert Tails([LoadLevel(warm=50, latency_ms=100.0)]).of(LoadLevel(warm=50, latency_ms=100.0)) == NO_TAIL


@given(st.lists(st.floats(0.1, 900_000), min_size=1, max_size=60))
def test_whatever_was_answered_tails_are_finite_and_in_order(answers: list[float]) -> None:
    level = LoadLevel()
    for latency_ms in answers:
        level = levels.answered(level, is_cold=False, unexplained=1.0)
        level = levels.warmed(level, latency_ms=latency_ms, cost_usd=None, raw_log=None, at=NOW)
    if len(answers) == 1:
        assert not level.above
        return
    assert level.above is not None
    assert list(level.above) == sorted(level.above, reverse=True)
    tail = own(level)
    assert 1 <= tail.mean <= 1 + LARGEST_EXCESS
    assert MULTIPLES[0] <= tail.p95 <= MULTIPLES[-1]
