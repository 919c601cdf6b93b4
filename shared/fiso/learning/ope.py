"""Off-policy evaluation: what a policy would have lost on average, from the log of another one.

Per record i the behaviour policy could have called candidate a first with the propensity b(a), the evaluation policy
would have with the probability p(a); the call made is A, its loss L, and q(a) the predicted loss. With w = p(A) / b(A):

IPS      mean of w L                                    (Horvitz and Thompson 1952)
SNIPS    sum of w L / sum of w                          (self-normalised: Hajek 1971; Swaminathan and Joachims 2015)
DR       mean of sum over a of p(a) q(a) + w (L - q(A)) (doubly robust: Dudik, Langford and Li 2011)

All are values of one step: what a first call loses in the situations that were logged. They do not know how another
policy would have warmed or loaded the endpoints. Intervals are the studentised delta method's (`intervals`): a mean's
influences are (term - mean) / n, SNIPS's are w (L - value) / sum of w, the ratio estimator's (Cochran 1977, section 6).
Records of one cluster, which share one draw, add up theirs. A log that cannot speak for the policy is refused
(`Overlap`): a record bears on a policy as far as the policy would have called first what was called.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TypeAlias

import numpy as np

from fiso.domain.endpoint import EndpointId
from fiso.learning.dataset import Floats
from fiso.learning.intervals import Estimate, Sketch, difference, difference_of_shares

LEAST_SAMPLE = 50.0
"""The effective sample size below which nothing is estimated: studentised intervals of skewed weights need it."""
LARGEST_SHARE = 0.10
"""The most that one cluster may bear of all weight."""
MOST_UNCOVERED = 0.05
"""The most of the policy's choices that may fall on what the log could not have called. What does is left out: the
estimate is of the policy among the endpoints that could be called."""


class Thinness(StrEnum):
    """Why a log cannot speak for a policy. The first that applies, in this order."""

    NO_RECORDS = "no_records"
    UNCOVERED = "uncovered"
    DOMINATED = "dominated"
    FEW = "few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The figures. `records` and `clusters` are those that estimates are made of, `left_out` the other records.

    `sample_size` is Kish's effective sample size of the clusters' weights (Kish 1965, Survey Sampling; Kong 1992).
    `expected_size` is the same with the weights' second moment as the propensities have it: an endpoint that the policy
    wants and the log hardly ever called shows there, even while no such call was drawn. `largest_share` is the heaviest
    cluster's part of all weight; `mean_weight` is near 1 where the logged propensities are true. `uncovered` is
    how much of the policy's choices fell on endpoints that could not have been called, per endpoint.
    """

    records: int
    clusters: int
    left_out: int
    sample_size: float
    expected_size: float
    largest_share: float
    mean_weight: float
    uncovered: Mapping[EndpointId, float]

    @property
    def uncovered_share(self) -> float:
        """The share of all the policy's choices that the log could not have made."""
        return sum(self.uncovered.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No estimate, and why: `detail` is a sentence with the figures in it."""

    reason: Thinness
    detail: str
    overlap: Overlap


def refusal_of(overlap: Overlap) -> Refusal | None:
    found = _thinness(overlap)
    return None if found is None else Refusal(reason=found, detail=_DETAILS[found](overlap), overlap=overlap)


def _thinness(overlap: Overlap) -> Thinness | None:
    if overlap.records + overlap.left_out == 0:
        return Thinness.NO_RECORDS
    if overlap.uncovered_share > MOST_UNCOVERED or overlap.records == 0:
        return Thinness.UNCOVERED
    if overlap.largest_share > LARGEST_SHARE and overlap.clusters >= LEAST_SAMPLE:
        return Thinness.DOMINATED
    return Thinness.FEW if min(overlap.sample_size, overlap.expected_size) < LEAST_SAMPLE else None


def _uncovered(overlap: Overlap) -> str:
    worst = sorted(overlap.uncovered.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{endpoint} {share:.1%}" for endpoint, share in worst)
    return (
        f"{overlap.uncovered_share:.1%} of the policy's choices fall on endpoints that could not have been called "
        f"({named}); at most {MOST_UNCOVERED:.0%} may"
    )


def _few(overlap: Overlap) -> str:
    return (
        f"the effective sample size is {overlap.sample_size:,.1f} of {overlap.clusters:,} "
        f"(by the propensities {overlap.expected_size:,.1f}); at least {LEAST_SAMPLE:g} are needed"
    )


def _dominated(overlap: Overlap) -> str:
    return (
        f"one call or lease bears {overlap.largest_share:.1%} of all weight; at most {LARGEST_SHARE:.0%} may, "
        f"or the estimate would be that one's"
    )


_DETAILS = {
    Thinness.NO_RECORDS: lambda _: "there are no records",
    Thinness.UNCOVERED: _uncovered,
    Thinness.FEW: _few,
    Thinness.DOMINATED: _dominated,
}


Probabilities: TypeAlias = Mapping[EndpointId, float]
"""An evaluation policy's probabilities to call each endpoint first, in one logged situation. What is missing is 0."""
LEAST_COVERED = 0.5
"""A record counts if at least half of what the policy would have called there could have been called."""
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCandidate:
    """One candidate of a decision: the propensity to be called first, and the loss that was predicted."""

    endpoint: EndpointId
    propensity: float
    predicted_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """What could have been called first, what was, and what it lost.

    `cluster` names what shares one draw (a lease); None is a draw of its own.
    """

    candidates: tuple[LoggedCandidate, ...]
    called: EndpointId
    loss: float
    cluster: str | None = None

    def __post_init__(self) -> None:
        chances = [candidate.propensity for candidate in self.candidates]
        if abs(sum(chances) - 1) > ROUNDING or min(chances, default=0.0) < 0:
            raise ValueError(f"propensities must be shares of 1: {chances}")
        if not any(c.endpoint == self.called and c.propensity > 0 for c in self.candidates):
            raise ValueError(f"{self.called} was called without a propensity to be")
        if not (isfinite(self.loss) and all(isfinite(c.predicted_loss) for c in self.candidates)):
            raise ValueError("losses must be finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the log says of a policy. `logged` is what the behaviour policy lost, in the same records.

    Differences are the policy's value less the logged one: below 0 it loses less.
    """

    overlap: Overlap
    logged: Estimate
    ips: Estimate
    snips: Estimate
    dr: Estimate
    snips_difference: Estimate
    dr_difference: Estimate


def evaluate(log: Iterable[tuple[LoggedDecision, Probabilities]], *, is_share: bool = False) -> Evaluation | Refusal:
    """Evaluate a policy, given as its probabilities beside each logged decision. `is_share`: losses are 0 or 1."""
    kept = Log()
    for decision, policy in log:
        kept.add(decision, policy)
    return kept.evaluate(is_share=is_share)


class Log:
    """A log as it is read, about 50 bytes a record."""

    def __init__(self) -> None:
        self._rows = array("d")
        self._clusters = array("q")
        self._numbers: dict[str, int] = {}
        self._next = 0
        self._left_out = 0
        self._uncovered: dict[EndpointId, float] = {}

    def add(self, decision: LoggedDecision, policy: Probabilities) -> None:
        """One more decision. `ValueError` unless the policy's probabilities sum to 1."""
        if abs(sum(policy.values()) - 1) > ROUNDING or min(policy.values(), default=0.0) < 0:
            raise ValueError(f"probabilities must be shares of 1: {dict(policy)}")
        could = {c.endpoint: c for c in decision.candidates if c.propensity > 0}
        covered = 0.0
        for endpoint, chance in policy.items():
            if endpoint in could:
                covered += chance
            elif chance:
                self._uncovered[endpoint] = self._uncovered.get(endpoint, 0.0) + chance
        if covered < LEAST_COVERED:
            self._left_out += 1
            return
        self._rows.extend(_row(decision, could, {e: policy.get(e, 0.0) / covered for e in could}))
        self._clusters.append(self._cluster(decision.cluster))

    def overlap(self) -> Overlap:
        """How far the log bears on the policy."""
        records = len(self._clusters)
        total = records + self._left_out
        uncovered = {endpoint: mass / total for endpoint, mass in self._uncovered.items()}
        table = self._table()
        weights = self._by_cluster(table[:, _WEIGHT])
        # By the propensities, not by what was drawn: an endpoint that the log would call once in 10,000 times leaves
        # perfect looking weights behind as long as it is not (docs/decisions/0007-off-policy-evaluation.md).
        expected_square = float(np.sum(self._by_cluster(np.ones(records)) * self._by_cluster(table[:, _SQUARE])))
        weight, square = float(weights.sum()), float(np.sum(weights**2))
        return Overlap(
            records=records,
            clusters=self._next,
            left_out=self._left_out,
            sample_size=weight**2 / square if square else 0.0,
            expected_size=records**2 / expected_square if expected_square else 0.0,
            largest_share=float(weights.max()) / weight if weight else 0.0,
            mean_weight=weight / records if records else 0.0,
            uncovered=uncovered,
        )

    def evaluate(self, *, is_share: bool = False) -> Evaluation | Refusal:
        """The three estimates with their intervals, or why there are none."""
        overlap = self.overlap()
        refusal = refusal_of(overlap)
        if refusal is not None:
            return refusal
        logged, ips, snips, dr = self._sketches(overlap)
        of, between = (Sketch.share, difference_of_shares) if is_share else (Sketch.estimate, difference)
        return Evaluation(
            overlap=overlap,
            logged=of(logged),
            ips=of(ips),
            snips=of(snips),
            dr=of(dr),
            snips_difference=between(snips, logged),
            dr_difference=between(dr, logged),
        )

    def _sketches(self, overlap: Overlap) -> tuple[Sketch, ...]:
        """Of the logged value, IPS, SNIPS and DR."""
        weights, losses, predicted, direct, _ = self._table().T
        size = min(overlap.sample_size, overlap.expected_size)
        total = float(weights.sum())
        ratio = float(np.sum(weights * losses)) / total
        snips = Sketch(value=ratio, influences=self._by_cluster(weights * (losses - ratio) / total), sample_size=size)
        return (
            self._mean(losses, float(overlap.clusters)),
            self._mean(weights * losses, size),
            snips,
            self._mean(direct + weights * (losses - predicted), size),
        )

    def _mean(self, terms: Floats, sample_size: float) -> Sketch:
        mean = float(terms.mean())
        return Sketch(value=mean, influences=self._by_cluster((terms - mean) / len(terms)), sample_size=sample_size)

    def _table(self) -> Floats:
        return np.asarray(self._rows).reshape(len(self._clusters), _COLUMNS)

    def _by_cluster(self, values: Floats) -> Floats:
        return np.bincount(np.asarray(self._clusters), weights=values).astype(np.float64)

    def _cluster(self, name: str | None) -> int:
        number = self._next if name is None else self._numbers.setdefault(name, self._next)
        self._next = max(self._next, number + 1)
        return number


_COLUMNS = 5
_WEIGHT, _SQUARE = 0, 4


def _row(
    decision: LoggedDecision, could: Mapping[EndpointId, LoggedCandidate], policy: Probabilities
) -> tuple[float, ...]:
    """Weight, loss, predicted loss, the policy's predicted loss, and the weight's expected square."""
    called = could[decision.called]
    return (
        policy[decision.called] / called.propensity,
        decision.loss,
        called.predicted_loss,
        sum(policy[endpoint] * candidate.predicted_loss for endpoint, candidate in could.items()),
        sum(policy[endpoint] ** 2 / candidate.propensity for endpoint, candidate in could.items()),
    )
