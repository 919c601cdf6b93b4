"""Circuit breakers: whether an endpoint should be tried first, from what was seen of it lately.

closed     requests flow.
open       after CONSECUTIVE failures in a row, or RATE of at least LEAST_CALLS within WINDOW_S; deprioritised, never
           removed, for FIRST_S that double with every trip in a row up to LONGEST_S, by JITTER more or less so that
           environments do not ask all at once. A refusal (401, 403, 404: configuration) opens at once,
           for longer.
half_open  the time is over: one request tries it first, for the others, in all environments, it stays open meanwhile.
           An answer closes, a failure opens again.

A copy that comes back cold would not bear all requests at once: after it closed it gets a share of them that grows from
FIRST_SHARE to all, for as long as it was out, within LEAST_RETURN_S and LONGEST_RETURN_S (Envoy's slow start).

The shape is Linkerd's (`breaker/unified.rs`), the numbers are for 2 to 4 endpoints: Envoy's detectors by success rate
need 5 hosts. A breaker never goes from open to closed without half_open. Trips are forgotten FORGET_S after it closed,
so that an endpoint which flaps is out longer each time. Throttling opens nothing; it caps a share (`throttle`).
Pure: `now` is an argument; a clock that steps keeps nothing open for longer than a breaker ever would.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from fiso_client.core.throttle import RateCap, capped

CONSECUTIVE = 5
"""Failures in a row that open a breaker (Envoy's and Linkerd's defaults are 5 and 7)."""
LEAST_CALLS, RATE, WINDOW_S = 20, 0.5, 10
FIRST_S, LONGEST_S = 2.0, 30.0
REFUSED_FIRST_S, REFUSED_LONGEST_S = 30.0, 300.0
"""A wrong configuration lasts until somebody mends it."""
JITTER = 0.2
FORGET_S = 60.0
FIRST_SHARE, LEAST_RETURN_S, LONGEST_RETURN_S = 0.1, 2.0, 20.0
MOST_TRIPS = 10


class BreakerState(StrEnum):
    """The three states."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Second(NamedTuple):
    """What was seen within one second."""

    second: int
    calls: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What a breaker remembers. `opened_until` is None while closed; `probing_until` is set while one request finds out
    whether the endpoint is back. `changed_at` is when it last opened or closed or a probe began, `cause` the failure
    that opened it. `out_since` is when it first opened since it was last closed, `returned_at` when it last closed and
    `out_for_s` how long it had been out then."""

    failures_in_row: int = 0
    trips_in_row: int = 0
    opened_until: datetime | None = None
    probing_until: datetime | None = None
    changed_at: datetime | None = None
    cause: str = ""
    recent: tuple[Second, ...] = ()
    cap: RateCap | None = None
    out_since: datetime | None = None
    returned_at: datetime | None = None
    out_for_s: float = 0.0

    def state(self, now: datetime) -> BreakerState:
        """The state at a time."""
        if self.opened_until is None:
            return BreakerState.CLOSED
        if _is_ahead(self.opened_until, now) or (self.probing_until and _is_ahead(self.probing_until, now)):
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN

    def is_unavailable(self, now: datetime) -> bool:
        """Whether it should be tried after the others: open, or over its share."""
        return self.state(now) is BreakerState.OPEN or (self.cap is not None and not self.cap.admits(now))

    def share(self, now: datetime) -> float:
        """The largest share of requests that it gets now, in (0, 1]: less than 1 for a while after it closed."""
        if self.returned_at is None:
            return 1.0
        lasts_s = min(LONGEST_RETURN_S, max(LEAST_RETURN_S, self.out_for_s))
        past_s = (now - self.returned_at).total_seconds()
        # a clock that stepped back holds nothing down
        return float(FIRST_SHARE ** (1 - past_s / lasts_s)) if 0 <= past_s < lasts_s else 1.0

    def after_start(self, now: datetime, timeout_s: float) -> "Breaker":
        """A call begins. In half_open it is the probe, and the others wait for what it finds."""
        started = self
        if self.state(now) is BreakerState.HALF_OPEN:
            started = replace(self, probing_until=now + timedelta(seconds=timeout_s), changed_at=now)
        return started if started.cap is None else replace(started, cap=_spent(started.cap, now))

    def after_success(self, now: datetime) -> "Breaker":
        """An answer. It closes a breaker that was half open; one seen while open (a last resort) half-opens it."""
        recent = counted(self.recent, now, is_failure=False)
        if self.opened_until is None:
            return Breaker(  # what `replace` does, at half of its cost: once a request
                trips_in_row=self.trips_in_row,
                changed_at=self.changed_at,
                recent=recent,
                cap=self.cap,
                returned_at=self.returned_at,
                out_for_s=self.out_for_s,
            )
        if self.probing_until is None and self.state(now) is BreakerState.OPEN:
            return replace(self, opened_until=now, recent=recent)
        out_for_s = (now - (self.out_since or self.changed_at or now)).total_seconds()
        return Breaker(
            trips_in_row=self.trips_in_row, changed_at=now, cap=self.cap, returned_at=now, out_for_s=out_for_s
        )

    def after_failure(self, now: datetime, *, cause: str, draw: float, is_refusal: bool = False) -> "Breaker":
        """One more failure. A failing probe and a refusal open at once. `draw` in [0, 1) is for the jitter."""
        recent = counted(self.recent, now, is_failure=True)
        counting = replace(self, failures_in_row=self.failures_in_row + 1, recent=recent)
        is_probe = self.opened_until is not None and (
            self.probing_until is not None or self.state(now) is BreakerState.HALF_OPEN
        )
        is_open = self.opened_until is not None and not is_probe
        if is_open or not (is_probe or is_refusal or _has_failed_enough(counting)):
            return counting
        return counting.tripped(now, cause=cause, draw=draw, is_refusal=is_refusal)

    def tripped(self, now: datetime, *, cause: str, draw: float, is_refusal: bool = False) -> "Breaker":
        """Open, for longer than the time before."""
        trips = 0 if self.is_forgotten(now) else self.trips_in_row
        first_s, longest_s = (REFUSED_FIRST_S, REFUSED_LONGEST_S) if is_refusal else (FIRST_S, LONGEST_S)
        wait_s = min(longest_s, first_s * 2**trips) * (1 + JITTER * (2 * draw - 1))
        return Breaker(
            failures_in_row=self.failures_in_row,
            trips_in_row=min(trips + 1, MOST_TRIPS),
            opened_until=now + timedelta(seconds=wait_s),
            changed_at=now,
            cause=cause,
            cap=self.cap,
            out_since=now if self.opened_until is None else self.out_since or self.changed_at,
        )

    def half_opened(self, now: datetime) -> "Breaker":
        """End the wait, if it is open: others saw it answer."""
        is_open = self.state(now) is BreakerState.OPEN
        return replace(self, opened_until=now, probing_until=None) if is_open else self

    def as_others_see_it(self) -> "Breaker":
        """While a probe is under way it is open to all who do not make it."""
        is_later = self.opened_until and self.probing_until and self.opened_until < self.probing_until
        return replace(self, opened_until=self.probing_until, probing_until=None) if is_later else self

    def after_throttled(self, now: datetime, *, retry_after_s: float | None) -> "Breaker":
        """Throttled: a smaller share. It opens nothing and ends no row of failures; a throttled probe is undecided."""
        wait_s = retry_after_s or 0.0
        known = None if self.cap is None or self.cap.is_over(now) else self.cap
        answered = _answered_per_s(self.recent, now)
        cap = (
            known.after_throttled(now, answered_per_s=answered, retry_after_s=wait_s)
            if known
            else capped(answered, now, retry_after_s=wait_s)
        )
        return replace(self.after_nothing(now), cap=cap)

    def after_nothing(self, now: datetime) -> "Breaker":
        """A call that said nothing of the endpoint. If it was the probe, somebody else finds out, here or elsewhere."""
        return replace(self, probing_until=None, changed_at=now) if self.probing_until else self

    def is_forgotten(self, now: datetime) -> bool:
        """Whether earlier trips count no more: it has been closed for long."""
        if self.opened_until is not None or self.changed_at is None:
            return self.changed_at is None
        return not _is_ahead(self.changed_at + timedelta(seconds=FORGET_S), now)


CLOSED = Breaker()


def counted(recent: tuple[Second, ...], now: datetime, *, is_failure: bool) -> tuple[Second, ...]:
    """The last WINDOW_S seconds with one more call."""
    second = int(now.timestamp())
    if recent and recent[-1].second == second:
        last = recent[-1]
        return (*recent[:-1], Second(second, last.calls + 1, last.failures + is_failure))
    kept = tuple(seen for seen in recent if second - WINDOW_S < seen.second < second)
    return (*kept, Second(second, 1, int(is_failure)))


def _has_failed_enough(breaker: Breaker) -> bool:
    if breaker.failures_in_row >= CONSECUTIVE:
        return True
    calls = sum(second.calls for second in breaker.recent)
    return calls >= LEAST_CALLS and sum(second.failures for second in breaker.recent) >= RATE * calls


def _answered_per_s(recent: tuple[Second, ...], now: datetime) -> float:
    """Answers a second, over the time that the window covers so far."""
    if not recent:
        return 0.0
    span_s = min(WINDOW_S, max(1.0, now.timestamp() - recent[0].second))
    return sum(seen.calls - seen.failures for seen in recent) / span_s


def _spent(cap: RateCap, now: datetime) -> RateCap | None:
    return None if cap.is_over(now) else cap.after_call(now)


def _is_ahead(moment: datetime, now: datetime) -> bool:
    """Whether a moment is still to come, and no further away than any that a breaker sets: a clock may step back."""
    return now < moment <= now + timedelta(seconds=REFUSED_LONGEST_S * (1 + JITTER))
