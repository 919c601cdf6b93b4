"""The experiment on influence, with one run a figure; `python -m tests.lab influence` has them all."""

from statistics import fmean

import pytest

from tests.lab.influence import KINDS, MOST_RISE, MOST_SLOWER, play


@pytest.mark.parametrize("lie", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize(("liars", "tenants", "proxied"), [(1, 2, 0.0), (3, 8, 0.5), (3, 10, 0.0)])
def test_lies_cost_the_honest_next_to_nothing(lie: object, liars: int, tenants: int, proxied: float) -> None:
    assert callable(lie)
    quiet = play(honest=tenants - liars, proxied=proxied)
    lied = play(honest=tenants - liars, proxied=proxied, liars=liars, lie=lie)
    assert lied.charge_ms <= quiet.charge_ms * (1 + MOST_RISE)
    assert lied.met_open == 0


@pytest.mark.parametrize("tenants", [2, 10, 100])
def test_where_all_tenants_lease_they_learn_nearly_as_fast_as_from_all_together(tenants: int) -> None:
    together = fmean(play(honest=tenants, proxied=0.0, seed=seed, apart=False).charge_ms for seed in range(3))
    apart = fmean(play(honest=tenants, proxied=0.0, seed=seed).charge_ms for seed in range(3))
    assert apart <= together * (1 + MOST_SLOWER)
