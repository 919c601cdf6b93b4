"""The experiment on influence, with one run a figure; `python -m tests.lab influence` has them all."""

import pytest

from tests.lab.influence import KINDS, MOST_RISE, MOST_SLOWER, play


@pytest.mark.parametrize("lie", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize(("liars", "tenants", "proxied"), [(1, 2, 0.0), (3, 8, 0.5)])
def test_lies_cost_the_honest_nothing(lie: object, liars: int, tenants: int, proxied: float) -> None:
    assert callable(lie)
    quiet = play(honest=tenants - liars, proxied=proxied)
    lied = play(honest=tenants - liars, proxied=proxied, liars=liars, lie=lie)
    assert lied.charge_ms <= quiet.charge_ms * (1 + MOST_RISE)
    assert lied.met_open == 0


def test_where_all_tenants_lease_they_learn_nearly_as_fast_as_from_all_together() -> None:
    together = play(honest=2, proxied=0.0, apart=False)
    assert play(honest=2, proxied=0.0).charge_ms <= together.charge_ms * (1 + MOST_SLOWER)
