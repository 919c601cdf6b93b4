"""The reference: recent means per function and load, tries within a budget. What a careful engineer writes in a day.

It knows no prices, no clouds and no doubt: a mean of about the last 15 answers of each arm, sizes as far as they proved
to matter, 4 % of what was charged so far for tries, and a look at what was not seen for long. A router with more
knowledge that loses to it knows the wrong things.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.objective import Objective, Usual, charge
from fiso_cli.worlds.rules import Heard, Rule
from fiso_cli.worlds.virtual_time import Arrival
from fiso_cli.worlds.world import Market

REMEMBERED = 15
BUSY = 20.0
BUDGET, FREE_CALLS = 0.04, 2.0
REVISITED_AFTER = 50
"""Requests after which a near arm is looked at again; a far one after as many times more as it is behind."""


@dataclass(slots=True)
class _Mean:
    value: float = 0.0
    answers: int = 0
    last: int = 0


class _Context:
    """One function at one of two loads."""

    def __init__(self, sizes_mb: Mapping[EndpointId, int]) -> None:
        self.means: dict[EndpointId, _Mean] = {}
        self.requests, self.charged, self.spent = 0, 0.0, 0.0
        self._sizes_mb = sizes_mb
        self._misses = [0.0, 0.0]  # of "size matters not" and "in proportion to it", squared logarithms

    def pick(self, present: Sequence[EndpointId]) -> EndpointId:
        self.requests += 1
        known = [arm for arm in present if arm in self.means]
        if not known:
            return present[0]
        best = min(known, key=lambda arm: self.means[arm].value)
        level = self.means[best].value
        left = BUDGET * self.charged + FREE_CALLS * level - self.spent
        guesses = {arm: level * self._ratio(arm, best) for arm in present if arm not in self.means}
        tried = min(guesses, key=guesses.__getitem__, default=None)
        if tried is None or guesses[tried] - level > left:
            waiting = [arm for arm in known if arm != best and self._is_due(arm, level, left)]
            tried = min(waiting, key=lambda arm: self.means[arm].value, default=None)
        if tried is None:
            return best
        self.spent += max(0.0, guesses.get(tried, self.means[tried].value if tried in self.means else level) - level)
        return tried

    def learn(self, arm: EndpointId, charge: float) -> None:
        self.charged += charge
        if arm not in self.means and self.means:
            best = min(self.means, key=lambda known: self.means[known].value)
            missed = log(max(1e-12, charge) / max(1e-12, self.means[best].value))
            full = log(self._sizes_mb[best] / self._sizes_mb[arm])
            self._misses[0] += missed**2
            self._misses[1] += (missed - full) ** 2
        mean = self.means.setdefault(arm, _Mean())
        mean.answers, mean.last = mean.answers + 1, self.requests
        mean.value += (charge - mean.value) / min(mean.answers, REMEMBERED)

    def _ratio(self, arm: EndpointId, best: EndpointId) -> float:
        matters = 1 / (1 + exp(min(50.0, max(-50.0, self._misses[1] - self._misses[0]))))
        return float((self._sizes_mb[best] / self._sizes_mb[arm]) ** matters)

    def _is_due(self, arm: EndpointId, level: float, left: float) -> bool:
        mean = self.means[arm]
        behind = mean.value / level - 1 if level else 0.0
        return mean.value - level <= left and self.requests - mean.last > REVISITED_AFTER * (1 + 10 * behind)


class RecentMeans(Rule):
    """The reference. It is told the objective, as the router is."""

    name = "recent_means"

    def __init__(self, market: Market, rng: random.Random, objective: Objective) -> None:
        super().__init__(market, rng, objective)
        sizes_mb = {id: endpoint.memory_mb for id, endpoint in market.endpoints.items()}
        self._contexts: defaultdict[tuple[str, bool], _Context] = defaultdict(lambda: _Context(sizes_mb))
        self._objective = objective
        self._usual = Usual()

    def pick(self, arrival: Arrival, present: Sequence[EndpointId]) -> EndpointId:
        return self._contexts[self._key(arrival)].pick(present)

    def learn(self, arrival: Arrival, arm: EndpointId, heard: Heard) -> None:
        if not self._usual.latency_ms:
            self._usual = Usual(latency_ms=heard.latency_ms, cost_usd=heard.cost_usd)
        charged = charge(
            self._objective, latency_ms=heard.latency_ms, cost_usd=heard.cost_usd, failed=0.0, usual=self._usual
        )
        self._contexts[self._key(arrival)].learn(arm, charged)

    @staticmethod
    def _key(arrival: Arrival) -> tuple[str, bool]:
        return arrival.function, (arrival.in_flight or 0.0) >= BUSY
