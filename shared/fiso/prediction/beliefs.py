"""Beliefs: what the folded states say of every copy of a function at its load, and how surely. Standard library only.

    published facts -> what was seen of this copy and its siblings, level by level -> warm latency, bill, cold start

The variances are the spread that copies of one function are expected to have. They were chosen by argument and held
against generated worlds (processor-bound and not, steady, drifting, heavy-tailed, under load); they are fitted to no
measured trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, log
from typing import NamedTuple

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.domain.state import EndpointState, LoadLevel
from fiso.prediction import facts
from fiso.prediction.facts import round_trip_ms
from fiso.prediction.kinship import Kinship, Pool, Seen, Spot
from fiso.routing import levels
from fiso.routing.levels import decay

SMALLNESS_SLOPE = 0.8
"""A copy with half a processor is expected to take 2**0.8 times as long: part of most functions' time is waiting."""
COLD_SMALLNESS_SLOPE = 0.5
LATENCY = Kinship(
    function=2.0,
    provider=0.3,
    smallness=0.35,
    endpoint=0.25,
    level=0.15,
    load={Provider.AWS: 0.1, Provider.AZURE: 0.3, Provider.GCP: 0.1},
)
BILL = Kinship(function=0.2, provider=0.35, smallness=0.0, endpoint=0.2, level=0.1, load=dict.fromkeys(Provider, 0.15))
START = Pool(shared=1.0, own=0.35)
START_NOISE = 0.5
"""The variance of one start's logarithm: a factor 2 either way."""
MOST_ANSWERS = 2 / levels.SLOWEST_WEIGHT
"""How many answers a mean with the slowest weight is worth."""
LEVELS_PER_ENDPOINT = 3
POOLED_CALLS = 30.0
"""How many of a copy's calls the cold share of all copies at its load counts for: a burst starts instances everywhere.
"""
UNSEEN_CALLS = 10.0
"""How many calls the usual absence of starts under steady load counts for."""
LONGEST_TRUST_S = 21_600.0
SHORTEST_TRUST_S = 60.0
"""What was seen fades over six hours; after a sudden change it is trusted for about as long as the change has lasted,
so that an endpoint that broke down is asked again, at growing intervals."""
LEAST_START_MS = 20.0
LEAST_SPENT = 0.2
"""A way is not believed to leave less than this share of a latency: published round trips are medians."""
MOST_STARTS = 20
LEAST_BILLED_SHARE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is expected of one copy at its load. Variances are of logarithms, against the best known copy.

    `variation` is the coefficient of variation of a single warm answer, `answers` the warm ones behind it,
    `busy_cold` the chance of a start that idleness does not explain. `warm_usd` and `start_usd` are None without a
    price. `raw_log` is what the model said of these answers on average, None where it said nothing yet.
    """

    warm_ms: float
    warm_variance: float
    variation: float
    answers: float
    busy_cold: float
    start_ms: float
    start_variance: float
    warm_usd: float | None
    usd_variance: float
    start_usd: float | None
    raw_log: float | None


def beliefs(
    endpoints: Sequence[Endpoint],
    states: Mapping[EndpointId, EndpointState],
    *,
    loads: Sequence[float],
    tariff: Tariff,
    now: datetime,
    router_region: str | None = None,
) -> list[Belief]:
    """One belief per endpoint, each asked at its own load (requests in flight).

    What is published of the way from the router's region to an endpoint's is taken off before copies are compared, and
    put on again: a far copy is no slower processor. Without a region nothing is taken off.
    """
    asked = [
        Spot(endpoint=endpoint, bucket=levels.load_bucket(load))
        for endpoint, load in zip(endpoints, loads, strict=True)
    ]
    ways_ms = [_way_ms(endpoint, states.get(endpoint.id), router_region) for endpoint in endpoints]
    known = _Known(asked, ways_ms, states, tariff, now)
    return [known.belief(index) for index in range(len(asked))]


class _Level(NamedTuple):
    """One level that was seen: its time without the way, and the variance of that time's logarithm."""

    spot: Spot
    level: LoadLevel
    spent_ms: float
    noise: float


class _Known:
    """Everything that is seen of the copies, and what follows from it for the spots asked for."""

    def __init__(
        self,
        asked: Sequence[Spot],
        ways_ms: Sequence[float],
        states: Mapping[EndpointId, EndpointState],
        tariff: Tariff,
        now: datetime,
    ) -> None:
        self._asked, self._states, self._tariff = asked, states, tariff
        self._levels = [
            seen
            for spot, way_ms in zip(asked, ways_ms, strict=True)
            for seen in _levels_near(spot, states.get(spot.endpoint.id), way_ms, now)
        ]
        residuals = [Seen(s.spot, log(s.spent_ms) - _prior_log_ms(s.spot), s.noise) for s in self._levels]
        self._warm = LATENCY.expected(asked, residuals)
        self._spent_ms = [
            exp(_prior_log_ms(spot) + warm.residual) for spot, warm in zip(asked, self._warm, strict=True)
        ]
        # The way is taken off before copies are compared and put on again here: a far copy is no slower processor, and
        # its distance must not pass for a property that its siblings share
        # (docs/decisions/0005-prediction-in-layers.md).
        self._warm_ms = [spent_ms + way_ms for spent_ms, way_ms in zip(self._spent_ms, ways_ms, strict=True)]
        self._pooled_cold = _pooled_cold(asked, states)
        self._starts = START.expected([self._seen_start(index) for index in range(len(asked))])
        self._start_ms = [
            exp(_prior_log_start(spot) + start.residual) for spot, start in zip(asked, self._starts, strict=True)
        ]
        self._bills = BILL.expected(asked, self._seen_bills())
        self._warm_usd = [self._billed(index) for index in range(len(asked))]
        self._start_bills = START.expected([self._seen_start_bill(index) for index in range(len(asked))])

    def belief(self, index: int) -> Belief:
        spot = self._asked[index]
        state = self._states.get(spot.endpoint.id)
        level = state.levels.get(spot.bucket) if state else None
        warm, start = self._warm[index], self._starts[index]
        return Belief(
            warm_ms=self._warm_ms[index],
            warm_variance=warm.variance * (self._spent_ms[index] / self._warm_ms[index]) ** 2,
            variation=levels.variation(level) if level and level.warm else levels.USUAL_VARIATION,
            answers=float(level.warm) if level else 0.0,
            busy_cold=self._busy_cold(level),
            start_ms=self._start_ms[index],
            start_variance=start.variance,
            warm_usd=self._warm_usd[index],
            usd_variance=self._bills[index].variance + (0.0 if level and level.warm else warm.variance),
            start_usd=self._start_usd(index),
            raw_log=level.raw_log if level else None,
        )

    def _busy_cold(self, level: LoadLevel | None) -> float:
        answers = min(float(level.answers), MOST_ANSWERS) if level else 0.0
        share = level.cold_share if level else 0.0
        return (share * answers + self._pooled_cold * POOLED_CALLS) / (answers + POOLED_CALLS)

    def _seen_start(self, index: int) -> tuple[float, float] | None:
        """What this copy's own cold starts added to a warm call, against the published time; and its noise."""
        spot = self._asked[index]
        state = self._states.get(spot.endpoint.id)
        if state is None or state.cold_latency_ms is None:
            return None
        extra_ms = max(LEAST_START_MS, state.cold_latency_ms - self._warm_ms[index])
        return log(extra_ms) - _prior_log_start(spot), START_NOISE / min(state.cold_starts, MOST_STARTS)

    def _listed(self, spot: Spot, warm_ms: float) -> float | None:
        """The tariff's price of the time a call takes alone: waiting for an instance is not billed."""
        return self._tariff.cost_usd(spot.endpoint, warm_ms / facts.slowdown(spot.endpoint.provider, 2**spot.bucket))

    def _seen_bills(self) -> list[Seen]:
        seen = []
        for spot, level, spent_ms, noise in self._levels:
            listed = self._listed(spot, spent_ms)
            if level.cost_usd and listed:
                seen.append(Seen(spot, log(level.cost_usd / listed), noise))
        return seen

    def _billed(self, index: int) -> float | None:
        listed = self._listed(self._asked[index], self._spent_ms[index])
        return None if listed is None else listed * exp(self._bills[index].residual)

    def _listed_start(self, index: int) -> float | None:
        return self._tariff.start_usd(self._asked[index].endpoint, self._start_ms[index])

    def _seen_start_bill(self, index: int) -> tuple[float, float] | None:
        state, warm_usd = self._states.get(self._asked[index].endpoint.id), self._warm_usd[index]
        if state is None or state.cold_cost_usd is None or warm_usd is None:
            return None
        listed = self._listed_start(index)
        if not listed:
            return None
        ratio = max(LEAST_BILLED_SHARE, (state.cold_cost_usd - warm_usd) / listed)
        return log(ratio), START_NOISE / min(state.cold_starts, MOST_STARTS)

    def _start_usd(self, index: int) -> float | None:
        listed = self._listed_start(index)
        return None if listed is None else listed * exp(self._start_bills[index].residual)


def _levels_near(spot: Spot, state: EndpointState | None, way_ms: float, now: datetime) -> list[_Level]:
    """The levels of a copy nearest to the load asked for; far ones say little that those do not."""
    if state is None:
        return []
    known = sorted(
        ((abs(bucket - spot.bucket), bucket, level) for bucket, level in state.levels.items() if level.warm),
        key=lambda item: item[:2],
    )
    return [_level(Spot(spot.endpoint, bucket), level, way_ms, now) for _, bucket, level in known[:LEVELS_PER_ENDPOINT]]


def _way_ms(endpoint: Endpoint, state: EndpointState | None, router_region: str | None) -> float:
    """The published round trip, as far as what was seen of the copy leaves room for it."""
    published_ms = round_trip_ms(router_region, endpoint.region)
    if not published_ms or state is None:
        return published_ms
    seen_ms = [level.latency_ms for level in state.levels.values() if level.warm]
    return min([published_ms, *((1 - LEAST_SPENT) * latency_ms for latency_ms in seen_ms)])


def _level(spot: Spot, level: LoadLevel, way_ms: float, now: datetime) -> _Level:
    spent_ms = level.latency_ms - way_ms
    return _Level(spot, level, spent_ms, _noise(level, now) * (level.latency_ms / spent_ms) ** 2)


def _noise(level: LoadLevel, now: datetime) -> float:
    """The variance of the logarithm of a level's mean; it grows as the level ages."""
    trust_s = LONGEST_TRUST_S
    if level.changed_at is not None and level.last_at is not None:
        # After a change the new mean is trusted for about as long as it has held: what just broke down is asked again
        # soon, what has been down for long more rarely.
        trust_s = min(trust_s, max(SHORTEST_TRUST_S, (level.last_at - level.changed_at).total_seconds()))
    age_s = (now - level.last_at).total_seconds() if level.last_at else 0.0
    answers = min(float(level.warm), MOST_ANSWERS) * max(1e-6, decay(age_s, trust_s))
    return levels.variation(level) ** 2 / answers


def _pooled_cold(asked: Sequence[Spot], states: Mapping[EndpointId, EndpointState]) -> float:
    """The share of starts among the answers of all copies, each at the load it is asked at."""
    answers = cold = 0.0
    for spot in asked:
        state = states.get(spot.endpoint.id)
        level = state.levels.get(spot.bucket) if state else None
        if level is not None:
            weight = min(float(level.answers), MOST_ANSWERS)
            answers, cold = answers + weight, cold + weight * level.cold_share
    return cold / (answers + UNSEEN_CALLS)


def _prior_log_ms(spot: Spot) -> float:
    slowdown = facts.slowdown(spot.endpoint.provider, 2**spot.bucket)
    return log(facts.USUAL_MS * slowdown) + SMALLNESS_SLOPE * facts.smallness(spot.endpoint)


def _prior_log_start(spot: Spot) -> float:
    return log(levels.START_MS[spot.endpoint.provider]) + COLD_SMALLNESS_SLOPE * facts.smallness(spot.endpoint)
