"""Intervals: an estimate and its 95 % interval, from how much each cluster of records moves it.

The delta method: to first order an estimate's error is the sum of its clusters' influences, so their squares estimate
its variance, and the quotient is compared with Student's distribution (Owen, Monte Carlo theory, methods and examples,
2013, chapter 9; by clusters: Liang and Zeger 1986). Rare events need more: Wilson's interval (Wilson 1927), and for a
difference of two shares Newcombe's (1998, method 10).
"""

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from scipy.special import stdtrit

from fiso.learning.dataset import Floats

LEVEL = 0.95
UPPER = (1 + LEVEL) / 2
FEWEST_CLUSTERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval, in the loss's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A value, how far each cluster moves it (`influences` sum to about 0), and how many draws it is worth."""

    value: float
    influences: Floats
    sample_size: float

    def estimate(self) -> Estimate:
        """With the studentised interval. Student's freedom is the effective sample size's: few heavy weights know as
        little of their own spread as so few draws would."""
        return _around(self.value, self.influences, self.sample_size)

    def share(self) -> Estimate:
        """The same for a share, within [0, 1] and never narrower than Wilson's interval: no failure seen is not that
        none can be."""
        found, wilson = self.estimate(), _wilson(self.value, self.sample_size)
        return Estimate(
            value=wilson.value,
            low=max(0.0, min(found.low, wilson.low)),
            high=min(1.0, max(found.high, wilson.high)),
        )


def mean(values: Floats) -> Estimate:
    """The mean of independent values, at least two."""
    return _around(float(values.mean()), (values - values.mean()) / len(values), len(values))


def difference(new: Sketch, old: Sketch) -> Estimate:
    """new - old, both from the same clusters, so that what they share cancels."""
    smaller = min(new.sample_size, old.sample_size)
    return _around(new.value - old.value, new.influences - old.influences, smaller)


def difference_of_shares(new: Sketch, old: Sketch) -> Estimate:
    """The same for shares, never narrower than Newcombe's interval."""
    found = difference(new, old)
    one, other = _wilson(new.value, new.sample_size), _wilson(old.value, old.sample_size)
    below = hypot(one.value - one.low, other.high - other.value)
    above = hypot(one.high - one.value, other.value - other.low)
    value = one.value - other.value
    return Estimate(
        value=value,
        low=max(-1.0, min(found.low, value - below)),
        high=min(1.0, max(found.high, value + above)),
    )


def _around(value: float, influences: Floats, sample_size: float) -> Estimate:
    clusters = len(influences)
    if clusters < FEWEST_CLUSTERS:
        raise ValueError("an interval needs two clusters")
    variance = float(np.sum(influences**2)) * clusters / (clusters - 1)
    half = float(stdtrit(max(1.0, sample_size - 1), UPPER)) * sqrt(variance)
    return Estimate(value=value, low=value - half, high=value + half)


def _wilson(value: float, sample_size: float) -> Estimate:
    """Wilson's interval for a share of so many draws; a doubly robust share may lie outside [0, 1] and is cut there."""
    share, z = min(1.0, max(0.0, value)), 1.959964
    spread = z * z / sample_size
    centre = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / sample_size + spread / (4 * sample_size)) / (1 + spread)
    return Estimate(value=share, low=min(share, centre - half), high=max(share, centre + half))
