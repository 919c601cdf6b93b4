"""Quotas of tenants, shared between execution environments without a write per request.

Each environment spends from what it knows of a tenant's bucket. While a provider is awaited it adds what it spent to
one item per tenant and reads what all have spent. Without the table every environment goes on with its own part, and
where there is none each holds a tenant to the quota by itself.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial

from fiso.domain.errors import QuotaExceeded
from fiso.domain.request import TenantId
from fiso.domain.stage_rules import TenantQuotas
from fiso.ports import Clock, TenantUse
from fiso.routing import quota
from fiso.routing.quota import Quota, Share, Use
from fiso.services.freshness.cached import StoreWaitBudget, staleness_clock

EXCHANGE_S = 1.0
"""A tenant that sends steadily is exchanged this often by each environment, and sooner while it spends fast."""
SOONEST_S = 0.1
SPENT_PART = 0.1
"""Of the burst: an environment that spent this much does not wait for EXCHANGE_S."""
MOST_TENANTS = 1_000
"""Of which an environment remembers something; the one that was quiet for longest is forgotten first."""


def in_words(text: str) -> TenantQuotas:
    """Quotas as the stage's setting has them: words `per_s/burst` (everybody's) and `tenant=per_s/burst`. `ValueError`
    for anything else."""
    default: str | None = None
    tenants: dict[str, str] = {}
    for word in text.split():
        tenant, _, rule = word.rpartition("=")
        per_s, _, burst = rule.partition("/")
        rule = f"{float(per_s):.6f}/{float(burst):.6f}"  # the setting may say 1e3/2e3
        if tenant:
            tenants[tenant] = rule
        else:
            default = rule
    return TenantQuotas(default=default, tenants=tenants)


@lru_cache(maxsize=MOST_TENANTS)
def _parsed(text: str) -> Quota:
    per_s, _, burst = text.partition("/")
    return Quota(per_s=float(per_s), burst=float(burst))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    tenant: TenantId
    reported: float
    future: Future[Use]


class Quotas:
    """Holds tenants to their quotas in one execution environment, which serves one request at a time."""

    def __init__(
        self, rules: Callable[[], TenantQuotas], use: TenantUse | None, *, clock: Clock, executor: Executor
    ) -> None:
        self._rules, self._use, self._clock = rules, use, clock
        self._budget = StoreWaitBudget(executor, stopwatch=staleness_clock(clock))
        self._shares: OrderedDict[TenantId, Share] = OrderedDict()
        self._running: _Exchange | None = None

    def admit(self, tenant: TenantId) -> None:
        """Let one request of the tenant pass, or raise `QuotaExceeded`. Starts an exchange when one is due."""
        limit = self._limit(tenant)
        if limit is None:
            return
        self._adopt()
        now = self._clock()
        # an environment that never met the tenant lets one request pass, during which it hears of the others
        # (docs/decisions/0010-who-may-call.md)
        share = self._known(tenant, limit, now)
        wait_s = quota.wait_s(share, limit, now)
        if wait_s > 0:
            if share.spent + 1 > limit.burst:  # more than a full bucket covers: only an exchange makes it a debt
                self._start(tenant, limit, now)
            raise QuotaExceeded(
                f"the quota is {limit.per_s:g} requests a second", retry_after_s=max(1, math.ceil(wait_s))
            )
        self._spend(tenant, share)
        self._start(tenant, limit, now)

    def charge(self, tenant: TenantId, requests: int) -> None:
        """Count so many more requests of a tenant that was admitted, whatever is left: a debt holds the next ones."""
        share = self._shares.get(tenant)
        if share is not None and self._limit(tenant) is not None:
            self._spend(tenant, share, requests)

    def await_pending(self) -> None:
        """Let an exchange that was started end, while a request's budget lasts."""
        self._budget.renew()
        self._budget.await_pending()
        self._adopt()

    def _limit(self, tenant: TenantId) -> Quota | None:
        text = self._rules().of(tenant)
        return None if text is None else _parsed(text)

    def _known(self, tenant: TenantId, limit: Quota, now: datetime) -> Share:
        share = self._shares.get(tenant)
        if self._use is not None:
            return share or quota.fresh(now)
        return quota.alone(share, limit, now) if share else Share(balance=limit.burst, at=now)

    def _spend(self, tenant: TenantId, share: Share, requests: float = 1.0) -> None:
        share = quota.spend(share, requests)
        # with nobody to hear from, what was spent is a debt at once
        self._remember(tenant, quota.settled(share) if self._use is None else share)

    def _start(self, tenant: TenantId, limit: Quota, now: datetime) -> None:
        share = self._shares[tenant]
        elapsed_s = (now - share.at).total_seconds()
        is_fast = share.spent >= max(1.0, SPENT_PART * limit.burst) and elapsed_s >= SOONEST_S
        is_due = share.total is None or elapsed_s >= EXCHANGE_S or is_fast
        if self._use is None or self._running is not None or not is_due:
            return
        # after longer, others have seen the bucket since: what this one saw would put the balance back
        seen = share.seen if elapsed_s <= 2 * EXCHANGE_S else None
        future = self._budget.start("use of a tenant", partial(self._use.add, tenant, share.spent, seen))
        self._running = _Exchange(tenant=tenant, reported=share.spent, future=future)

    def _adopt(self) -> None:
        """Take an exchange that has ended. Whatever it raised, this environment goes on with its own part: the function
        may have run already, so nothing is raised here."""
        running = self._running
        if running is None or not running.future.done():
            return
        self._running = None
        share, limit = self._shares.get(running.tenant), self._limit(running.tenant)
        if share is None or limit is None:
            return
        now = self._clock()
        if running.future.exception() is None:
            share = quota.exchanged(share, limit, running.future.result(), reported=running.reported, now=now)
        else:
            share = quota.alone(share, limit, now)
        self._remember(running.tenant, share)

    def _remember(self, tenant: TenantId, share: Share) -> None:
        self._shares[tenant] = share
        self._shares.move_to_end(tenant)
        if len(self._shares) > MOST_TENANTS:
            self._shares.popitem(last=False)
