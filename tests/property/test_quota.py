"""Laws of quotas: whatever the arrivals, one environment never lets more pass than burst and inflow."""

from collections.abc import Callable
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.errors import QuotaExceeded
from fiso.domain.request import TenantId
from fiso.domain.stage_rules import TenantQuotas
from fiso.routing import quota
from fiso.routing.quota import Quota, Share
from fiso.services.identity.quotas import Quotas
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryTenantUse
from fiso_cli.inline_executor import Inline
from tests.builders import NOW

ALICE = TenantId("alice")
limits = st.builds(
    lambda per_s, burst: Quota(per_s=round(per_s, 6), burst=round(burst, 6)), st.floats(0.1, 200), st.floats(1, 200)
)
gaps = st.lists(st.floats(0, 3), min_size=1, max_size=80)


def everybodys(limit: Quota) -> Callable[[], TenantQuotas]:
    rules = TenantQuotas(default=f"{limit.per_s:.6f}/{limit.burst:.6f}")
    return lambda: rules


@given(limits, gaps, st.booleans())
def test_one_environment_never_lets_more_pass_than_flows_in(limit: Quota, gaps: list[float], shared: bool) -> None:
    clock = ManualClock()
    use = InMemoryTenantUse() if shared else None
    quotas = Quotas(everybodys(limit), use, clock=clock, executor=Inline())
    passed, elapsed_s = 0, 0.0
    for gap_s in gaps:
        clock.advance(gap_s)
        elapsed_s += gap_s
        try:
            quotas.admit(ALICE)
        except QuotaExceeded:
            continue
        quotas.await_pending()
        passed += 1
        assert passed <= limit.burst + limit.per_s * elapsed_s + 1e-3


@given(limits, gaps, st.integers(2, 5))
def test_several_environments_repay_what_they_let_pass_too_much(limit: Quota, gaps: list[float], many: int) -> None:
    clock, use = ManualClock(), InMemoryTenantUse()
    fleet = [Quotas(everybodys(limit), use, clock=clock, executor=Inline()) for _ in range(many)]
    passed, elapsed_s = 0, 0.0
    for turn, gap_s in enumerate(gaps * 2):
        clock.advance(gap_s)
        elapsed_s += gap_s
        try:
            fleet[turn % many].admit(ALICE)
        except QuotaExceeded:
            continue
        fleet[turn % many].await_pending()
        passed += 1
        # each environment can be behind by a burst at most; debts keep that from adding up
        assert passed <= (many + 1) * (limit.burst + 1) + limit.per_s * elapsed_s


@given(
    limits,
    st.builds(
        Share,
        balance=st.floats(-100, 200),
        at=st.just(NOW),
        spent=st.floats(0, 100),
        total=st.just(1.0),
        part=st.floats(quota.LEAST_PART, 1),
    ),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_waiting_longer_never_means_waiting_more(limit: Quota, share: Share, first_s: float, more_s: float) -> None:
    sooner, later = (NOW + timedelta(seconds=seconds) for seconds in (first_s, first_s + more_s))
    assert quota.wait_s(share, limit, later) <= quota.wait_s(share, limit, sooner) + 1e-6
