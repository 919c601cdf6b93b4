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
        left = budget.taken(is_urgent=True)
        budget, count = left or budget, count + (left is not None)
    assert 490 <= count <= 500


def test_a_new_environment_has_credit_that_its_first_requests_repay() -> None:
    first = HedgeBudget().taken(is_urgent=True)
    assert first is not None
    second = first.taken(is_urgent=True)
    assert second is not None
    for _ in range(int(FIRST_HEDGES / 0.05)):
        second = second.earned(0.05)
    assert second.taken(is_urgent=True) is None


def test_a_slow_tail_leaves_the_reserve_alone() -> None:
    budget = HedgeBudget()
    assert budget.taken(is_urgent=False) is None
    for _ in range(100):
        budget = budget.earned(0.05)
    assert budget.taken(is_urgent=False) is not None


def test_no_more_hedges_are_saved_up_than_a_burst() -> None:
    budget = HedgeBudget()
    for _ in range(10_000):
        budget = budget.earned(0.05)
    assert budget.tokens == MOST_HEDGES
