"""The laws of the tests: expectations computed over all outcomes, error rates over seeded trials."""

from collections.abc import Callable, Iterator
from itertools import product
from math import comb, exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso_client.core.sequential import ALPHA, Proportions, Ranks, log_mean

COUNTS = st.integers(0, 60)
SIZES = st.integers(1, 4)


def binomial(odd: int, n: int, p: float) -> float:
    return comb(n, odd) * p**odd * (1 - p) ** (n - odd)


@given(
    past_a=st.tuples(COUNTS, COUNTS),
    past_b=st.tuples(COUNTS, COUNTS),
    n_a=SIZES,
    n_b=SIZES,
    ratio=st.sampled_from([1.0, 1.05, 2.0]),
    p_b=st.floats(0, 1),
    shrink=st.floats(0, 1),
)
def test_a_blocks_factor_is_at_most_1_on_average_whenever_a_is_no_worse_whatever_came_before(
    past_a: tuple[int, int],
    past_b: tuple[int, int],
    n_a: int,
    n_b: int,
    ratio: float,
    p_b: float,
    shrink: float,
) -> None:
    p_a = min(1.0, ratio * p_b) * shrink
    before = Proportions(0.0, past_a[0], sum(past_a), past_b[0], sum(past_b))
    expected = sum(
        binomial(odd_a, n_a, p_a)
        * binomial(odd_b, n_b, p_b)
        * exp(before.with_block(odd_a, n_a, odd_b, n_b, ratio=ratio).log_e)
        for odd_a, odd_b in product(range(n_a + 1), range(n_b + 1))
    )
    assert expected <= 1 + 1e-9


def test_a_block_without_one_of_both_says_nothing_and_is_counted() -> None:
    assert Proportions().with_block(3, 5, 0, 0) == Proportions(0.0, 3, 5, 0, 0)
    assert Proportions().with_block(0, 0, 1, 7) == Proportions(0.0, 0, 0, 1, 7)


def test_a_copy_that_fails_alone_is_worse_within_five_blocks_of_three() -> None:
    seen = Proportions()
    for _ in range(5):
        seen = seen.with_block(1, 1, 0, 2)
    assert seen.is_worse()


def test_a_copy_that_fails_alone_after_thousands_of_good_answers_is_worse_within_eight_blocks() -> None:
    seen = Proportions().with_block(0, 10_000, 0, 20_000)
    for _ in range(8):
        seen = seen.with_block(1, 1, 0, 2)
    assert seen.is_worse()


def test_what_goes_wrong_everywhere_is_no_evidence() -> None:
    seen = Proportions()
    for _ in range(200):
        seen = seen.with_block(1, 1, 2, 2)
    assert seen.log_e <= 0


def test_ranks_are_even_on_average_for_values_that_are_exchangeable_ties_among_them() -> None:
    values = (1.0, 2.0, 2.0, 5.0)
    before = Ranks(blocks=10, total=6.0, squares=5.0)
    factors = [
        exp(before.with_block([values[i]], [v for j, v in enumerate(values) if j != i]).log_e)
        for i in range(len(values))
    ]
    assert sum(factors) / len(factors) == pytest.approx(1.0)


def test_the_margin_is_a_share_of_the_value() -> None:
    assert Ranks().with_block([104.0], [100.0], ratio=1.05).total == -1.0
    assert Ranks().with_block([106.0], [100.0], ratio=1.05).total == 1.0


def test_several_tests_share_one_alpha() -> None:
    assert log_mean(log(40), log(2)) == pytest.approx(log(21))
    assert log_mean(2_000.0, -2_000.0) == pytest.approx(2_000.0 - log(2))


def stopped_at(requests: Iterator[bool], most: int) -> int | None:
    return next((number for number, stops in zip(range(1, most + 1), requests, strict=False) if stops), None)


def errors(rng: Random, p_a: float, p_b: float, share: float) -> Iterator[bool]:
    test, block = Proportions(), [0, 0, 0, 0]
    while True:
        is_a = rng.random() < share
        at = 0 if is_a else 2
        block[at] += rng.random() < (p_a if is_a else p_b)
        block[at + 1] += 1
        if block[1] and block[3]:
            test, block = test.with_block(*block), [0, 0, 0, 0]
        yield test.is_worse()


def latencies(rng: Random, slower: float, share: float) -> Iterator[bool]:
    test, a, b = Ranks(), list[float](), list[float]()
    while True:
        value = rng.lognormvariate(0, 0.5)
        if rng.random() < share:
            a.append(slower * value)
        else:
            b.append(value)
        if a and b:
            test, a, b = test.with_block(a, b), [], []
        yield test.is_worse()


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize(
    "trial", [lambda rng, share: errors(rng, 0.05, 0.05, share), lambda rng, share: latencies(rng, 1.0, share)]
)
def test_an_equal_copy_is_called_worse_in_at_most_5_percent_of_trials_looked_at_after_every_request(
    trial: Callable[[Random, float], Iterator[bool]], share: float
) -> None:
    rng = Random(7)
    assert sum(stopped_at(trial(rng, share), 1_000) is not None for _ in range(200)) <= ALPHA * 200


def test_a_worse_copy_is_found() -> None:
    rng = Random(7)
    assert all(stopped_at(errors(rng, 0.25, 0.05, 0.5), 1_000) for _ in range(50))
    assert all(stopped_at(latencies(rng, 1.5, 0.5), 1_000) for _ in range(50))
