"""Figures: what an experiment measured, the target it is held against, and how sure its sample makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy.stats import beta, binom

CONFIDENCE = 0.95


class Op(StrEnum):
    """How a value stands to its target."""

    AT_MOST = "<="
    AT_LEAST = ">="
    EQUALS = "=="


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of an experiment.

    `n` is the sample size; `bound` the one-sided 95 % confidence limit of the value on its bad side, where the sample
    allows one: below it for AT_LEAST, above it else. `is_met` judges the value; that the bound reaches the target too
    is what only a large enough sample can show.
    """

    name: str
    value: float
    op: Op
    target: float
    unit: str
    n: int
    bound: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value keeps its target."""
        if self.op is Op.AT_MOST:
            return self.value <= self.target
        return self.value >= self.target if self.op is Op.AT_LEAST else self.value == self.target


def share_at_least(successes: int, n: int) -> float:
    """The share that successes of n prove with 95 % confidence: the lower limit of Clopper and Pearson (1934)."""
    return 0.0 if successes == 0 else float(beta.ppf(1 - CONFIDENCE, successes, n - successes + 1))


def share_at_most(events: int, n: int) -> float:
    """The share that events of n do not exceed with 95 % confidence: the upper limit of Clopper and Pearson (1934)."""
    return 1.0 if events == n else float(beta.ppf(CONFIDENCE, events + 1, n - events))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) - 1e-9)))]


def quantile_at_most(values: Sequence[float], share: float) -> float | None:
    """What the true quantile does not exceed with 95 % confidence, by order statistics; None where the sample is too
    small to say (p99 needs 299 values)."""
    ordered = sorted(values)
    rank = int(binom.ppf(CONFIDENCE, len(ordered), share)) + 1
    return ordered[rank - 1] if rank <= len(ordered) else None


def count_of_none(name: str, events: int, n: int, unit: str) -> Figure:
    """A figure that must be exactly 0: `events` of `n`. Its bound is the number that n tries do not exclude."""
    return Figure(name=name, value=events, op=Op.EQUALS, target=0, unit=unit, n=n, bound=n * share_at_most(events, n))


def share_reached(name: str, successes: int, n: int, target: float) -> Figure:
    """A share (0 to 1) of n that must reach a target."""
    return Figure(
        name=name,
        value=successes / n,
        op=Op.AT_LEAST,
        target=target,
        unit="share",
        n=n,
        bound=share_at_least(successes, n),
    )
