"""Throttling: how much of its traffic an endpoint that answered 429 still gets. Pure: `now` is an argument.

A throttled endpoint works; it takes no more than so much. So its share is capped, not its breaker opened: to DECREASE
of what it was for as long as the provider asked to be spared (Retry-After), and up by GROWTH a second from then on. Who
answered next to nothing lately is capped to next to nothing. What is over the cap goes to the next endpoint first, so a
cap costs a better place, never a request.

The constants were chosen in a simulation of 16 environments that share 10 requests a second of 50, with Retry-After 1:
0.84 of the capacity is used and one request in twelve is throttled first. Keeping away altogether for the time of
Retry-After used 0.78 at best.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

DECREASE = 0.9
GROWTH = 0.1
STEP_S = 1.0
"""At most one decrease in this time: what was under way was sent under the old cap."""
LEAST_PER_S = 0.2
"""A capped endpoint is still asked every 5 s."""
FORGET_S = 60.0
LONGEST_RETRY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCap:
    """A token bucket: `rate_per_s` until `spared_until`, then growing; `tokens` at `at`."""

    rate_per_s: float
    tokens: float
    at: datetime
    spared_until: datetime
    throttled_at: datetime

    def admits(self, now: datetime) -> bool:
        """Whether a call may go there first; a clock that stepped back ends the cap."""
        return self.is_over(now) or self._tokens(now) >= 1

    def is_over(self, now: datetime) -> bool:
        """Whether it throttled so long ago, or so far in the future, that it says nothing any more."""
        since_s = (now - max(self.throttled_at, self.spared_until)).total_seconds()
        return since_s > FORGET_S or since_s < -LONGEST_RETRY_AFTER_S

    def current_per_s(self, now: datetime) -> float:
        """The rate at a time."""
        grown_s = max(0.0, (now - self.spared_until).total_seconds())
        return self.rate_per_s * float((1 + GROWTH) ** min(grown_s, FORGET_S))

    def after_call(self, now: datetime) -> "RateCap":
        """One call less to spend."""
        return replace(self, tokens=max(0.0, self._tokens(now) - 1), at=now)

    def after_throttled(self, now: datetime, *, answered_per_s: float, retry_after_s: float) -> "RateCap":
        """Throttled again: a lower rate, one step at a time."""
        if 0 <= (now - self.throttled_at).total_seconds() < STEP_S:
            return self
        rate = min(self.current_per_s(now), 2 * answered_per_s)
        return capped(rate, now, retry_after_s=retry_after_s)

    def _tokens(self, now: datetime) -> float:
        rate = self.current_per_s(now)
        waited_s = max(0.0, (now - self.at).total_seconds())
        return min(max(1.0, rate), self.tokens + waited_s * rate)


def capped(rate_per_s: float, now: datetime, *, retry_after_s: float) -> RateCap:
    """A cap a little below this rate."""
    spared_s = min(max(1.0, retry_after_s), LONGEST_RETRY_AFTER_S)
    return RateCap(
        rate_per_s=max(LEAST_PER_S, rate_per_s * DECREASE),
        tokens=0.0,
        at=now,
        spared_until=now + timedelta(seconds=spared_s),
        throttled_at=now,
    )
