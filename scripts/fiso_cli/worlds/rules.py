"""Rules: the known ways to pick an arm without knowing the future, one at a time: pick now, learn when it has ended.

They see what a gateway sees: the latencies of the calls that they made, over all functions. A replay tells them each
outcome at once, a simulation when it is there; the rule is the same.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from statistics import fmean
from typing import Protocol, TypeAlias

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso_cli.worlds.trace import Arm

RECENT = 10
"""Samples of the lowest-latency rule."""
EWMA_TIME_CONSTANT_S = 10.0
"""Finagle's and Linkerd's default."""
LISTED_MS = 1_000.0
SMALLEST_BILLED_MB = 128


class Rule(Protocol):
    """One rule with what it has learned so far."""

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """One of the arms that can be called now, in their usual order."""
        ...

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """A call that it picked has ended. `at_s`: when, in seconds that never go back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What every rule may know beforehand: the arms in their usual order, and the price list."""

    arms: Mapping[EndpointId, Arm]
    endpoints: Mapping[EndpointId, Endpoint]
    tariff: Tariff


MakeRule: TypeAlias = Callable[[Market, random.Random], Rule]


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
        self._arms, self._turn = list(market.arms), 0

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
        self._prices = {arm: list_price(market, arm) for arm in market.arms}

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        """The cheapest present."""
        return min(present, key=self._prices.__getitem__)

    def learn(self, arm: EndpointId, latency_ms: float, at_s: float) -> None:
        """Nothing."""


def list_price(market: Market, arm: EndpointId) -> float:
    """Without a memory setting the smallest size that is billed: what the price list shows first."""
    endpoint = market.endpoints[arm]
    if not market.arms[arm].memory_mb:
        endpoint = Endpoint(
            id=arm,
            provider=endpoint.provider,
            region=endpoint.region,
            memory_mb=SMALLEST_BILLED_MB,
            address=endpoint.address,
        )
    price = market.tariff.cost_usd(endpoint, LISTED_MS)
    return float("inf") if price is None else price


def unpriced(endpoints: Iterable[Endpoint], tariff: Tariff) -> tuple[tuple[Provider, str], ...]:
    """The regions whose arms the tariff cannot price: the router knows no cost for them."""
    missing = {(e.provider, e.region) for e in endpoints if tariff.cost_usd(e, LISTED_MS) is None}
    return tuple(sorted(missing))


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
