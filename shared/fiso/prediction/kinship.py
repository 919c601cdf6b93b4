"""Kinship: how alike the copies of one function are expected to be, and what the known ones say of the others. Pure.

A quantity of a copy at a load (the logarithm of its latency, or of its bill) is a prior from published facts plus
effects: shared ones of the function, the provider, a small share of a processor, the load on a provider; the copy's
own; and the level's own. Each has a variance; what is seen of one copy then moves all that share an effect with it.

This is best linear unbiased prediction in a mixed model (Henderson 1975; Robinson, Statistical Science 1991), the same
as a Gaussian process with that covariance. The shared effects are few, so they are solved for first (`_Rows`), the
own ones given those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import NamedTuple

from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.prediction import facts
from fiso.prediction.regression import Solver, dot

LOG_OCTAVE = log(2)
LARGEST_OWN_VARIANCE = 0.25


class Spot(NamedTuple):
    """A copy at a load (its octave), where something is known or asked."""

    endpoint: Endpoint
    bucket: int


class Seen(NamedTuple):
    """What was seen at a spot: how far it lay from the prior (logarithms), and the variance of its noise."""

    spot: Spot
    residual: float
    noise: float


class Expected(NamedTuple):
    """What is expected at a spot: how far from the prior, and the variance of that against the best known copy.

    Against it, since only differences between copies decide: that a function is unknown makes all copies unsure alike.
    """

    residual: float
    variance: float


class _Given(NamedTuple):
    """A spot's own effects given the shared ones: `residual` from its own answers, `variance` what these leave open,
    `row` how the shared effects enter: those of the spot less those that its own answers show already."""

    residual: float
    variance: float
    row: list[float]


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """The standard deviation of each effect, as logarithms (0.3: about 30 %).

    `smallness` and `load` are slopes: per factor e of missing processor, and of load.
    """

    function: float
    provider: float
    smallness: float
    endpoint: float
    level: float
    load: Mapping[Provider, float]

    def expected(self, asked: Sequence[Spot], seen: Sequence[Seen]) -> list[Expected]:
        """What to expect at the spots asked for, one level of load per copy."""
        rows = _Rows(self, [*asked, *(item.spot for item in seen)])
        by_copy: dict[EndpointId, list[Seen]] = {}
        for item in seen:
            by_copy.setdefault(item.spot.endpoint.id, []).append(item)
        shared = Solver(rows.count)
        for items in by_copy.values():
            self._take_in(shared, items, rows)
        shared.solve()
        given = [self._given(spot, by_copy.get(spot.endpoint.id, ()), rows) for spot in asked]
        whitened = [shared.whitened(item.row) for item in given]
        own = [item.variance + dot(w, w) for item, w in zip(given, whitened, strict=True)]
        best = min(range(len(asked)), key=own.__getitem__)
        return [
            Expected(
                residual=item.residual + dot(item.row, shared.mean),
                variance=_against(own[best], own[i], dot(whitened[i], whitened[best]), is_best=i == best),
            )
            for i, item in enumerate(given)
        ]

    def _take_in(self, shared: Solver, items: Sequence[Seen], rows: "_Rows") -> None:
        """One copy's levels. Their own effects correlate them: the copy's effect is a rank-one term (Woodbury)."""
        if len(items) == 1:
            (item,) = items
            shared.add(rows.of(item.spot), item.residual, 1 / (self._endpoint + self._level + item.noise))
            return
        total, residual, common = 0.0, 0.0, [0.0] * rows.count
        for item in items:
            weight, row = 1 / (self._level + item.noise), rows.of(item.spot)
            shared.add(row, item.residual, weight)
            common = [a + weight * b for a, b in zip(common, row, strict=True)]
            total, residual = total + weight, residual + weight * item.residual
        # Levels of one copy are not independent. Subtracting the rank-one term that they share makes the precision the
        # one of their full covariance, without inverting it (docs/decisions/0005-prediction-in-layers.md).
        shrink = self._endpoint / (1 + self._endpoint * total)
        shared.add(common, residual, -shrink)

    def _given(self, spot: Spot, items: Sequence[Seen], rows: "_Rows") -> _Given:
        """Own effects given the shared ones: the copy's from all its levels, the level's from what is left of it."""
        row = rows.of(spot)
        if not items:
            return _Given(0.0, self._endpoint + self._level, row)
        # The copy's own effect is integrated out, so that its levels need no unknowns of their own in the solver: what
        # all of them say of it, shrunk towards no effect, then what is left over for the level that is asked about.
        weights = [1 / (self._level + item.noise) for item in items]
        shrink = self._endpoint / (1 + self._endpoint * sum(weights))
        parts = [shrink * weight for weight in weights]
        variance = shrink + self._level
        for index, item in enumerate(items):
            if item.spot.bucket == spot.bucket:
                kept = self._level * weights[index]
                parts = [part * (1 - kept) for part in parts]
                parts[index] += kept
                variance = (1 - kept) ** 2 * shrink + self._level * (1 - kept)
        residual = 0.0
        for part, item in zip(parts, items, strict=True):
            residual += part * item.residual
            row = [a - part * b for a, b in zip(row, rows.of(item.spot), strict=True)]
        return _Given(residual, variance, row)

    @cached_property
    def _endpoint(self) -> float:
        return self.endpoint**2

    @cached_property
    def _level(self) -> float:
        return self.level**2


class _Rows:
    """How the shared effects, each of variance 1, enter at each spot: function, smallness, provider, load on it."""

    __slots__ = ("_kinship", "_loads", "_providers", "_rows", "count")

    def __init__(self, kinship: Kinship, spots: Sequence[Spot]) -> None:
        self._kinship = kinship
        self._providers = {provider: 2 + place for place, provider in enumerate({s.endpoint.provider for s in spots})}
        loaded = {spot.endpoint.provider for spot in spots if spot.bucket}
        first = 2 + len(self._providers)
        self._loads = {provider: first + place for place, provider in enumerate(loaded)}
        self.count = first + len(loaded)
        self._rows: dict[tuple[EndpointId, int], list[float]] = {}

    def of(self, spot: Spot) -> list[float]:
        key = spot.endpoint.id, spot.bucket
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._made(spot)
        return row

    def _made(self, spot: Spot) -> list[float]:
        kinship, provider = self._kinship, spot.endpoint.provider
        row = [0.0] * self.count
        row[0] = kinship.function
        row[1] = kinship.smallness * facts.smallness(spot.endpoint)
        row[self._providers[provider]] = kinship.provider
        if spot.bucket:
            row[self._loads[provider]] = kinship.load[provider] * LOG_OCTAVE * spot.bucket
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A plainer kinship, for what is seen rarely: copies share one effect and have one of their own.

    The variances of the two.
    """

    shared: float
    own: float

    def expected(self, seen: Sequence[tuple[float, float] | None]) -> list[Expected]:
        """What to expect of each copy, from the residual and the variance of its noise where it was seen."""
        known = [item for item in seen if item is not None]
        weights = [1 / (self.own + noise) for _, noise in known]
        precision = sum(weights) + 1 / self.shared
        common = sum(weight * item[0] for weight, item in zip(weights, known, strict=True)) / precision
        return [self._of_copy(item, common) for item in seen]

    def _of_copy(self, item: tuple[float, float] | None, common: float) -> Expected:
        if item is None:
            return Expected(residual=common, variance=self.own)
        residual, noise = item
        kept = self.own / (self.own + noise)
        return Expected(residual=common + kept * (residual - common), variance=kept * noise)


def _against(bests: float, own: float, together: float, *, is_best: bool) -> float:
    # Never more unsure than the copy alone: that the best known one is unsure too is no reason to try another.
    against = min(bests, LARGEST_OWN_VARIANCE) if is_best else min(own, own + bests - 2 * together)
    return max(1e-9, against)
