"""Regression: what some noisy observations say of quantities that are expected to be alike. Standard library only.

A Gaussian process, which for given variances is the best linear unbiased prediction of a mixed model (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, section 2.2, algorithm 2.1). A dozen observations take some
hundred microseconds in plain Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from operator import mul


@dataclass(frozen=True, slots=True)
class Fit:
    """Observations taken in: the lower Cholesky factor of their covariance, and its inverse times the residuals."""

    factor: list[list[float]]
    weights: list[float]

    def mean(self, cross: Sequence[float]) -> float:
        """The expected residual of a quantity; `cross` its prior covariance with each observation."""
        return sum(a * b for a, b in zip(cross, self.weights, strict=True))

    def whitened(self, cross: Sequence[float]) -> list[float]:
        """A vector per quantity: the product of two is what the observations take off the covariance of the two."""
        return _forward(self.factor, cross)


def fit(covariance: Sequence[Sequence[float]], noise: Sequence[float], residuals: Sequence[float]) -> Fit:
    """Take in observations: prior covariance (n x n, only the lower triangle is read), variance of each one's noise
    (above 0), and how far each lay from its prior mean."""
    factor: list[list[float]] = []
    for i, row in enumerate(covariance):
        own: list[float] = []
        for j in range(i):
            above = factor[j]
            own.append((row[j] - sum(map(mul, own, above))) / above[j])
        own.append(sqrt(row[i] + noise[i] - sum(map(mul, own, own))))
        factor.append(own)
    return Fit(factor, _backward(factor, _forward(factor, residuals)))


def _forward(factor: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve L x = right."""
    solved: list[float] = []
    for row, value in zip(factor, right, strict=True):
        solved.append((value - sum(map(mul, row, solved))) / row[-1])
    return solved


def _backward(factor: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve L^T x = right."""
    left = list(right)
    for i in range(len(factor) - 1, -1, -1):
        row = factor[i]
        left[i] /= row[i]
        for j in range(i):
            left[j] -= row[j] * left[i]
    return left
