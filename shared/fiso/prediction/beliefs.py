"""Beliefs: what the folded states say of every copy of a function at its load, and how surely. Standard library only.

    what was seen of this copy, else of its siblings -> the way + waiting + processing -> warm latency, bill, cold start

Published facts are hypotheses (`kinship`): that processing is bound by the processor's share, partly, or not at all,
and that load slows a cloud down as its documentation says. What was seen decides among them, billed time included: only
the part of a latency that is billed can depend on a processor. Variances were chosen by argument and held against
generated worlds in which the facts are true, absent, reversed and far too strong (docs/routing.md); fitted to no
measured trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from math import exp, log
from typing import NamedTuple

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.state import EndpointState, LoadLevel
from fiso.prediction import facts
from fiso.prediction.facts import round_trip_ms
from fiso.prediction.kinship import Effects, Expected, Hypothesis, Seen, Spot
from fiso.routing import levels
from fiso.routing.levels import decay
from fiso.routing.tails import Tail, Tails

LATENCY = Effects(function=4.0, provider=0.1, place=0.1, region=0.05, copy=0.05, level=0.04, usual=log(facts.USUAL_MS))
BILLED_SHARE = Effects(function=4.0, provider=0.1, place=0.0, region=0.05, copy=0.05, level=0.05)
START = Effects(function=1.0, provider=0.1, place=0.0, region=0.1, copy=0.25, level=1e-6)
SLOPES = ((-1.0, 0.1), (0.0, 0.35), (0.5, 0.25), (1.0, 0.3))
"""How processing time may grow with the missing share of a processor (the exponent), and the chance of each: bound by
the processor, half so, waiting; and the smaller one faster, which no document says and some clouds do."""
LOAD_RULES = ((0.0, 0.7), (1.0, 0.3))
"""Whether load slows a cloud down as published, or not at all."""
NO_LOAD = ((0.0, 1.0),)
COLD_SMALLNESS_SLOPE = 0.5
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
DRIFT_PER_HOUR = 0.002
"""How fast what was seen loses its worth: the variance that an hour unseen adds (a day: 20 % either way)."""
LARGEST_DRIFT = 0.25
CHANGED = 1.0
SHORTEST_TRUST_S = 60.0
"""After a sudden change a copy may change back: this variance comes over it once it was not seen for about as long as
the change has held, so that one that broke down is asked again, at growing intervals."""
LEAST_START_MS = 20.0
LEAST_SPENT = 0.2
"""A way is not believed to leave less than this share of a latency: published round trips are medians."""
MOST_STARTS = 20
FEW_ANSWERS = 3
"""A copy that was never called at a load is a new one there, unless so many answers elsewhere say what it is like."""
LEAST_BILLED_SHARE = 1e-3
LEAST_USED_MS = 1.0
ROUNDING = 1e-6
AT_UNIT = 1.1
"""A mean bill of up to so many of its plan's smallest units is one of calls that hardly ever used more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is expected of one copy at its load. Variances are of logarithms.

    `warm_ms` leaves out what of long answers the levels' means leave out; `tail` puts it back (`routing.tails`).
    `variation` is the coefficient of variation of a single warm answer, `answers` all at this load, `tries` those among
    them that were made to learn and `tried_loss` what these were expected to lose; `is_new`: there are none at this
    load, and few at others. `busy_cold` is the chance of a start that idleness does not explain. `warm_usd` and
    `start_usd` are None without a price. `raw_log` is what the model said of these answers on average, None where it
    said nothing yet, `rival_log` what a model on trial said.
    """

    warm_ms: float
    warm_variance: float
    variation: float
    tail: Tail
    answers: float
    tries: int
    tried_loss: float
    is_new: bool
    busy_cold: float
    start_ms: float
    start_variance: float
    warm_usd: float | None
    usd_variance: float
    start_usd: float | None
    raw_log: float | None
    rival_log: float | None = None


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
    """One level that was seen: its time without the way, the variance of that time's logarithm, and that of now."""

    spot: Spot
    level: LoadLevel
    spent_ms: float
    noise: float
    aged: float


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
        self._nearest: dict[EndpointId, _Level] = {}
        for seen in self._levels:
            self._nearest.setdefault(seen.spot.endpoint.id, seen)
        latencies = [Seen(s.spot, log(s.spent_ms), s.noise) for s in self._levels]
        self._warm = LATENCY.expected(asked, latencies, _hypotheses(asked, self._levels))
        self._spent_ms = [exp(warm.value) for warm in self._warm]
        # The way is taken off before copies are compared and put on again here: a far copy is no slower processor, and
        # its distance must not pass for a property that its siblings share
        # (docs/decisions/0005-prediction-in-layers.md).
        self._warm_ms = [spent_ms + way_ms for spent_ms, way_ms in zip(self._spent_ms, ways_ms, strict=True)]
        self._tails = Tails([seen.level for seen in self._nearest.values()])
        self._pooled_cold = _pooled_cold(asked, states)
        self._starts = _starts(asked, [self._seen_start(index) for index in range(len(asked))])
        self._start_ms = [
            exp(_prior_log_start(spot) + start.value) for spot, start in zip(asked, self._starts, strict=True)
        ]
        self._shares = self._billed_shares()
        self._warm_usd = [self._billed(index) for index in range(len(asked))]
        self._start_bills = _starts(asked, [self._seen_start_bill(index) for index in range(len(asked))])

    def belief(self, index: int) -> Belief:
        spot = self._asked[index]
        state = self._states.get(spot.endpoint.id)
        level = state.levels.get(spot.bucket) if state else None
        warm, start, nearest = self._warm[index], self._starts[index], self._nearest.get(spot.endpoint.id)
        aged = nearest.aged if nearest else 0.0
        is_billed = nearest is not None and nearest.level.cost_usd is not None
        return Belief(
            warm_ms=self._warm_ms[index],
            warm_variance=warm.variance * (self._spent_ms[index] / self._warm_ms[index]) ** 2 + aged,
            variation=levels.variation(level) if level and level.warm else levels.USUAL_VARIATION,
            tail=self._tails.of(nearest.level if nearest else None),
            answers=float(level.answers) if level else 0.0,
            tries=level.tries if level else 0,
            tried_loss=level.tried_loss if level else 0.0,
            is_new=not (level and (level.answers or level.tries)) and _warm_answers(state) < FEW_ANSWERS,
            busy_cold=self._busy_cold(level),
            start_ms=self._start_ms[index],
            start_variance=start.variance,
            warm_usd=self._warm_usd[index],
            usd_variance=(warm.variance + aged) if is_billed else warm.variance + self._shares[index].variance,
            start_usd=self._start_usd(index),
            raw_log=level.raw_log if level else None,
            rival_log=state.rival.raw_logs.get(spot.bucket) if state and state.rival else None,
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

    def _listed(self, endpoint: Endpoint, bucket: int, ms: float) -> float | None:
        """The tariff's price of the time a call takes alone: waiting for an instance is not billed."""
        return self._tariff.cost_usd(endpoint, ms / facts.slowdown(endpoint, 2**bucket))

    def _billed_shares(self) -> list[Expected]:
        """The logarithm of how much of a latency is used of what is billed."""
        used = [
            (s, *_used_log(s.spot.endpoint, s.level.billed_ms, self._tariff)) for s in self._levels if s.level.billed_ms
        ]
        # All bills at their smallest unit err alike, if they do: together they are no surer than one.
        open_ones = sum(1 for *_, doubt in used if doubt)
        seen = [
            Seen(s.spot, max(log(LEAST_BILLED_SHARE), log_ms - log(s.spent_ms)), s.noise + doubt * open_ones)
            for s, log_ms, doubt in used
        ]
        nothing = Hypothesis(1.0, [0.0] * len(self._asked), [0.0] * len(seen))
        return BILLED_SHARE.expected(self._asked, seen, [nothing])

    def _billed(self, index: int) -> float | None:
        spot, spent_ms = self._asked[index], self._spent_ms[index]
        seen = self._nearest.get(spot.endpoint.id)
        if seen is not None and seen.level.cost_usd is not None:
            listed = self._listed(spot.endpoint, spot.bucket, spent_ms)
            then = self._listed(spot.endpoint, seen.spot.bucket, seen.spent_ms)
            return None if listed is None or not then else seen.level.cost_usd * listed / then
        return self._tariff.cost_usd(spot.endpoint, spent_ms * min(1.0, exp(self._shares[index].value)))

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
        return None if listed is None else listed * exp(self._start_bills[index].value)


def _warm_answers(state: EndpointState | None) -> int:
    return sum(level.warm for level in state.levels.values()) if state else 0


def _hypotheses(asked: Sequence[Spot], seen: Sequence[_Level]) -> list[Hypothesis]:
    """What is published of processors and of load, each held to be true in part, whole or not."""
    found = []
    is_loaded = any(spot.bucket for spot in asked) or any(level.spot.bucket for level in seen)
    for (slope, likely), (rule, holds) in product(SLOPES, LOAD_RULES if is_loaded else NO_LOAD):
        processing = _processing_share(seen, slope)
        asked_at = [_offset(spot, slope, rule, processing) for spot in asked]
        seen_at = [_offset(level.spot, slope, rule, processing) for level in seen]
        found.append(Hypothesis(likely * holds, asked_at, seen_at))
    return found


def _processing_share(seen: Sequence[_Level], slope: float) -> float:
    """How much of a call on a whole processor is processing, by the billed time of the calls that were made; all of it
    while no bill says."""
    processing = waiting = 0.0
    for spot, level, spent_ms, _, _ in seen:
        if level.billed_ms is not None:
            billed = min(1.0, level.billed_ms / spent_ms)
            processing += billed * exp(-slope * facts.smallness(spot.endpoint))
            waiting += 1 - billed
    return processing / (processing + waiting) if processing else 1.0


def _offset(spot: Spot, slope: float, rule: float, processing: float) -> float:
    slow = exp(slope * facts.smallness(spot.endpoint))
    offset = log(1 - processing + processing * slow)
    return offset + rule * log(facts.slowdown(spot.endpoint, 2**spot.bucket)) if spot.bucket else offset


def _starts(asked: Sequence[Spot], seen: Sequence[tuple[float, float] | None]) -> list[Expected]:
    """What a start comes to against what is published, by copy; a load makes no difference to it."""
    spots = [Spot(spot.endpoint, 0) for spot in asked]
    known = [Seen(spot, *item) for spot, item in zip(spots, seen, strict=True) if item is not None]
    return START.expected(spots, known, [Hypothesis(1.0, [0.0] * len(spots), [0.0] * len(known))])


def _levels_near(spot: Spot, state: EndpointState | None, way_ms: float, now: datetime) -> list[_Level]:
    """The levels of a copy nearest to the load asked for; far ones say little that those do not."""
    if state is None:
        return []
    known = sorted(
        ((abs(bucket - spot.bucket), bucket, level) for bucket, level in state.levels.items() if level.warm),
        key=lambda item: item[:2],
    )
    if not known and state.cold_latency_ms is not None:
        known = [(0, spot.bucket, _cold_only(spot, state, state.cold_latency_ms))]
    return [_level(Spot(spot.endpoint, bucket), level, way_ms, now) for _, bucket, level in known[:LEVELS_PER_ENDPOINT]]


def _cold_only(spot: Spot, state: EndpointState, cold_ms: float) -> LoadLevel:
    """A copy of which only starts were seen has answered too: in what a start is published to leave of them."""
    warm_ms = max(LEAST_SPENT * cold_ms, cold_ms - exp(_prior_log_start(spot)))
    level = LoadLevel(warm=1, latency_ms=warm_ms, last_at=state.last_called_at)
    known = state.levels.get(spot.bucket)
    return level if known is None else replace(level, answers=known.answers, tries=known.tries)


def _way_ms(endpoint: Endpoint, state: EndpointState | None, router_region: str | None) -> float:
    """The published round trip, as far as what was seen of the copy leaves room for it."""
    published_ms = round_trip_ms(router_region, endpoint.region)
    if not published_ms or state is None:
        return published_ms
    seen_ms = [level.latency_ms for level in state.levels.values() if level.warm]
    return min([published_ms, *((1 - LEAST_SPENT) * latency_ms for latency_ms in seen_ms)])


def _level(spot: Spot, level: LoadLevel, way_ms: float, now: datetime) -> _Level:
    spent_ms = max(LEAST_SPENT * level.latency_ms, level.latency_ms - way_ms)
    noise = levels.variation(level) ** 2 / min(float(level.warm), MOST_ANSWERS)
    return _Level(spot, level, spent_ms, noise * (level.latency_ms / spent_ms) ** 2, _aged(level, now))


def _used_log(endpoint: Endpoint, billed_ms: float, tariff: Tariff) -> tuple[float, float]:
    """The logarithm of the time that was used of what is billed, and its variance.

    A bill at its plan's smallest unit says "at most this", with each length below as likely (log-uniform); where a few
    calls used a second unit, at least what these say. Less than a unit is nobody's bill, but a function's own word.
    """
    rate = tariff.rate(endpoint)
    unit_ms = max(rate.step_ms, rate.least_ms) if rate else 1
    if unit_ms <= 1 or not unit_ms <= billed_ms * (1 + ROUNDING) <= AT_UNIT * unit_ms:
        return log(billed_ms), 0.0
    least, most = log(max(LEAST_USED_MS, billed_ms - unit_ms)), log(billed_ms)
    return (least + most) / 2, (most - least) ** 2 / 12


def _aged(level: LoadLevel, now: datetime) -> float:
    """The variance that comes over a level while it is not seen. Its mean stays: that others changed since is no news
    of this copy."""
    age_s = max(0.0, (now - level.last_at).total_seconds()) if level.last_at else 0.0
    drifted = min(LARGEST_DRIFT, DRIFT_PER_HOUR * age_s / 3600)
    if level.changed_at is None or level.last_at is None:
        return drifted
    held_s = max(SHORTEST_TRUST_S, (level.last_at - level.changed_at).total_seconds())
    return drifted + CHANGED * (1 - decay(age_s, held_s))


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


def _prior_log_start(spot: Spot) -> float:
    return log(levels.START_MS[spot.endpoint.provider]) + COLD_SMALLNESS_SLOPE * facts.smallness(spot.endpoint)
