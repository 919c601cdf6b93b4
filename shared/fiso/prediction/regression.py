"""Regression: a few unknown effects of prior variance 1 from noisy sums of them. Standard library only.

Bayesian linear regression (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 2.1.1):
precision A = I + sum of weight * x x^T, mean A^-1 (sum of weight * x * residual), by Cholesky's factor of A.
"""

from collections.abc import Sequence
from math import sqrt
from operator import mul


class Solver:
    """Observations are added, then solved for once; after that, means and variances are read."""

    __slots__ = ("_factor", "_precision", "_right", "mean")

    def __init__(self, count: int) -> None:
        self._precision = [[0.0] * row + [1.0] for row in range(count)]
        self._right = [0.0] * count
        self._factor: list[list[float]] = []
        self.mean = [0.0] * count

    def add(self, row: Sequence[float], residual: float, weight: float) -> None:
        """One observation: how the effects enter, what was left over, and 1 over the variance of its noise."""
        for i, entry in enumerate(row):
            if entry:
                scaled, target = weight * entry, self._precision[i]
                self._right[i] += scaled * residual
                for j in range(i + 1):
                    target[j] += scaled * row[j]

    def solve(self) -> None:
        """Factor the precision and find the mean."""
        factor = self._factor
        for row in self._precision:
            own: list[float] = []
            for above, entry in zip(factor, row, strict=False):
                own.append((entry - sum(map(mul, own, above))) / above[-1])
            own.append(sqrt(row[-1] - dot(own, own)))
            factor.append(own)
        self.mean = _backward(factor, self.whitened(self._right))

    def whitened(self, row: Sequence[float]) -> list[float]:
        """A vector per sum of effects: the product of two is the covariance that is left between the two sums."""
        solved: list[float] = []
        for factor, entry in zip(self._factor, row, strict=True):
            solved.append((entry - sum(map(mul, solved, factor))) / factor[-1])
        return solved


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    total = 0.0
    for a, b in zip(left, right, strict=True):
        total += a * b
    return total


def _backward(factor: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve L^T x = right."""
    left = list(right)
    for i in range(len(factor) - 1, -1, -1):
        row = factor[i]
        left[i] /= row[i]
        for j in range(i):
            left[j] -= row[j] * left[i]
    return left
