"""Objectives: what the router is asked for, and what a call is then charged. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from fiso.domain.policy import LatencyMeasure, Policy, Weights


class Objective(StrEnum):
    """What is wanted."""

    LATENCY = "latency"
    P95 = "p95"
    COST = "cost"
    BALANCED = "balanced"


WEIGHTS: Mapping[Objective, Weights] = {
    Objective.LATENCY: Weights(latency=1, cost=0, reliability=0, region_affinity=0),
    Objective.P95: Weights(latency=1, cost=0, reliability=0, region_affinity=0),
    Objective.COST: Weights(latency=0, cost=1, reliability=0, region_affinity=0),
    Objective.BALANCED: Weights(region_affinity=0),
}
"""The policy's weights for each. Balanced: the usual ones, but no world says where its users are."""
UNITS: Mapping[Objective, str] = {
    Objective.LATENCY: "ms",
    Objective.P95: "ms",
    Objective.COST: "USD",
    Objective.BALANCED: "of a random choice's weighted latency and cost",
}


def policy_for(objective: Objective) -> Policy:
    """The usual policy but for what is wanted: the weights, and which latency is minimised."""
    measure = LatencyMeasure.P95 if objective is Objective.P95 else LatencyMeasure.MEAN
    return Policy(version=1, weights=WEIGHTS[objective], latency_measure=measure)


def of_run(objective: Objective, charges: Sequence[float]) -> float:
    """What a run comes to by its calls' charges: their mean, or the percentile that the policy minimises."""
    return quantile(charges, 0.95) if objective is Objective.P95 else fmean(charges)


def quantile(values: Sequence[float], share: float) -> float:
    """By linear interpolation between the two nearest values."""
    ascending = sorted(values)
    place = share * (len(ascending) - 1)
    below = int(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (place - below) * (ascending[above] - ascending[below])


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What calls of a kind come to on average, over all arms."""

    latency_ms: float = 0.0
    cost_usd: float = 0.0


def charge(objective: Objective, *, latency_ms: float, cost_usd: float, failed: float, usual: Usual) -> float:
    """In ms, USD, or for balanced a share of what is usual. `failed` is the chance of a failure, or 0 or 1."""
    if objective in (Objective.LATENCY, Objective.P95):
        return latency_ms
    if objective is Objective.COST:
        return cost_usd
    weights = WEIGHTS[Objective.BALANCED]
    latency = latency_ms / usual.latency_ms if usual.latency_ms else 0.0
    cost = cost_usd / usual.cost_usd if usual.cost_usd else 0.0
    total = weights.latency + weights.cost + weights.reliability
    return (weights.latency * latency + weights.cost * cost + weights.reliability * failed) / total
