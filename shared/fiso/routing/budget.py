"""Budgets: how many calls beyond one a request may cost. Pure: values in, values out; times in monotonic seconds.

Failing over to an endpoint with a closed breaker is free (a budget on it contradicts 99.99 %). Tokens are for what can
multiply load: tries at open breakers and of the same endpoint again (a rate), and hedges (a share of requests; Dean and
Barroso 2013 hedge after the 95th percentile for about 5 % more calls).
"""

from dataclasses import dataclass, replace

TRIES_PER_S, MOST_TRIES = 0.2, 3.0
"""Tries at open breakers, and retries of the same endpoint, that one environment may make. In a silent outage of all an
environment serves a request in two seconds: a rate above that would be no limit."""
FIRST_HEDGES, MOST_HEDGES = 2.0, 5.0
"""Hedges that a new environment has on credit, and that may be saved up by requests that needed none."""
RESERVE = 2.0
"""Hedges kept for calls that are far slower than a slow tail: a tail alone would use up every token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TryBudget:
    """A token bucket: TRIES_PER_S, at most MOST_TRIES."""

    tokens: float = MOST_TRIES
    at_s: float = 0.0

    def taken(self, now_s: float) -> "TryBudget | None":
        """What is left after one try; None when there is none to take."""
        tokens = min(MOST_TRIES, self.tokens + max(0.0, now_s - self.at_s) * TRIES_PER_S)
        return replace(self, tokens=tokens - 1, at_s=now_s) if tokens >= 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeBudget:
    """A share of requests: each request earns its share of a hedge, a hedge takes one whole. What an environment begins
    with is `owed` by its first requests, so that in the long run no more than the share is hedged."""

    tokens: float = FIRST_HEDGES
    owed: float = FIRST_HEDGES

    def earned(self, share: float) -> "HedgeBudget":
        """One more request was seen."""
        if self.owed > 0:
            return replace(self, owed=self.owed - share)
        return replace(self, tokens=min(MOST_HEDGES, self.tokens + share))

    def taken(self, *, is_urgent: bool) -> "HedgeBudget | None":
        """What is left after one hedge; None when there is none to take, or only the reserve and it is not urgent."""
        least = 1.0 if is_urgent else 1.0 + RESERVE
        return replace(self, tokens=self.tokens - 1) if self.tokens >= least else None
