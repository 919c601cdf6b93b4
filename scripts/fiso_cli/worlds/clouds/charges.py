"""Charges in simulated clouds. Pure.

A request that was not answered is charged what the worst single endpoint's answers come to (99th percentile, so that
starts are in it), or its own if that is more: failing fast or free is never a gain. The same for every contender.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fiso_cli.worlds.objective import Objective, Usual, charge, quantile
from fiso_cli.worlds.world import Result, Results

WORST = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a function's answers come to: the mean over single endpoints, and the highest of their 99th percentiles."""

    usual: Usual
    worst_ms: float = 0.0
    worst_usd: float = 0.0


NOTHING = Measure(usual=Usual())
"""Of a function that nobody answered: failures are charged what they took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a call is expected to come to, by what the world knows of itself. `success` is a chance."""

    latency_ms: float
    cost_usd: float
    success: float


@dataclass(frozen=True, slots=True)
class CloudJudge:
    """Charges under an objective, by what each function's answers come to."""

    objective: Objective
    measures: Mapping[str, Measure]

    def latency_ms(self, result: Result) -> float:
        """Its own, or the worst one's where it failed."""
        return result.latency_ms if result.ok else max(result.latency_ms, self._of(result.function).worst_ms)

    def charge(self, result: Result) -> float:
        """In ms, USD, or for balanced a share of the function's usual latency and cost."""
        measure = self._of(result.function)
        return charge(
            self.objective,
            latency_ms=self.latency_ms(result),
            cost_usd=result.cost_usd if result.ok else max(result.cost_usd, measure.worst_usd),
            failed=0.0 if result.ok else 1.0,
            usual=measure.usual,
        )

    def expected(self, function: str, call: Expected) -> float:
        """The charge that a call is expected to come to."""
        measure, failed = self._of(function), 1 - call.success
        return charge(
            self.objective,
            latency_ms=call.success * call.latency_ms + failed * max(call.latency_ms, measure.worst_ms),
            cost_usd=call.success * call.cost_usd + failed * measure.worst_usd,
            failed=failed,
            usual=measure.usual,
        )

    def _of(self, function: str) -> Measure:
        return self.measures.get(function, NOTHING)


def measures(singles: Iterable[Results]) -> Mapping[str, Measure]:
    """By function, from the runs of all single endpoints."""
    answers: defaultdict[str, list[Results]] = defaultdict(list)
    for results in singles:
        answered: defaultdict[str, list[Result]] = defaultdict(list)
        for result in results:
            if result.ok:
                answered[result.function].append(result)
        for function, found in answered.items():
            answers[function].append(found)
    return {function: _measure(found) for function, found in answers.items()}


def _measure(singles: Sequence[Results]) -> Measure:
    latencies = [[result.latency_ms for result in single] for single in singles]
    costs = [[result.cost_usd for result in single] for single in singles]
    return Measure(
        usual=Usual(latency_ms=fmean(map(fmean, latencies)), cost_usd=fmean(map(fmean, costs))),
        worst_ms=max(quantile(single, WORST) for single in latencies),
        worst_usd=max(quantile(single, WORST) for single in costs),
    )
