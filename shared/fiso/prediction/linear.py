"""Linear models, served in plain Python: a sum of weighted terms of the features. Standard library only.

A term is of one feature: `is` (1 where it has a value, else 0), `log` (the logarithm of 1 + it), `octave` (how many
binary digits its whole part has, so that sizes of one octave are never told apart) or `plain`. Negative values count as
0 but for `is`, and none as more than LARGEST: a feature that was never so large must not send a prediction anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log1p
from typing import NamedTuple

KINDS = ("is", "log", "octave", "plain")
LARGEST = 1e9
MOST_TERMS = 4096


class Term(NamedTuple):
    """One term: its kind, where its feature stands in a row, and the value that `is` compares with (else 0)."""

    kind: str
    column: int
    value: float

    def of(self, row: Sequence[float]) -> float:
        found = row[self.column]
        if self.kind == "is":
            return 1.0 if found == self.value else 0.0
        bounded = min(LARGEST, max(0.0, found))
        if self.kind == "log":
            return log1p(bounded)
        return float(octave(bounded)) if self.kind == "octave" else bounded


def octave(value: float) -> int:
    return int(min(LARGEST, max(0.0, value))).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One base and one row of weights per target, in the targets' order."""

    terms: tuple[Term, ...]
    bases: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.bases) != len(self.weights) or len(self.terms) > MOST_TERMS:
            raise ValueError("bases and weights differ in number, or there are too many terms")
        if any(len(each) != len(self.terms) for each in self.weights):
            raise ValueError("a target has not one weight for each term")
        numbers = [*self.bases, *(weight for each in self.weights for weight in each)]
        if not all(map(isfinite, numbers)):
            raise ValueError("a weight is not finite")

    def step(self, column: int, value: float) -> int:
        """Which step a column's value falls on: values on the same one are never told apart."""
        return octave(value) if any(term.column == column for term in self.terms) else 0

    def predict(self, row: Sequence[float]) -> list[float]:
        values = [term.of(row) for term in self.terms]
        return [
            base + sum(weight * value for weight, value in zip(each, values, strict=True))
            for base, each in zip(self.bases, self.weights, strict=True)
        ]

    def predict_all(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """One sum per target, for each row."""
        return [self.predict(row) for row in rows]
