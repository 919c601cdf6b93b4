"""State: what the stream has folded per function and endpoint, and what the next decision reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.steering import CanaryState
from fiso_client.core.conduct import Conduct

UNKNOWN_LATENCY_MS = 200.0
"""The recent mean of an endpoint that nothing is known of: that of the brief's generator."""
MOST_IN_FLIGHT = 10_000.0
"""Ten times what Lambda gives an account before it is asked for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLevel:
    """What an endpoint's answers came to at one level of load (`routing.levels.load_bucket`).

    `answers` counts all, `tries` those among them that were made to learn, and `tried_loss` is what these were expected
    to lose, in calls of the best candidate. `cold_share` is the weighted share of starts that idleness does not
    explain. The rest is of warm answers: `warm` how many since this level began (a sudden change begins it anew at
    `changed_at`), the weighted means of latency, its square, billed time and cost, and of the last few latencies alone
    (`recent_ms`).
    `above` are the shares of warm answers beyond multiples of the mean and `excess` what of the longest ones the mean
    leaves out, in means (`routing.tails`); None and 0 in states of older code.
    `raw_log` is the mean logarithm of what the model (`EndpointState.shape_model_version`) said of them.
    """

    answers: int = 0
    tries: int = 0
    tried_loss: float = 0.0
    cold_share: float = 0.0
    warm: int = 0
    latency_ms: float = 0.0
    latency_square: float = 0.0
    recent_ms: float = 0.0
    billed_ms: float | None = None
    cost_usd: float | None = None
    raw_log: float | None = None
    last_at: datetime | None = None
    changed_at: datetime | None = None
    above: tuple[float, ...] | None = None
    excess: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How an endpoint's answers compared with its siblings' to the same requests, since a version of the policy.

    `compared` counts comparisons, `differed` those in which it differed from the majority, `disputed` those of two that
    differ where nobody could say which is right. `first_*` is of the first difference that may be its own.
    `differed_by` is the hash of the tenant in whose requests alone it differed; empty for several's.
    """

    policy_version: int = 0
    compared: int = 0
    differed: int = 0
    disputed: int = 0
    first_id: str = ""
    first_place: str = ""
    first_at: datetime | None = None
    differed_by: str = ""


LATENCY_BOUNDS_MS = (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
"""Upper ends of the latencies' counts; the last count is of what is above. A change makes what is folded worthless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over the requests that an endpoint ended, for charts: they only grow, and are whole numbers, so that their
    order does not matter. Decisions do not read them, and what is reported under a lease is not among them.

    `requests` are all, `errors` ended in an error, `slow` took longer than their function's objective.
    `latencies` are counts of answers by LATENCY_BOUNDS_MS, `latency_us` their sum. `overheads` are records in which
    FISO's own time stands, `overhead_us` its sum. `foretold` are answers of which latency had been predicted
    (`routing.skill`), with the sums of how far off the prediction was, and the endpoint's recent mean.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    latency_us: int = 0
    latencies: tuple[int, ...] = ()
    overheads: int = 0
    overhead_us: int = 0
    foretold: int = 0
    error_us: int = 0
    mean_error_us: int = 0


NOTHING = Totals()


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthUse:
    """What was called of an endpoint in a calendar month (UTC; `year * 100 + month`), and in the one before: calls and
    billed seconds. A record that comes late counts in its own month while that is one of the two, else in none."""

    month: int
    calls: int = 0
    billed_s: float = 0.0
    calls_before: int = 0
    billed_s_before: float = 0.0

    def expected_at(self, now: datetime) -> tuple[float, float]:
        """What the present month comes to, at least: what was called in it, or in the last one."""
        return _expected(self, now, "calls"), _expected(self, now, "billed_s")

    def after(self, at: datetime, billed_s: float) -> "MonthUse":
        """One more call."""
        return _counted(self, at, calls=1, billed_s=billed_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthSent:
    """Bytes of the same two months: of requests that were sent to an endpoint, and of its answers. Apart from
    `MonthUse`, whose row code of before reads."""

    month: int
    requests: int = 0
    answers: int = 0
    requests_before: int = 0
    answers_before: int = 0

    def expected_at(self, now: datetime) -> tuple[float, float]:
        """As of `MonthUse`."""
        return _expected(self, now, "requests"), _expected(self, now, "answers")

    def after(self, at: datetime, *, request: int, answer: int) -> "MonthSent":
        """One more call."""
        return _counted(self, at, requests=request, answers=answer)


_Month = TypeVar("_Month", MonthUse, MonthSent)


def _expected(known: MonthUse | MonthSent, now: datetime, name: str) -> float:
    month, so_far = month_of(now), getattr(known, name)
    if known.month == month:
        return float(max(so_far, getattr(known, f"{name}_before")))
    return float(so_far) if _next(known.month) == month else 0.0


def _counted(known: _Month, at: datetime, **more: float) -> _Month:
    month = month_of(at)
    if month > known.month:
        is_next = _next(known.month) == month
        turned: dict[str, Any] = {f"{name}_before": getattr(known, name) if is_next else 0 for name in more}
        return replace(known, **{**turned, **more, "month": month})
    if month != known.month and _next(month) != known.month:
        return known
    names = more if month == known.month else {f"{name}_before": added for name, added in more.items()}
    grown: dict[str, Any] = {name: getattr(known, name) + added for name, added in names.items()}
    return replace(known, **grown)


def month_of(at: datetime) -> int:
    return at.year * 100 + at.month


def _next(month: int) -> int:
    return month + 89 if month % 100 == 12 else month + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantReports:
    """What one tenant reported of an endpoint that it called by itself, kept apart from what FISO saw.

    `tenant` is a short hash. `failed_in_row` counts its failures since an answer, the last at `last_failed_at`.
    `beside` is the mean logarithm of its answers over other tenants' (`routing.quorum`), None without a quorum.
    """

    tenant: str
    levels: Mapping[int, LoadLevel] = field(default_factory=dict)
    failed_in_row: int = 0
    last_at: datetime | None = None
    last_failed_at: datetime | None = None
    beside: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantAnswer:
    """What a tenant (a short hash) reported last of a copy that it called itself, at a level of load. `latency_ms` is
    of a good warm answer, None where it had none."""

    tenant: str
    bucket: int
    at: datetime
    latency_ms: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalShape:
    """Of a model on trial what `EndpointState.shape_*` and the levels' `raw_log` are of the champion: its own evidence,
    since a challenger that were given none would be tried below its worth, and one that took the champion's over would
    spoil that."""

    model_version: str
    xx: float = 0.0
    xy: float = 0.0
    raw_logs: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """Everything folded so far from the records of one endpoint of one function.

    `latency_ms` and `latency_deviation_ms` are exponentially weighted over the `warm_answers` (those that were no cold
    starts), `error_rate` over attempts. `levels` holds the same per level of load, with what a prediction needs.
    `arrival_interval_ms` is the weighted mean time between requests, from which the requests in flight follow by
    Little's law. `cold_latency_ms` and `cold_cost_usd` are weighted means over cold answers. `idle_calls` and
    `idle_colds` count the calls, and the cold ones among them, by how long the endpoint had been idle
    (`routing.levels.IDLE_BINS`). `shape_xx` and `shape_xy` are weighted sums over warm answers of how far the raw
    prediction of model `shape_model_version` lay from its level's mean, squared, and times how far the answer did
    (logarithms): their ratio says how much of what the model tells requests apart by is true; `rival` is the same of a
    model on trial. `equivalence` is there
    once an answer was compared, `conduct` (what its answers came to against its siblings') once one was folded with it,
    `canary` once it was tried as a new copy, and stays when that is over. `folded` counts records, `version` the
    writes.

    `answer_bytes` is the weighted mean size of good answers, as FISO saw them.

    `only_of` is the one tenant (a short hash) whose requests made all of this, empty where there were several, and in
    states of older code; `holds_reports` whether calls that it reported itself are among them. With several tenants
    everything here is what FISO saw, `reported` keeps apart what each of them said (`routing.reported`), and `said`
    what those that were heard last said last (`routing.quorum`). `totals` are of all its records since they are kept.
    `use` is what FISO called of it this month and the last, `sent` what data went there and came back; None where they
    were not kept yet. `verdicts` counts the attempts by whose fault they were, None before the first.
    """

    function: FunctionName
    endpoint: EndpointId
    version: int = 0
    folded: int = 0
    attempts: int = 0
    failures: int = 0
    failovers_from: int = 0
    consecutive_failures: int = 0
    latency_ms: float | None = None
    latency_deviation_ms: float = 0.0
    error_rate: float = 0.0
    arrival_interval_ms: float | None = None
    cold_starts: int = 0
    cold_known: int = 0
    cold_latency_ms: float | None = None
    cold_cost_usd: float | None = None
    cost_usd: float = 0.0
    last_called_at: datetime | None = None
    last_failed_at: datetime | None = None
    last_failure: str = ""
    warm_answers: int = 0
    levels: Mapping[int, LoadLevel] = field(default_factory=dict)
    idle_calls: tuple[int, ...] = ()
    idle_colds: tuple[int, ...] = ()
    shape_model_version: str = ""
    shape_xx: float = 0.0
    shape_xy: float = 0.0
    rival: RivalShape | None = None
    answer_bytes: float | None = None
    equivalence: Compared | None = None
    conduct: Conduct | None = None
    canary: CanaryState | None = None
    only_of: str = ""
    holds_reports: bool = False
    reported: tuple[TenantReports, ...] = ()
    said: tuple[TenantAnswer, ...] = ()
    totals: Totals = NOTHING
    use: MonthUse | None = None
    sent: MonthSent | None = None
    verdicts: Mapping[str, int] | None = None

    @property
    def in_flight(self) -> float:
        """Requests in flight by Little's law: arrival rate times mean latency. 0 while unknown.

        At most all calls there ever were, and MOST_IN_FLIGHT: calls that began in one millisecond have no interval.
        """
        if self.latency_ms is None or self.arrival_interval_ms is None:
            return 0.0
        most = min(float(self.attempts), MOST_IN_FLIGHT)
        return self.latency_ms / max(self.arrival_interval_ms, self.latency_ms / most) if most else 0.0
