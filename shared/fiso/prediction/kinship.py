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
from operator import mul
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
    """What is expected at a spot: a logarithm and its variance, doubt about the facts included."""

    value: float
    variance: float


class _Group(NamedTuple):
    """Means that lie in one: which, their shares of it, 1 over the variance of each, and the variance of the whole."""

    members: list[int]
    shares: list[float]
    precisions: list[float]
    variance: float


class _Nested(NamedTuple):
    """Where an effect lies: which mean of its kind, None for one unseen, and how far that is kept."""

    place: int | None
    kept: float


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
        shape = _Shape(self, asked, seen)
        laid = [shape.under(hypothesis) for hypothesis in hypotheses]
        best = max(evidence for evidence, _ in laid)
        weights = [exp(evidence - best) for evidence, _ in laid]
        total = sum(weights)
        columns = zip(*(values for _, values in laid), strict=True)
        return [_mixed(v, weights, total, variance) for v, variance in zip(columns, shape.variances, strict=True)]


def _mixed(values: Sequence[float], weights: Sequence[float], total: float, variance: float) -> Expected:
    mean = sum(map(mul, weights, values)) / total
    doubt = sum(weight * (value - mean) ** 2 for weight, value in zip(weights, values, strict=True)) / total
    return Expected(value=mean, variance=variance + doubt)


class _Shape:
    """What no hypothesis changes: which levels lie in which copies and providers, and how much each counts."""

    __slots__ = ("_copies", "_function", "_kept", "_nested", "_providers", "_seen", "_usual", "variances")

    def __init__(self, tree: Tree, asked: Sequence[Spot], seen: Sequence[Seen]) -> None:
        self._seen, self._usual = seen, tree.usual
        levels = {(item.spot.endpoint.id, item.spot.bucket): index for index, item in enumerate(seen)}
        copies: dict[EndpointId, list[int]] = {}
        providers: dict[Provider, list[int]] = {}
        for index, item in enumerate(seen):
            id = item.spot.endpoint.id
            if id not in copies:
                providers.setdefault(item.spot.endpoint.provider, []).append(len(copies))
            copies.setdefault(id, []).append(index)
        noises = [item.noise for item in seen]
        self._copies = [_group(members, noises, tree.level) for members in copies.values()]
        of_copies = [group.variance for group in self._copies]
        self._providers = [_group(members, of_copies, tree.copy) for members in providers.values()]
        of_providers = [group.variance for group in self._providers]
        self._function = _group(list(range(len(providers))), of_providers, tree.provider) if seen else None
        self._kept = tree.function / (tree.function + self._function.variance) if self._function else 0.0
        variance = self._kept * self._function.variance if self._function else tree.function
        of_provider = {provider: index for index, provider in enumerate(providers)}
        of_copy = {id: index for index, id in enumerate(copies)}
        self._nested: list[list[_Nested]] = []
        self.variances: list[float] = []
        for spot in asked:
            id = spot.endpoint.id
            places = (
                (of_provider.get(spot.endpoint.provider), of_providers, tree.provider),
                (of_copy.get(id), of_copies, tree.copy),
                (levels.get((id, spot.bucket)), noises, tree.level),
            )
            nested, outer = [], variance
            for place, own, between in places:
                kept = 0.0 if place is None else between / (between + own[place])
                outer = outer + between if place is None else kept * own[place] + (1 - kept) ** 2 * outer
                nested.append(_Nested(place, kept))
            self._nested.append(nested)
            self.variances.append(outer)

    def under(self, hypothesis: Hypothesis) -> tuple[float, list[float]]:
        """The logarithm of how much a hypothesis counts, and what is expected at each spot under it."""
        levels = [item.value - offset for item, offset in zip(self._seen, hypothesis.seen, strict=True)]
        copies, apart = _means(self._copies, levels)
        providers, further = _means(self._providers, copies)
        mean, evidence = self._usual, log(hypothesis.chance) - apart - further
        if self._function is not None:
            (own,), last = _means([self._function], providers)
            mean, evidence = mean + self._kept * (own - mean), evidence - last
        kinds = (providers, copies, levels)
        found = []
        for nested, offset in zip(self._nested, hypothesis.asked, strict=True):
            value = mean
            for (place, kept), known in zip(nested, kinds, strict=True):
                if place is not None:
                    value += kept * (known[place] - value)
            found.append(value + offset)
        return evidence, found


def _group(members: list[int], variances: Sequence[float], between: float) -> _Group:
    precisions = [1 / (between + variances[member]) for member in members]
    total = sum(precisions)
    return _Group(members, [precision / total for precision in precisions], precisions, 1 / total)


def _means(groups: Sequence[_Group], parts: Sequence[float]) -> tuple[list[float], float]:
    """Each group's mean, and how far all parts lie from theirs: half the squares, by precision."""
    found, apart = [], 0.0
    for group in groups:
        own = [parts[member] for member in group.members]
        mean = sum(map(mul, group.shares, own))
        found.append(mean)
        if len(own) > 1:
            apart += sum(p * (part - mean) ** 2 for p, part in zip(group.precisions, own, strict=True)) / 2
    return found, apart
