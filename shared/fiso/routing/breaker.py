"""Circuit breakers: whether an endpoint should be tried first, from what was seen of it lately.

closed     requests flow.
open       after CONSECUTIVE failures in a row; demoted to the end of the ranking, never removed, for a time that
           doubles with every trip in a row, up to LONGEST_S.
half_open  the time is over: the next request may try it first; success closes, failure opens again for twice the time.

A breaker never goes from open to closed without half_open. What all environments saw together is in the folded states:
an endpoint whose last CONSECUTIVE calls failed, whoever made them, is down (`is_down`), which means demoted and only
probed until one call succeeds. Pure: `now` is an argument.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fiso.domain.state import EndpointState

CONSECUTIVE = 5
"""Failures in a row that open a breaker (Envoy's and Linkerd's defaults are 5 and 7)."""
FIRST_S = 2.0
LONGEST_S = 30.0


class BreakerState(StrEnum):
    """The three states."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What a breaker remembers. `opened_until` is None while it never tripped since the last success."""

    failures_in_row: int = 0
    trips_in_row: int = 0
    opened_until: datetime | None = None

    def state(self, now: datetime) -> BreakerState:
        """The state at a time."""
        if self.opened_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.opened_until else BreakerState.HALF_OPEN

    def after_success(self, now: datetime) -> "Breaker":
        """A success closes it and forgets the trips; one seen while open (a last resort) ends the wait: half_open."""
        if self.state(now) is BreakerState.OPEN:
            return replace(self, opened_until=now)
        return CLOSED

    def after_failure(self, now: datetime, *, retry_after_s: float | None = None) -> "Breaker":
        """One more failure. A failing probe opens at once; a provider's own Retry-After counts as a trip."""
        failures = self.failures_in_row + 1
        probe_failed = self.state(now) is BreakerState.HALF_OPEN
        if not (probe_failed or failures >= CONSECUTIVE or retry_after_s is not None):
            return replace(self, failures_in_row=failures)
        wait_s = min(LONGEST_S, max(FIRST_S * 2**self.trips_in_row, retry_after_s or 0.0))
        return Breaker(
            failures_in_row=failures,
            trips_in_row=min(self.trips_in_row + 1, 10),
            opened_until=now + timedelta(seconds=wait_s),
        )


CLOSED = Breaker()


def is_down(state: EndpointState | None) -> bool:
    """Whether the last calls of all environments failed, CONSECUTIVE of them in a row."""
    return state is not None and state.consecutive_failures >= CONSECUTIVE
