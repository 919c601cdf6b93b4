"""Kinship: how alike the copies of one function are expected to be, and what the known ones say of the others.

A quantity of a copy at a load (the logarithm of its latency, its bill, its cold start) is a prior from published facts
plus effects that copies share: the function's, the provider's, that of a small share of a processor, that of load, the
copy's own. Each has a variance; what is seen of one copy then moves all that share an effect with it. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log

from fiso.domain.endpoint import Endpoint, Provider
from fiso.prediction import facts, regression

LOG_OCTAVE = log(2)
LARGEST_OWN_VARIANCE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A copy at a load, where something is known or asked. `bucket` is the load's octave."""

    endpoint: Endpoint
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen at a spot: how far it lay from the prior (logarithms), and the variance of its noise."""

    spot: Spot
    residual: float
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is expected at a spot: how far from the prior, and the variance of that against the best known copy.

    Against it, since only differences between copies decide: that a function is unknown makes all copies unsure alike.
    """

    residual: float
    variance: float


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """The standard deviation of each shared effect, as logarithms (0.3: about 30 %).

    `smallness` and `load` are slopes: per factor e of missing processor, and of load.
    """

    function: float
    provider: float
    smallness: float
    endpoint: float
    level: float
    load: Mapping[Provider, float]

    def covariance(self, one: Spot, other: Spot) -> float:
        """How much two spots are expected to vary together."""
        a, b = one.endpoint, other.endpoint
        shared = self._function + self._smallness * facts.smallness(a) * facts.smallness(b)
        if a.provider is b.provider:
            shared += self._provider + self._load[a.provider] * one.bucket * other.bucket
            if a.id == b.id:
                shared += self._endpoint + (self._level if one.bucket == other.bucket else 0.0)
        return shared

    def expected(self, asked: Sequence[Spot], seen: Sequence[Seen]) -> list[Expected]:
        """What to expect at the spots asked for."""
        spots = [item.spot for item in seen]
        lower = [[self.covariance(spot, other) for other in spots[: index + 1]] for index, spot in enumerate(spots)]
        known = regression.fit(lower, [item.noise for item in seen], [item.residual for item in seen])
        crosses = [[self.covariance(spot, other) for other in spots] for spot in asked]
        whitened = [known.whitened(cross) for cross in crosses]
        own = [self.covariance(spot, spot) - _dot(w, w) for spot, w in zip(asked, whitened, strict=True)]
        best = min(range(len(asked)), key=own.__getitem__)
        together = [
            self.covariance(spot, asked[best]) - _dot(w, whitened[best])
            for spot, w in zip(asked, whitened, strict=True)
        ]
        return [
            Expected(
                residual=known.mean(cross),
                variance=_relative(own[i], own[best], together[i], is_best=i == best),
            )
            for i, cross in enumerate(crosses)
        ]

    @cached_property
    def _function(self) -> float:
        return self.function**2

    @cached_property
    def _provider(self) -> float:
        return self.provider**2

    @cached_property
    def _smallness(self) -> float:
        return self.smallness**2

    @cached_property
    def _endpoint(self) -> float:
        return self.endpoint**2

    @cached_property
    def _level(self) -> float:
        return self.level**2

    @cached_property
    def _load(self) -> dict[Provider, float]:
        return {provider: (slope * LOG_OCTAVE) ** 2 for provider, slope in self.load.items()}


def _relative(own: float, bests: float, together: float, *, is_best: bool) -> float:
    against = min(bests, LARGEST_OWN_VARIANCE) if is_best else min(own, own + bests - 2 * together)
    return max(1e-9, against)


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
