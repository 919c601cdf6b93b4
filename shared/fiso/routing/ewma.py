"""Exponentially weighted averages, for latency levels, error rates and residuals."""

from math import exp


def blend(old: float | None, new: float, weight: float) -> float:
    """The average after one more observation; the first observation stands for itself."""
    return new if old is None else old + weight * (new - old)


def decay(elapsed_s: float, time_constant_s: float) -> float:
    """How much of an average is left after a time: exp(-elapsed / constant), in (0, 1]."""
    return exp(-max(0.0, elapsed_s) / time_constant_s)
