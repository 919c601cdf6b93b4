"""Objectives: what a replay asks the router for, and what each call is then charged. Pure.

A failed call is charged the worst value among its round's arms, so that failing fast or free is never a gain.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Weights
from fiso_cli.worlds.trace import Call, Round, Trace

Losses: TypeAlias = Sequence[Mapping[EndpointId, float]]
"""Per round what each arm present would be charged."""
Context: TypeAlias = tuple[str, float]


class Objective(StrEnum):
    """What is wanted."""

    LATENCY = "latency"
    COST = "cost"
    BALANCED = "balanced"


WEIGHTS: Mapping[Objective, Weights] = {
    Objective.LATENCY: Weights(latency=1, cost=0, reliability=0, region_affinity=0),
    Objective.COST: Weights(latency=0, cost=1, reliability=0, region_affinity=0),
    Objective.BALANCED: Weights(region_affinity=0),
}
"""The policy's weights for each. Balanced: the usual ones, but a trace does not say where its users are."""
UNITS: Mapping[Objective, str] = {
    Objective.LATENCY: "ms",
    Objective.COST: "USD",
    Objective.BALANCED: "of a random choice's weighted latency and cost",
}


@dataclass(slots=True, kw_only=True)
class _Usual:
    latency_ms: float = 0.0
    cost_usd: float = 0.0
    calls: int = 0


def context_of(played: Round) -> Context:
    """What the per-context oracle may know: the function and the load."""
    return played.function, played.in_flight


def losses(trace: Trace, objective: Objective) -> Losses:
    """The charges of every arm in every round: ms, USD, or for balanced a share of its context's mean over all arms."""
    if objective is Objective.LATENCY:
        return [
            _charged(played, {arm: call.latency_ms for arm, call in played.calls.items()}) for played in trace.rounds
        ]
    if objective is Objective.COST:
        return [_charged(played, {arm: call.cost_usd for arm, call in played.calls.items()}) for played in trace.rounds]
    usual = _usual(trace)
    return [
        _charged(played, {arm: _balanced(call, usual[context_of(played)]) for arm, call in played.calls.items()})
        for played in trace.rounds
    ]


def charged_latencies(trace: Trace) -> Losses:
    """Latencies with failures charged, whatever the objective."""
    return losses(trace, Objective.LATENCY)


def _charged(played: Round, values: dict[EndpointId, float]) -> Mapping[EndpointId, float]:
    if all(call.ok for call in played.calls.values()):
        return values
    worst = max(values.values())
    return {arm: value if played.calls[arm].ok else worst for arm, value in values.items()}


def _balanced(call: Call, usual: _Usual) -> float:
    weights = WEIGHTS[Objective.BALANCED]
    latency = call.latency_ms * usual.calls / usual.latency_ms if usual.latency_ms else 0.0
    cost = call.cost_usd * usual.calls / usual.cost_usd if usual.cost_usd else 0.0
    failed = 0.0 if call.ok else 1.0
    total = weights.latency + weights.cost + weights.reliability
    return (weights.latency * latency + weights.cost * cost + weights.reliability * failed) / total


def _usual(trace: Trace) -> Mapping[Context, _Usual]:
    found: defaultdict[Context, _Usual] = defaultdict(_Usual)
    for played in trace.rounds:
        usual = found[context_of(played)]
        for call in played.calls.values():
            usual.latency_ms += call.latency_ms
            usual.cost_usd += call.cost_usd
            usual.calls += 1
    return found
