"""Rules: the known ways to pick an arm without knowing the future, one at a time: pick now, learn when it has ended.

They see what a gateway sees: the latencies of the calls that they made, over all functions. A rule makes one call per
request, as it would without FISO, and hears of each outcome when it is there, in a trace before the next round.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp
from statistics import fmean
from typing import Protocol

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.virtual_time import Arrival
from fiso_cli.worlds.world import Call, Market, Result, World, Worlds

RECENT = 10
"""Samples of the lowest-latency rule."""
EWMA_TIME_CONSTANT_S = 10.0
"""Finagle's and Linkerd's default."""
TIMEOUT_MS = 28_000.0
"""As long as a policy lets the router wait."""


class Rule(Protocol):
    """One rule with what it has learned so far."""

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """One of the arms that can be called now, in their usual order."""
        ...

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """A call that it picked has ended. `at_s`: when, in seconds that never go back."""
        ...


MakeRule = Callable[[Market, random.Random], Rule]


class AtRandom:
    """Any arm present."""

    def __init__(self, _: Market, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """One draw."""
        return self._rng.choice(present)

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """Nothing."""


class RoundRobin:
    """The arms in turn; one that is absent is passed over."""

    def __init__(self, market: Market, _: random.Random) -> None:
        self._arms, self._turn = list(market.endpoints), 0

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """The next one present."""
        while self._arms[self._turn % len(self._arms)] not in present:
            self._turn += 1
        self._turn += 1
        return self._arms[(self._turn - 1) % len(self._arms)]

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """Nothing."""


class LowestRecentLatency:
    """The lowest mean over an arm's last 10 answers; an arm without any comes first."""

    def __init__(self, _: Market, rng: random.Random) -> None:
        self._rng = rng
        self._recent: defaultdict[EndpointId, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """The lowest, by lot among equals."""
        levels = {arm: fmean(self._recent[arm]) if self._recent[arm] else 0.0 for arm in present}
        lowest = min(levels.values())
        return self._rng.choice([arm for arm, level in levels.items() if level == lowest])

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """One more answer."""
        self._recent[arm].append(latency_ms)


@dataclass(slots=True, kw_only=True)
class _PeakEwma:
    """A latency that jumps to every peak and sinks as lower ones are seen, the faster the longer the time between."""

    level_ms: float = 0.0
    at_s: float = 0.0
    pending: int = 0

    def see(self, latency_ms: float, at_s: float) -> None:
        left = exp(-max(0.0, at_s - self.at_s) / EWMA_TIME_CONSTANT_S)
        self.level_ms = max(latency_ms, self.level_ms * left + latency_ms * (1 - left))
        self.at_s = at_s
        self.pending -= 1


class PeakEwmaOfTwo:
    """Of two arms drawn at random the one with the lower peak-EWMA latency times calls under way; unknown ones first.

    Finagle and Linkerd let a level also sink while nothing is seen. Between rounds seconds apart they would forget
    everything, so that is left out here: the rule does better without.
    """

    def __init__(self, _: Market, rng: random.Random) -> None:
        self._rng = rng
        self._levels: defaultdict[EndpointId, _PeakEwma] = defaultdict(_PeakEwma)

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """The better of two."""
        drawn = self._rng.sample(present, min(2, len(present)))
        picked = min(drawn, key=lambda arm: self._levels[arm].level_ms * (self._levels[arm].pending + 1))
        self._levels[picked].pending += 1
        return picked

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """One more answer."""
        self._levels[arm].see(latency_ms, at_s)


class CheapestListPrice:
    """The lowest tariff for a second at the arm's memory; what the tariff cannot price comes last."""

    def __init__(self, market: Market, _: random.Random) -> None:
        self._prices = {arm: market.list_price(arm) for arm in market.endpoints}

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """The cheapest present."""
        return min(present, key=self._prices.__getitem__)

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """A rule and its name. `is_drawn`: its picks depend on the seed."""

    name: str
    make: MakeRule = field(repr=False)
    is_drawn: bool = False


RULES = (
    NamedRule(name="random", make=AtRandom, is_drawn=True),
    NamedRule(name="round_robin", make=RoundRobin),
    NamedRule(name="lowest_recent_latency", make=LowestRecentLatency, is_drawn=True),
    NamedRule(name="peak_ewma_p2c", make=PeakEwmaOfTwo, is_drawn=True),
    NamedRule(name="cheapest_list_price", make=CheapestListPrice),
)

Choose = Callable[[Arrival, float], EndpointId]
"""By request and time."""
Learn = Callable[[EndpointId, float, float], None]
"""Of a call that ended: its arm, latency in ms, and when."""


def play(
    worlds: Worlds, seed: int, choose: Choose, learn: Learn = lambda *_: None, *, world: World | None = None
) -> list[Result]:
    """All requests of a seed by one call each, in a world of their own unless one is given."""
    world, time, results = world or worlds.world(seed), worlds.time(), []

    def arrive(arrival: Arrival) -> None:
        arm = choose(arrival, time.now_s)
        call = Call(request=arrival.number, function=arrival.function, arm=arm, timeout_ms=TIMEOUT_MS)
        found = world.call(call, time.now_s)
        results.append(Result.of_call(arrival, arm, found))
        felt_ms = found.latency_ms if found.failure is None else max(worlds.least_failure_ms, found.latency_ms)
        time.after(found.latency_ms / 1000, lambda: learn(arm, felt_ms, time.now_s))

    time.play(worlds.arrivals(seed), arrive)
    return results


def by_arm(worlds: Worlds, arm: EndpointId, *, seed: int) -> list[Result]:
    """All requests to one endpoint."""
    return play(worlds, seed, lambda _request, _now: arm)


def by_rule(worlds: Worlds, named: NamedRule, *, seed: int) -> list[Result]:
    """All requests by one rule."""
    rule = named.make(worlds.market, worlds.draws(named.name, seed))
    return play(worlds, seed, lambda request, _now: rule.pick(worlds.present(request)), rule.learn)
