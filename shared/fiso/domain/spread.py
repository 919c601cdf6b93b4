"""Spread: how a single call's latency scatters: log-normal while warm, by a start longer when cold. Pure."""

from functools import lru_cache
from math import exp, log, sqrt
from typing import NamedTuple

LONGEST_MS = 900_000.0
"""The clouds' longest timeout, 15 minutes."""
START_VARIATION = 0.7
"""The coefficient of variation of a start, of the order that mikhail.io's percentiles show for all three clouds."""


class Spread(NamedTuple):
    """A mixture: with the chance `cold` a call takes a start longer. Means in ms; `variation` of a warm call."""

    warm_ms: float
    variation: float
    cold: float
    start_ms: float

    @classmethod
    def through(cls, mean_ms: float, p95_ms: float) -> "Spread":
        """Warm calls with this mean and, as far as a log-normal can have it, this 95th percentile."""
        z = normal_quantile(0.95)
        steepest = max(0.0, z**2 - 2 * log(max(1.0, p95_ms / mean_ms)))
        return cls(warm_ms=mean_ms, variation=sqrt(exp((z - sqrt(steepest)) ** 2) - 1), cold=0.0, start_ms=0.0)

    def quantile(self, share: float) -> float:
        """The latency that a share of calls stays within, cold calls taken as the slowest ones; at most LONGEST_MS."""
        return _quantile(self, share)


@lru_cache(maxsize=1024)
def _quantile(spread: Spread, share: float) -> float:
    """Kept: the predictions of a context are asked for the same quantiles with every request."""
    warm = 1 - spread.cold
    if share > warm:
        cold_ms = log_normal_quantile(spread.start_ms, START_VARIATION, (share - warm) / spread.cold)
        return min(LONGEST_MS, spread.warm_ms + cold_ms)
    longest = log_normal_quantile(spread.warm_ms, spread.variation, share / warm)
    if spread.cold:
        longest = min(longest, spread.warm_ms + log_normal_quantile(spread.start_ms, START_VARIATION, 0.0))
    return min(LONGEST_MS, longest)


def log_normal_quantile(mean: float, variation: float, share: float) -> float:
    """A quantile of the log-normal distribution with this mean and coefficient of variation."""
    variance = log(1 + variation**2)
    return mean * exp(sqrt(variance) * normal_quantile(share) - variance / 2)


def normal_quantile(share: float) -> float:
    """The standard normal quantile, within 4.5e-4 (Abramowitz and Stegun, 26.2.23); beyond 1e-6 of the ends, that."""
    tail = max(1e-6, min(share, 1 - share))
    t = sqrt(-2 * log(tail))
    above = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    return above if share > 0.5 else -above
