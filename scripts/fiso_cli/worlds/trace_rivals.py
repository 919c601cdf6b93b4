"""Rivals: the known rules and the bounds that a router is judged beside. Each picks one arm per round.

The rules (`replay.rules`) see the outcomes of the arms they picked, each before the next round. The oracles see
everything and bound what can be reached.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso_cli.worlds import rules
from fiso_cli.worlds.objective import Losses, context_of
from fiso_cli.worlds.rules import RULES, MakeRule, Market
from fiso_cli.worlds.trace import Round, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What the rules pick from, and what the oracles know of it."""

    trace: Trace
    losses: Losses
    endpoints: Mapping[EndpointId, Endpoint]
    tariff: Tariff


Picks: TypeAlias = Sequence[EndpointId]
Rule: TypeAlias = Callable[[Contest, random.Random], Picks]


def by_rule(make: MakeRule) -> Rule:
    """A rule over a whole trace: it hears of each outcome at once."""

    def picks(contest: Contest, rng: random.Random) -> Picks:
        rule = make(Market(arms=contest.trace.arms, endpoints=contest.endpoints, tariff=contest.tariff), rng)
        found = []
        for played in contest.trace.rounds:
            picked = rule.pick(list(played.calls))
            rule.learn(picked, played.calls[picked].latency_ms, played.t)
            found.append(picked)
        return found

    return picks


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
    *(Rival(name=named.name, rule=by_rule(named.make), is_drawn=named.is_drawn) for named in RULES),
    Rival(name="context_oracle", rule=context_oracle),
    Rival(name="round_hindsight", rule=round_hindsight),
)


def unpriced(contest: Contest) -> tuple[tuple[Provider, str], ...]:
    """The regions whose arms the tariff cannot price: the router knows no cost for them."""
    return rules.unpriced(contest.endpoints.values(), contest.tariff)
