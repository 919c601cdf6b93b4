"""Overlap: whether a log can speak for a policy that did not make it, in figures, and the refusal where it cannot.

A record bears on a policy as far as the policy would have called first what was called, by importance weights: the
policy's probability over the propensity. Records of one lease share one draw, so they count together, as one cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fiso.domain.endpoint import EndpointId

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
