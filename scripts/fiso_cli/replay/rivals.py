"""Rivals: the known rules and the bounds that a router is judged beside. Each picks one arm per round.

Random, round robin, lowest recent latency, peak-EWMA and cheapest list price see what a gateway sees: the outcomes of
the arms they picked, over all functions. The oracles see everything and bound what can be reached.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from statistics import fmean
from typing import TypeAlias

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso_cli.replay.objective import Losses, context_of
from fiso_cli.replay.trace import Round, Trace

RECENT = 10
"""Samples of the lowest-latency rule."""
EWMA_TIME_CONSTANT_S = 10.0
"""Finagle's and Linkerd's default."""
LISTED_MS = 1_000.0
SMALLEST_BILLED_MB = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What the rules pick from, and what the oracles know of it."""

    trace: Trace
    losses: Losses
    endpoints: Mapping[EndpointId, Endpoint]
    tariff: Tariff


Picks: TypeAlias = Sequence[EndpointId]
Rule: TypeAlias = Callable[[Contest, random.Random], Picks]


def at_random(contest: Contest, rng: random.Random) -> Picks:
    """Any arm present."""
    return [rng.choice(list(played.calls)) for played in contest.trace.rounds]


def round_robin(contest: Contest, _: random.Random) -> Picks:
    """The arms in turn; one that is absent is passed over."""
    arms, turn, picks = list(contest.trace.arms), 0, []
    for played in contest.trace.rounds:
        while arms[turn % len(arms)] not in played.calls:
            turn += 1
        picks.append(arms[turn % len(arms)])
        turn += 1
    return picks


def lowest_recent_latency(contest: Contest, rng: random.Random) -> Picks:
    """The lowest mean over an arm's last 10 answers; an arm never called comes first."""
    recent: defaultdict[EndpointId, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
    picks = []
    for played in contest.trace.rounds:
        levels = {arm: fmean(recent[arm]) if recent[arm] else 0.0 for arm in played.calls}
        lowest = min(levels.values())
        picked = rng.choice([arm for arm, level in levels.items() if level == lowest])
        recent[picked].append(played.calls[picked].latency_ms)
        picks.append(picked)
    return picks


@dataclass(slots=True, kw_only=True)
class _PeakEwma:
    """A latency that jumps to every peak and sinks as lower ones are seen, the faster the longer the time between."""

    level_ms: float = 0.0
    at: float = 0.0

    def see(self, latency_ms: float, at: float) -> None:
        left = exp(-max(0.0, at - self.at) / EWMA_TIME_CONSTANT_S)
        self.level_ms = max(latency_ms, self.level_ms * left + latency_ms * (1 - left))
        self.at = at


def peak_ewma_of_two(contest: Contest, rng: random.Random) -> Picks:
    """Of two arms drawn at random the one with the lower peak-EWMA latency; an arm never called comes first.

    Finagle and Linkerd let a level also sink while nothing is seen. Between rounds seconds apart they would forget
    everything, so that is left out here: the rule does better without.
    """
    levels: defaultdict[EndpointId, _PeakEwma] = defaultdict(_PeakEwma)
    picks = []
    for played in contest.trace.rounds:
        drawn = rng.sample(list(played.calls), min(2, len(played.calls)))
        picked = min(drawn, key=lambda arm: levels[arm].level_ms)
        levels[picked].see(played.calls[picked].latency_ms, played.t)
        picks.append(picked)
    return picks


def cheapest_list_price(contest: Contest, _: random.Random) -> Picks:
    """The lowest tariff for a second at the arm's memory; what the tariff cannot price comes last."""
    prices = {arm: _list_price(contest, arm) for arm in contest.trace.arms}
    return [min(played.calls, key=lambda arm: prices[arm]) for played in contest.trace.rounds]


def _list_price(contest: Contest, arm: EndpointId) -> float:
    """Without a memory setting the smallest size that is billed: what the price list shows first."""
    endpoint = contest.endpoints[arm]
    if not contest.trace.arms[arm].memory_mb:
        endpoint = Endpoint(
            id=arm,
            provider=endpoint.provider,
            region=endpoint.region,
            memory_mb=SMALLEST_BILLED_MB,
            address=endpoint.address,
        )
    price = contest.tariff.cost_usd(endpoint, LISTED_MS)
    return float("inf") if price is None else price


@dataclass(slots=True)
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else float("inf")


def context_oracle(contest: Contest, _: random.Random) -> Picks:
    """Per function and load the arm with the best mean over the whole trace, among those present."""
    means: defaultdict[tuple[str, float, EndpointId], _Mean] = defaultdict(_Mean)
    for played, charges in zip(contest.trace.rounds, contest.losses, strict=True):
        for arm, charge in charges.items():
            means[*context_of(played), arm].add(charge)

    def best(played: Round) -> EndpointId:
        return min(played.calls, key=lambda arm: means[*context_of(played), arm].value)

    return [best(played) for played in contest.trace.rounds]


def round_hindsight(contest: Contest, _: random.Random) -> Picks:
    """The best arm of every round. No router can reach it where outcomes are noise."""
    return [min(charges, key=charges.__getitem__) for charges in contest.losses]


def best_single(contest: Contest) -> EndpointId | None:
    """The arm with the lowest total charge among those present in every round; None when no arm always is."""
    present = contest.trace.always_present
    return min(present, key=lambda arm: sum(charges[arm] for charges in contest.losses), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A rule and its name. `is_drawn`: its picks depend on the seed."""

    name: str
    rule: Rule = field(repr=False)
    is_drawn: bool = False


RIVALS = (
    Rival(name="random", rule=at_random, is_drawn=True),
    Rival(name="round_robin", rule=round_robin),
    Rival(name="lowest_recent_latency", rule=lowest_recent_latency, is_drawn=True),
    Rival(name="peak_ewma_p2c", rule=peak_ewma_of_two, is_drawn=True),
    Rival(name="cheapest_list_price", rule=cheapest_list_price),
    Rival(name="context_oracle", rule=context_oracle),
    Rival(name="round_hindsight", rule=round_hindsight),
)


def unpriced(contest: Contest) -> tuple[tuple[Provider, str], ...]:
    """The regions whose arms the tariff cannot price: the router knows no cost for them."""
    endpoints = contest.endpoints.values()
    missing = {(e.provider, e.region) for e in endpoints if contest.tariff.cost_usd(e, LISTED_MS) is None}
    return tuple(sorted(missing))
