"""Rules: the known ways to pick an arm without knowing the future, one at a time: pick now, learn when it has ended.

They see what a gateway sees: the latencies of the calls that they made, over all functions. A rule makes one call per
request, as it would without FISO, and hears of each outcome when it is there, in a trace before the next round.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from statistics import fmean
from typing import ClassVar

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.virtual_time import Arrival
from fiso_cli.worlds.world import Call, Market, Result, World, Worlds

RECENT = 10
"""Samples of the lowest-latency rule."""
EWMA_TIME_CONSTANT_S = 10.0
"""Finagle's and Linkerd's default."""
TIMEOUT_MS = 28_000.0
"""As long as a policy lets the router wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a rule hears of a call that it made. `at_s`: when it ended, in seconds that never go back."""

    latency_ms: float
    cost_usd: float
    at_s: float


class Rule:
    """One rule with what it has learned so far. `is_drawn`: its picks depend on the seed."""

    name: ClassVar[str]
    is_drawn: ClassVar[bool] = False

    def __init__(self, market: Market, rng: random.Random, objective: Objective) -> None:
        self._arms, self._rng = list(market.endpoints), rng

    def pick(self, arrival: Arrival, present: Sequence[EndpointId]) -> EndpointId:
        """One of the arms that can be called now, in their usual order."""
        raise NotImplementedError

    def learn(self, arrival: Arrival, arm: EndpointId, heard: Heard) -> None:
        """A call that it picked has ended."""


class AtRandom(Rule):
    """Any arm present."""

    name, is_drawn = "random", True

    def pick(self, arrival: Arrival, present: Sequence[EndpointId]) -> EndpointId:
        return self._rng.choice(present)


class RoundRobin(Rule):
    """The arms in turn; one that is absent is passed over."""

    name, _turn = "round_robin", 0

    def pick(self, arrival: Arrival, present: Sequence[EndpointId]) -> EndpointId:
        while self._arms[self._turn % len(self._arms)] not in present:
            self._turn += 1
        self._turn += 1
        return self._arms[(self._turn - 1) % len(self._arms)]


class LowestRecentLatency(Rule):
    """The lowest mean over an arm's last 10 answers, by lot among equals; an arm without any comes first."""

    name, is_drawn = "lowest_recent_latency", True

    def __init__(self, market: Market, rng: random.Random, objective: Objective) -> None:
        super().__init__(market, rng, objective)
        self._recent: defaultdict[EndpointId, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    def pick(self, arrival: Arrival, present: Sequence[EndpointId]) -> EndpointId:
        levels = {arm: fmean(self._recent[arm]) if self._recent[arm] else 0.0 for arm in present}
        lowest = min(levels.values())
        return self._rng.choice([arm for arm, level in levels.items() if level == lowest])

    def learn(self, arrival: Arrival, arm: EndpointId, heard: Heard) -> None:
        self._recent[arm].append(heard.latency_ms)


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


class PeakEwmaOfTwo(Rule):
    """Of two arms drawn at random the one with the lower peak-EWMA latency times calls under way; unknown ones first.

    Finagle and Linkerd let a level also sink while nothing is seen. Between rounds seconds apart they would forget
    everything, so that is left out here: the rule does better without.
    """

    name, is_drawn = "peak_ewma_p2c", True

    def __init__(self, market: Market, rng: random.Random, objective: Objective) -> None:
        super().__init__(market, rng, objective)
        self._levels: defaultdict[EndpointId, _PeakEwma] = defaultdict(_PeakEwma)

    def pick(self, arrival: Arrival, present: Sequence[EndpointId]) -> EndpointId:
        drawn = self._rng.sample(present, min(2, len(present)))
        picked = min(drawn, key=lambda arm: self._levels[arm].level_ms * (self._levels[arm].pending + 1))
        self._levels[picked].pending += 1
        return picked

    def learn(self, arrival: Arrival, arm: EndpointId, heard: Heard) -> None:
        self._levels[arm].see(heard.latency_ms, heard.at_s)


class CheapestListPrice(Rule):
    """The lowest tariff for a second at the arm's memory; what the tariff cannot price comes last."""

    name = "cheapest_list_price"

    def __init__(self, market: Market, rng: random.Random, objective: Objective) -> None:
        super().__init__(market, rng, objective)
        self._prices = {arm: market.list_price(arm) for arm in market.endpoints}

    def pick(self, arrival: Arrival, present: Sequence[EndpointId]) -> EndpointId:
        return min(present, key=self._prices.__getitem__)


Choose = Callable[[Arrival, float], EndpointId]
"""By request and time."""
Learn = Callable[[Arrival, EndpointId, Heard], None]
"""Of a call that ended."""


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
        time.after(
            found.latency_ms / 1000,
            lambda: learn(arrival, arm, Heard(latency_ms=felt_ms, cost_usd=found.cost_usd, at_s=time.now_s)),
        )

    time.play(worlds.arrivals(seed), arrive)
    return results


def by_arm(worlds: Worlds, arm: EndpointId, *, seed: int) -> list[Result]:
    """All requests to one endpoint."""
    return play(worlds, seed, lambda _request, _now: arm)


def by_rule(worlds: Worlds, kind: type[Rule], *, seed: int, objective: Objective = Objective.LATENCY) -> list[Result]:
    """All requests by one rule."""
    rule = kind(worlds.market, worlds.draws(kind.name, seed), objective)
    return play(worlds, seed, lambda request, _now: rule.pick(request, worlds.present(request)), rule.learn)
