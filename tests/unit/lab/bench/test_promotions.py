"""What the retraining's verdicts promise, by simulation with a fixed seed; `make bench` has 500 trials of each."""

import pytest

from tests.lab.bench.promotions import promoted


@pytest.mark.parametrize(
    ("factor", "least", "most"),
    [(1.05, 0.0, 0.02), (1.0, 0.0, 0.05), (1 / 1.05, 0.8, 1.0)],
    ids=["worse by 5 %", "equal", "better by 5 %"],
)
def test_a_worse_challenger_is_hardly_ever_promoted_and_a_better_one_mostly(
    factor: float, least: float, most: float
) -> None:
    assert least <= promoted(factor, 100) <= most
