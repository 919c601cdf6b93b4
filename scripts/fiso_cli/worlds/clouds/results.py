"""Served requests: what each came to for its caller, and what it is charged under an objective. Pure.

A request that was not answered is charged what the worst single endpoint's answers come to (99th percentile, so that
starts are in it), or its own if that is more: failing fast or free is never a gain. The same for every contender.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from fiso.domain.endpoint import EndpointId
from fiso_cli.worlds.clouds.world import Expected
from fiso_cli.worlds.figures import Figures, figures_of, percentile
from fiso_cli.worlds.objective import WEIGHTS, Objective

WORST = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request, ended. `latency_ms` is all the time it took, failed attempts included; `cost_usd` all it cost."""

    number: int
    at_s: float
    function: str
    arm: EndpointId | None
    latency_ms: float
    cost_usd: float
    ok: bool
    cold: bool = False
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a function's answers come to: the mean over single endpoints, and the highest of their 99th percentiles."""

    usual_ms: float
    usual_usd: float
    worst_ms: float
    worst_usd: float


Measures = Mapping[str, Measure]


def measures(singles: Iterable[Sequence[Served]]) -> Measures:
    """By function, from the runs of all single endpoints."""
    answers: defaultdict[str, list[_Answers]] = defaultdict(list)
    for served in singles:
        answered: defaultdict[str, _Answers] = defaultdict(_Answers)
        for request in served:
            if request.ok:
                answered[request.function].latencies.append(request.latency_ms)
                answered[request.function].costs.append(request.cost_usd)
        for function, found in answered.items():
            answers[function].append(found)
    return {function: _measure(found) for function, found in answers.items()}


@dataclass(slots=True)
class _Answers:
    latencies: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


def _measure(singles: Sequence[_Answers]) -> Measure:
    return Measure(
        usual_ms=fmean(fmean(single.latencies) for single in singles),
        usual_usd=fmean(fmean(single.costs) for single in singles),
        worst_ms=max(percentile(sorted(single.latencies), WORST) for single in singles),
        worst_usd=max(percentile(sorted(single.costs), WORST) for single in singles),
    )


NOTHING = Measure(usual_ms=0.0, usual_usd=0.0, worst_ms=0.0, worst_usd=0.0)
"""Of a function that nobody answered: failures are charged what they took."""


def measured(served: Sequence[Served], measures: Measures, objective: Objective) -> Figures:
    """One run's figures: latencies with failures charged, and the objective's charges."""
    known = [(request, measures.get(request.function, NOTHING)) for request in served]
    return figures_of(
        latencies=[_latency(request, measure) for request, measure in known],
        costs=[request.cost_usd for request in served],
        oks=[request.ok for request in served],
        charged=[charge(request, measure, objective) for request, measure in known],
    )


def charge(request: Served, measure: Measure, objective: Objective) -> float:
    """In ms, USD, or for balanced a share of the function's usual latency and cost."""
    cost_usd = request.cost_usd if request.ok else max(request.cost_usd, measure.worst_usd)
    if objective is Objective.LATENCY:
        return _latency(request, measure)
    if objective is Objective.COST:
        return cost_usd
    return _balanced(_latency(request, measure), cost_usd, 0.0 if request.ok else 1.0, measure)


def expected_charge(expected: Expected, measure: Measure, objective: Objective) -> float:
    """The charge that a call is expected to come to."""
    failed = 1 - expected.success
    latency_ms = expected.success * expected.latency_ms + failed * max(expected.latency_ms, measure.worst_ms)
    cost_usd = expected.success * expected.cost_usd + failed * measure.worst_usd
    if objective is Objective.LATENCY:
        return latency_ms
    if objective is Objective.COST:
        return cost_usd
    return _balanced(latency_ms, cost_usd, failed, measure)


def _latency(request: Served, measure: Measure) -> float:
    return request.latency_ms if request.ok else max(request.latency_ms, measure.worst_ms)


def _balanced(latency_ms: float, cost_usd: float, failed: float, measure: Measure) -> float:
    weights = WEIGHTS[Objective.BALANCED]
    latency = latency_ms / measure.usual_ms if measure.usual_ms else 0.0
    cost = cost_usd / measure.usual_usd if measure.usual_usd else 0.0
    total = weights.latency + weights.cost + weights.reliability
    return (weights.latency * latency + weights.cost * cost + weights.reliability * failed) / total
