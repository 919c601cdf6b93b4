"""Rollups: what had been counted of a function's endpoints when a minute ended. Counts only grow, so that what happened
in any span is one rollup less another: two reads, however many records lie between.
docs/decisions/0036-counts-by-the-minute.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

from fiso.domain.endpoint import EndpointId
from fiso.domain.state import LATENCY_BOUNDS_MS, EndpointState

NANO_USD = 1e-9
NO_LATENCIES = (0,) * (len(LATENCY_BOUNDS_MS) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Whole numbers of one endpoint, or of several together.

    `requests` it ended, `errors` and `slow` ones among them; `latency_us` and `latencies` (by LATENCY_BOUNDS_MS) of
    their answers; `overheads` and `overhead_us` of FISO's own time. `attempts` it was called, `failures` and
    `failovers` among them, `cold` of the `cold_known`, `cost_nano` in billionths of a dollar. `verdicts` counts
    attempts by whose fault they were.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    latency_us: int = 0
    overheads: int = 0
    overhead_us: int = 0
    attempts: int = 0
    failures: int = 0
    failovers: int = 0
    cold: int = 0
    cold_known: int = 0
    cost_nano: int = 0
    latencies: tuple[int, ...] = NO_LATENCIES
    verdicts: Mapping[str, int] = field(default_factory=dict)

    @property
    def cost_usd(self) -> float:
        return self.cost_nano * NANO_USD

    @property
    def answers(self) -> int:
        return sum(self.latencies)

    def plus(self, other: "Counts") -> "Counts":
        return self._with(other, 1)

    def since(self, earlier: "Counts | None") -> "Counts":
        """What came after; all of it where the earlier counts are of a state that was begun anew meanwhile."""
        if earlier is None or earlier.attempts > self.attempts or earlier.requests > self.requests:
            return self
        return self._with(earlier, -1)

    def _with(self, other: "Counts", sign: int) -> "Counts":
        plain = {name: max(0, getattr(self, name) + sign * getattr(other, name)) for name in PLAIN}
        pairs = zip(self.latencies, other.latencies, strict=True)
        names = self.verdicts.keys() | other.verdicts.keys()
        verdicts = {name: self.verdicts.get(name, 0) + sign * other.verdicts.get(name, 0) for name in names}
        return Counts(
            **plain,
            latencies=tuple(max(0, own + sign * others) for own, others in pairs),
            verdicts={name: count for name, count in verdicts.items() if count > 0},
        )


PLAIN = tuple(each.name for each in fields(Counts) if each.name not in ("latencies", "verdicts"))
NOTHING_COUNTED = Counts()

ByEndpoint = Mapping[EndpointId, Counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """Counts as they stood at the end of the minute that begins at `at`; `folded` records are in them.
    `ends_hour` where that minute was the last of its hour in which anything came."""

    at: datetime
    folded: int
    counts: ByEndpoint
    ends_hour: bool = False


def counts_of(state: EndpointState) -> Counts:
    """What an endpoint's state has counted."""
    totals = state.totals
    return Counts(
        requests=totals.requests,
        errors=totals.errors,
        slow=totals.slow,
        latency_us=totals.latency_us,
        overheads=totals.overheads,
        overhead_us=totals.overhead_us,
        attempts=state.attempts,
        failures=state.failures,
        failovers=state.failovers_from,
        cold=state.cold_starts,
        cold_known=state.cold_known,
        cost_nano=round(state.cost_usd / NANO_USD),
        latencies=totals.latencies if len(totals.latencies) == len(NO_LATENCIES) else NO_LATENCIES,
        verdicts=dict(state.verdicts or {}),
    )


def rollup_of(states: Mapping[EndpointId, EndpointState]) -> Rollup | None:
    """What is counted of a function now, under the minute of its newest call; None where it was never called."""
    newest = minute_of(states)
    if newest is None:
        return None
    counts = {endpoint: counts_of(state) for endpoint, state in states.items()}
    return Rollup(at=newest, folded=sum(state.folded for state in states.values()), counts=counts)


def minute_of(states: Mapping[EndpointId, EndpointState]) -> datetime | None:
    """The minute of the newest call among them."""
    newest = max((state.last_called_at for state in states.values() if state.last_called_at is not None), default=None)
    return newest.replace(second=0, microsecond=0) if newest is not None else None
