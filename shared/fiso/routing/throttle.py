"""Throttling: how much of its traffic an endpoint that answered 429 still gets. Pure: `now` is an argument.

A throttled endpoint works; it takes no more than so much. So its share is capped, not its breaker opened: at first to
DECREASE of what it answered lately, by DECREASE again when it throttles again, and up by GROWTH a second else (additive
increase would favour the fast; AIMD's multiplicative form as in Chiu and Jain 1989 converges on a fair share of what is
there). What the provider itself says (Retry-After) is kept to the second.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

DECREASE = 0.8
GROWTH = 0.02
"""Per second: after a decrease the old rate is tried again 11 s later."""
LEAST_PER_S = 0.2
"""A capped endpoint is still asked every 5 s."""
FORGET_S = 60.0
LONGEST_RETRY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCap:
    """A token bucket that grows: `rate_per_s` at `at`, `tokens` then, no call before `blocked_until`."""

    rate_per_s: float
    tokens: float
    at: datetime
    blocked_until: datetime
    throttled_at: datetime

    def admits(self, now: datetime) -> bool:
        """Whether a call may go there first; a clock that stepped back ends the cap."""
        if self.is_over(now):
            return True
        return now >= self.blocked_until and self._tokens(now) >= 1

    def is_over(self, now: datetime) -> bool:
        """Whether it throttled so long ago, or so far in the future, that it says nothing any more."""
        since_s = (now - max(self.throttled_at, self.blocked_until)).total_seconds()
        return since_s > FORGET_S or since_s < -LONGEST_RETRY_AFTER_S

    def after_call(self, now: datetime) -> "RateCap":
        """One call less to spend."""
        return replace(self, rate_per_s=self._rate(now), tokens=max(0.0, self._tokens(now) - 1), at=now)

    def after_throttled(self, now: datetime, retry_after_s: float) -> "RateCap":
        """Throttled again: a lower rate, at most one step a second."""
        is_same_moment = 0 <= (now - self.throttled_at).total_seconds() < 1
        return _cap(self._rate(now) * (1 if is_same_moment else DECREASE), now, retry_after_s)

    def _rate(self, now: datetime) -> float:
        grown_s = max(0.0, (now - max(self.at, self.blocked_until)).total_seconds())
        return self.rate_per_s * float((1 + GROWTH) ** min(grown_s, FORGET_S))

    def _tokens(self, now: datetime) -> float:
        waited_s = max(0.0, (now - max(self.at, self.blocked_until)).total_seconds())
        return min(max(1.0, self.rate_per_s), self.tokens + waited_s * self._rate(now))


def capped(answered_per_s: float, now: datetime, retry_after_s: float) -> RateCap:
    """A first cap, below what the endpoint answered lately."""
    return _cap(answered_per_s * DECREASE, now, retry_after_s)


def _cap(rate_per_s: float, now: datetime, retry_after_s: float) -> RateCap:
    return RateCap(
        rate_per_s=max(LEAST_PER_S, rate_per_s),
        tokens=1.0 if retry_after_s else 0.0,
        at=now,
        blocked_until=now + timedelta(seconds=min(retry_after_s, LONGEST_RETRY_AFTER_S)),
        throttled_at=now,
    )
