"""Quotas: how much a tenant may send, as a token bucket that many execution environments spend from. Pure.

The bucket is one for all environments, but each knows it only as of its last exchange with the others (`Share.at`). In
between, it counts what it spends itself: of a full bucket it may spend all, of an empty one only the part of what flows
in that was its own lately. What was spent too much meanwhile is a debt that the next exchange shows, so that over time
a tenant gets its quota.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import sqrt

LEAST_PART = 0.02
"""An environment that spent nothing lately still gets a fiftieth, or it could never spend again."""
LONGEST_WAIT_S = 60.0
ROUNDING = 1e-9
"""The share of a burst that may be missing, or rounding would hold a full bucket of one token for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Requests per second over time, and how many at once after a pause."""

    per_s: float
    burst: float

    def __post_init__(self) -> None:
        if not (0 < self.per_s <= 1e6 and 1 <= self.burst <= 1e6):
            raise ValueError("a quota needs more than 0 requests a second and a burst of at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A tenant's bucket when `total` requests had passed: its tokens (below 0: a debt), and when that was."""

    balance: float
    at: datetime
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What all environments together have let pass: a count that only grows, and what one of them saw last."""

    total: float
    seen: Seen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One tenant's bucket as one environment knows it.

    `balance` the tokens at `at` (below 0: a debt); `spent` what this environment let pass since; `total` all
    environments' count at `at`, None before the first exchange; `part` this environment's part of what was spent then.
    """

    balance: float
    at: datetime
    spent: float = 0.0
    total: float | None = None
    part: float = 1.0

    @property
    def seen(self) -> Seen | None:
        """What others may start from."""
        return None if self.total is None else Seen(balance=self.balance, at=self.at, total=self.total)


def fresh(now: datetime) -> Share:
    """A bucket that is not known yet: one request, during which it gets known."""
    return Share(balance=1.0, at=now)


def wait_s(share: Share, quota: Quota, now: datetime) -> float:
    """Seconds until a request may pass; 0.0 when one may now.

    This environment has its part of the balance, and more of it the fuller the bucket is, all of a full one. One may
    pass when `balance * (part + (1 - part) * balance / burst)` covers what was spent here and one more.
    """
    balance = _balance(share, quota, now)
    missing = _enough(share, quota) - balance
    return 0.0 if missing <= ROUNDING * quota.burst else min(LONGEST_WAIT_S, missing / quota.per_s)


def _enough(share: Share, quota: Quota) -> float:
    """The balance with which a request may pass: the positive root of the sum above."""
    # Solved for the balance b: b * (part + (1 - part) * b / burst) = spent + 1 is a quadratic in b. Written with the
    # root in the denominator, it stays exact where `part` is 1 and the quadratic term is gone.
    needed, grows = share.spent + 1.0, (1.0 - share.part) / quota.burst
    return 2 * needed / (share.part + sqrt(share.part**2 + 4 * grows * needed))


def spend(share: Share, requests: float = 1.0) -> Share:
    return replace(share, spent=share.spent + requests)


def exchanged(share: Share, quota: Quota, use: Use, *, reported: float, now: datetime) -> Share:
    """The share after `reported` of what it spent was added to what all spent, and `use` came back.

    It starts from what was seen last, here or elsewhere. A count that fell means that the shared one was lost: what is
    known here then stands.
    """
    spent = share.spent - reported
    if share.total is not None and use.total < share.total:
        return replace(share, balance=_balance(share, quota, now) - reported, at=now, spent=spent, total=use.total)
    by_all = use.total - (share.total or 0.0)
    # Its part of what all spent since: an environment that serves more of a tenant may spend more of what flows in. The
    # parts of all sum to about 1 without anybody counting environments (docs/decisions/0010-who-may-call.md).
    part = share.part if share.total is None or by_all <= 0 else max(LEAST_PART, min(1.0, reported / by_all))
    seen = max((one for one in (share.seen, use.seen) if one), key=lambda one: one.at, default=None)
    # The newest view wins, whoever had it: each environment would otherwise replay its own, older history.
    balance = quota.burst - use.total if seen is None else _since(seen, quota, use.total, now)
    return Share(balance=min(quota.burst, balance), at=now, spent=spent, total=use.total, part=part)


def settled(share: Share) -> Share:
    """The share of the only environment there is: what it spent is gone from the bucket."""
    return replace(share, balance=share.balance - share.spent, spent=0.0)


def alone(share: Share, quota: Quota, now: datetime) -> Share:
    """The share after an exchange that failed: this environment goes on with its own part of what flows in."""
    elapsed_s = max(0.0, (now - share.at) / timedelta(seconds=1))
    balance = min(quota.burst, share.balance + quota.per_s * share.part * elapsed_s) - share.spent
    return replace(share, balance=balance, at=now, spent=0.0)


def _since(seen: Seen, quota: Quota, total: float, now: datetime) -> float:
    """The tokens after what flowed in and what passed since. What overflowed in between is not known and counts as in:
    an interval is about a second where it matters."""
    elapsed_s = max(0.0, (now - seen.at) / timedelta(seconds=1))
    return seen.balance + quota.per_s * elapsed_s - (total - seen.total)


def _balance(share: Share, quota: Quota, now: datetime) -> float:
    """The tokens there would be now if nobody had spent any since."""
    elapsed_s = max(0.0, (now - share.at) / timedelta(seconds=1))
    return min(quota.burst, share.balance + quota.per_s * elapsed_s)
