"""A changed winner is found within the number of requests that docs/routing.md states, in generated worlds."""

import pytest

from tests.changes import Change, found_after, stated, world


@pytest.mark.parametrize(("change", "worlds"), [(Change.WINNER_SLOWS, 6), (Change.ANOTHER_WINS, 4)])
def test_a_changed_winner_is_found_within_the_stated_number_of_requests(change: Change, worlds: int) -> None:
    played = [world(change, seed, is_small=True) for seed in range(worlds)]
    late = [each.trace.name for seed, each in enumerate(played) if found_after(each, seed=seed) > each.stated]
    assert len(late) <= 1, late


def test_what_is_stated_grows_with_what_makes_looks_rare() -> None:
    usual = stated(Change.ANOTHER_WINS, copies=3, gap=0.5)
    assert usual == 100 + 40 * 2 * 1.125 / 0.05
    assert stated(Change.ANOTHER_WINS, copies=5, gap=0.5) > usual
    assert stated(Change.ANOTHER_WINS, copies=3, gap=1.0) > usual
    assert stated(Change.ANOTHER_WINS, copies=3, gap=0.5, exploration=0.1) < usual
    assert stated(Change.WINNER_SLOWS, copies=6, gap=2.0) == 60
