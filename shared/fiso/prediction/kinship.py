"""Kinship: what the copies that were seen say of those that were not, without believing any published fact. Pure.

The logarithm of a quantity of a copy at a load (its latency, its bill) is a mean of the function plus effects of its
provider, of the place it lies in whatever the cloud, of its region, of the copy and of the level of load: crossed
random effects (Gelman and Hill, Data Analysis Using Regression and Multilevel Models, 2007, chapter 13). The more of
them two spots share, the more does one say of the other. What is expected is the best linear prediction (Henderson,
Biometrics 1975), worked out as in Gaussian process regression (Rasmussen and Williams 2006, algorithm 2.1).

A published fact enters as a hypothesis: an offset per spot that would be there if it were true. Every hypothesis is
laid on the same effects, and counts by how well what was seen agrees with it (Bayesian model averaging; Hoeting et al.,
Statistical Science 1999). A fact that does not hold here is out after one or two calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from operator import mul
from typing import NamedTuple

from fiso.domain.endpoint import Endpoint
from fiso.prediction import features

LEAST_VARIANCE = 1e-9
"""What rounding may take off a variance is put back."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The variances of the effects, of logarithms. Of a function unseen the mean `usual` is expected, +- `function`."""

    function: float
    provider: float
    place: float
    region: float
    copy: float
    level: float
    usual: float = 0.0

    def expected(self, asked: Sequence[Spot], seen: Sequence[Seen], hypotheses: Sequence[Hypothesis]) -> list[Expected]:
        """What to expect at each spot that is asked for, over all hypotheses."""
        spots = [item.spot for item in seen]
        root: list[list[float]] = []  # of the covariance of what was seen: its lower triangle (Cholesky)
        for item, shared in zip(seen, self._shared(spots, spots), strict=True):
            row = _solved(root, shared)
            alone = shared[len(row)] + item.noise - sum(map(mul, row, row))
            root.append([*row, sqrt(max(LEAST_VARIANCE, alone))])
        told = [_solved(root, shared) for shared in self._shared(asked, spots)]
        whole = self.function + self.provider + self.place + self.region + self.copy + self.level
        variances = [max(LEAST_VARIANCE, whole - sum(map(mul, row, row))) for row in told]
        laid = []
        for chance, offsets, seen_offsets in hypotheses:
            off = _solved(root, [i.value - self.usual - at for i, at in zip(seen, seen_offsets, strict=True)])
            values = [self.usual + sum(map(mul, row, off)) + at for row, at in zip(told, offsets, strict=True)]
            laid.append((log(chance) - sum(map(mul, off, off)) / 2, values))
        best = max(evidence for evidence, _ in laid)
        weights = [exp(evidence - best) for evidence, _ in laid]
        columns = zip(*(values for _, values in laid), strict=True)
        return [_mixed(v, weights, variance) for v, variance in zip(columns, variances, strict=True)]

    def _shared(self, asked: Sequence[Spot], seen: Sequence[Spot]) -> list[list[float]]:
        """The covariance of each spot asked for with each that was seen: the variances of what they have in common."""
        with_place, of_level = self.function + self.place, self.region + self.copy + self.level
        known = [(spot, _place(spot.endpoint.region)) for spot in seen]
        rows = []
        for (own, bucket), place in ((spot, _place(spot.endpoint.region)) for spot in asked):
            row = []
            for (other, level), lies_in in known:
                shared = with_place if place == lies_in else self.function
                if own.provider is other.provider:
                    shared += self.provider
                    if own.id == other.id:
                        shared += of_level if bucket == level else self.region + self.copy
                    elif own.region == other.region:
                        shared += self.region
                row.append(shared)
            rows.append(row)
        return rows


def _place(region: str) -> int | str:
    """Where a region lies; one that is not listed is a place of its own, or nothing seen there would ever be sure."""
    place = features.place(region)
    return region if place is None else place


def _solved(root: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """x of root x = values, for as many values as the triangle has rows."""
    found: list[float] = []
    for row, value in zip(root, values, strict=False):
        found.append((value - sum(map(mul, row, found))) / row[-1])
    return found


def _mixed(values: Sequence[float], weights: Sequence[float], variance: float) -> Expected:
    total = sum(weights)
    mean = sum(map(mul, weights, values)) / total
    doubt = sum(weight * (value - mean) ** 2 for weight, value in zip(weights, values, strict=True)) / total
    return Expected(value=mean, variance=variance + doubt)
