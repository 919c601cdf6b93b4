"""Kinship: what the copies that were seen say of those that were not, without believing any published fact. Pure.

The logarithm of a quantity of a copy at a load (its latency, its bill) is a mean of the function plus effects of its
provider, of the copy and of the level of load, each inside the one before: a tree of means (nested random effects;
Gelman and Hill, Data Analysis Using Regression and Multilevel Models, 2007, chapter 12). What one copy showed moves its
provider's others more than the rest.

A published fact enters as a hypothesis: an offset per spot that would be there if it were true. Every hypothesis is
laid on the same tree, and counts by how well what was seen agrees with it (Bayesian model averaging; Hoeting et al.,
Statistical Science 1999). A fact that does not hold here is out after one or two calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import NamedTuple

from fiso.domain.endpoint import Endpoint, EndpointId, Provider


class Spot(NamedTuple):
    """A copy at a load (its octave), where something is known or asked."""

    endpoint: Endpoint
    bucket: int


class Seen(NamedTuple):
    """What was seen at a spot: a logarithm, and the variance of its noise."""

    spot: Spot
    value: float
    noise: float


class Hypothesis(NamedTuple):
    """How far a fact, if it were true, would put each spot from the mean (logarithms), and what it counts unseen.

    `asked` and `seen` are in the order of the spots.
    """

    chance: float
    asked: Sequence[float]
    seen: Sequence[float]


class Expected(NamedTuple):
    """What is expected at a spot: a logarithm, its variance, and how much of that is doubt about the facts."""

    value: float
    variance: float


class _Mean(NamedTuple):
    value: float
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The variances of the effects, of logarithms. Of a function unseen the mean `usual` is expected, +- `function`."""

    function: float
    provider: float
    copy: float
    level: float
    usual: float = 0.0

    def expected(self, asked: Sequence[Spot], seen: Sequence[Seen], hypotheses: Sequence[Hypothesis]) -> list[Expected]:
        """What to expect at each spot that is asked for, over all hypotheses."""
        laid = [_Laid(self, seen, hypothesis) for hypothesis in hypotheses]
        best = max(one.evidence for one in laid)
        weights = [exp(one.evidence - best) for one in laid]
        total = sum(weights)
        means = [
            [one.at(spot, offset) for one, offset in zip(laid, offsets, strict=True)]
            for spot, offsets in zip(
                asked, zip(*(hypothesis.asked for hypothesis in hypotheses), strict=True), strict=True
            )
        ]
        return [_mixed(found, [weight / total for weight in weights]) for found in means]


def _mixed(found: Sequence[_Mean], weights: Sequence[float]) -> Expected:
    value = sum(weight * mean.value for weight, mean in zip(weights, found, strict=True))
    variance = sum(
        weight * (mean.variance + (mean.value - value) ** 2) for weight, mean in zip(weights, found, strict=True)
    )
    return Expected(value=value, variance=variance)


class _Laid:
    """One hypothesis laid on the tree: what was seen less its offsets, summed up from the levels to the function."""

    __slots__ = ("_copies", "_function", "_levels", "_providers", "_tree", "evidence")

    def __init__(self, tree: Tree, seen: Sequence[Seen], hypothesis: Hypothesis) -> None:
        self._tree, self.evidence = tree, log(hypothesis.chance)
        self._levels = {
            (item.spot.endpoint.id, item.spot.bucket): _Mean(item.value - offset, item.noise)
            for item, offset in zip(seen, hypothesis.seen, strict=True)
        }
        providers = {item.spot.endpoint.id: item.spot.endpoint.provider for item in seen}
        of_copy: dict[EndpointId, list[_Mean]] = {}
        for (copy, _), level in self._levels.items():
            of_copy.setdefault(copy, []).append(level)
        self._copies = {copy: self._together(levels, tree.level) for copy, levels in of_copy.items()}
        of_provider: dict[Provider, list[_Mean]] = {}
        for copy, mean in self._copies.items():
            of_provider.setdefault(providers[copy], []).append(mean)
        self._providers = {name: self._together(copies, tree.copy) for name, copies in of_provider.items()}
        prior = _Mean(tree.usual, tree.function)
        own = self._together(list(self._providers.values()), tree.provider) if seen else None
        self._function = prior if own is None else _within(_Mean(tree.usual, 0.0), own, tree.function)

    def at(self, spot: Spot, offset: float) -> _Mean:
        """The mean at a spot: each effect shrunk towards the one it lies in, as far as it was not seen."""
        tree, copy = self._tree, spot.endpoint.id
        mean = _within(self._function, self._providers.get(spot.endpoint.provider), tree.provider)
        mean = _within(mean, self._copies.get(copy), tree.copy)
        mean = _within(mean, self._levels.get((copy, spot.bucket)), tree.level)
        return _Mean(mean.value + offset, mean.variance)

    def _together(self, parts: Sequence[_Mean], between: float) -> _Mean:
        """The mean of several that scatter by `between` around it; scattering more speaks against the offsets."""
        weights = [1 / (between + part.variance) for part in parts]
        total = sum(weights)
        value = sum(weight * part.value for weight, part in zip(weights, parts, strict=True)) / total
        self.evidence -= sum(w * (part.value - value) ** 2 for w, part in zip(weights, parts, strict=True)) / 2
        return _Mean(value, 1 / total)


def _within(outer: _Mean, own: _Mean | None, between: float) -> _Mean:
    """A mean inside another one: from its own answers as far as they are surer than the spread between such means."""
    if own is None:
        return _Mean(outer.value, outer.variance + between)
    kept = between / (between + own.variance)
    return _Mean(outer.value + kept * (own.value - outer.value), kept * own.variance + (1 - kept) ** 2 * outer.variance)
