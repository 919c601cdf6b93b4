"""The canary's two promises, by simulation with a fixed seed: an equal copy stays, a worse one is stopped in time."""

from math import inf

import pytest

from fiso.domain.steering import Canary
from tests.lab.bench.canary import (
    ENDPOINT,
    EQUAL,
    ERRORS_20_POINTS_MORE,
    SLOWER_BY_20_PERCENT,
    Copies,
    Stopped,
    trials,
)

QUICK = Canary(endpoint=ENDPOINT, step_minutes=0, step_requests=40)
"""Steps of fewer requests than by default, to be quick; what is asked after every request is the same."""
DEFAULT = Canary(endpoint=ENDPOINT, step_minutes=0)


def test_an_equal_copy_is_stopped_in_at_most_5_percent_of_500_trials() -> None:
    assert trials(EQUAL, QUICK, 500).share <= 0.05


def test_a_copy_that_is_better_is_not_stopped() -> None:
    assert trials(Copies(errors_a=0.01, errors_b=0.05, slower=0.8), QUICK, 50).share == 0


@pytest.mark.parametrize(
    ("copies", "median", "tail"), [(SLOWER_BY_20_PERCENT, 5_000, 12_000), (ERRORS_20_POINTS_MORE, 500, 1_200)]
)
def test_a_copy_that_is_worse_by_20_percent_is_stopped_within_so_many_requests(
    copies: Copies, median: int, tail: int
) -> None:
    found = trials(copies, DEFAULT, 40)
    assert found.within(0.5) <= median
    assert found.within(0.95) <= tail


def test_a_canary_that_passed_counts_as_never_stopped() -> None:
    found = Stopped(requests=[10.0, inf, 30.0, 20.0])
    assert found.share == 0.75
    assert found.within(0.5) == 20.0
