from fiso.routing.budget import FIRST_HEDGES, MOST_HEDGES, MOST_TRIES, TRIES_PER_S, HedgeBudget, TryBudget


def tries_in(seconds: int, asked_per_s: int = 50) -> int:
    budget, count = TryBudget(), 0
    for number in range(seconds * asked_per_s):
        left = budget.taken(number / asked_per_s)
        budget, count = left or budget, count + (left is not None)
    return count


def test_tries_are_a_burst_and_then_a_rate() -> None:
    assert 60 * TRIES_PER_S - 1 <= tries_in(60) <= MOST_TRIES + 60 * TRIES_PER_S


def test_hedges_are_a_share_of_requests() -> None:
    budget, count = HedgeBudget(), 0
    for _ in range(10_000):
        budget = budget.earned(0.05)
        left = budget.taken()
        budget, count = left or budget, count + (left is not None)
    assert 490 <= count <= 500 + FIRST_HEDGES


def test_no_more_hedges_are_saved_up_than_a_burst() -> None:
    budget = HedgeBudget()
    for _ in range(10_000):
        budget = budget.earned(0.05)
    assert budget.tokens == MOST_HEDGES
