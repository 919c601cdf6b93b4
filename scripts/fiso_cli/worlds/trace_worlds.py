"""Traces as worlds: every call comes to what was measured of that arm in that round.

Rounds are judged by the arm that was called first. A failed call is charged the worst value among its round's arms.
What the router is told of cost is the trace's `cost_usd`, as a bill would say: the record carries it, and the answer
the billed time that the tariff must see to come to it. Costs are predicted from the tariff, as in the policy.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import fmean

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.domain.record import InvocationRecord
from fiso_cli.worlds.objective import Objective, Usual, charge, of_run
from fiso_cli.worlds.trace import Measured, Round, Trace
from fiso_cli.worlds.virtual_time import Arrival, Rounds
from fiso_cli.worlds.world import Call, CallResult, Judge, Market, Result, Results, Routed, Worlds
from fiso_client.core.failures import Failure

Losses = Sequence[Mapping[EndpointId, float]]
"""Per round what each arm present would be charged."""
Context = tuple[str, float]


class TraceWorlds(Worlds):
    """A trace for a contest. A request's number is its round's place in the trace."""

    unit = "rounds"
    varies = False
    begins_at = datetime.fromtimestamp(0, UTC)
    environment_kept_s = float("inf")
    always_present: Sequence[EndpointId] = ()

    def __init__(self, trace: Trace, tariff: Tariff) -> None:
        self.trace, self.name = trace, trace.name
        self.market = Market.of(trace.arms, tariff)
        self.always_present = trace.always_present
        self._arrivals = [
            Arrival(number=number, at_s=played.t, function=played.function, in_flight=played.in_flight)
            for number, played in enumerate(trace.rounds)
        ]

    def arrivals(self, seed: int) -> Sequence[Arrival]:
        return self._arrivals

    def present(self, arrival: Arrival) -> Sequence[EndpointId]:
        return list(self.trace.rounds[arrival.number].calls)

    def world(self, seed: int) -> "TraceWorld":
        return TraceWorld(self.trace, self.market)

    def time(self) -> Rounds:
        return Rounds()

    def draws(self, contender: str, seed: int) -> random.Random:
        return random.Random(seed)  # nosec B311 # repeatable, no secrets

    def judge(self, objective: Objective, singles: Iterable[Results] = ()) -> Judge:
        return TraceJudge(
            objective=objective,
            latencies=losses(self.trace, Objective.LATENCY),
            losses=losses(self.trace, objective),
        )

    def oracles(self, judge: Judge, objective: Objective, seed: int) -> Mapping[str, Results]:
        """The best arm per function and load, and the best of every round, which no router can reach in noise."""
        charged = losses(self.trace, objective)
        hindsight = [min(charges, key=charges.__getitem__) for charges in charged]
        oracles = {"context_oracle": context_oracle(self.trace, charged, objective), "round_hindsight": hindsight}
        return {name: [self._picked(*pick) for pick in enumerate(picks)] for name, picks in oracles.items()}

    def result(self, routed: Routed) -> Result:
        """By the arm that it called first."""
        return self._picked(routed.arrival.number, routed.decision.chosen.endpoint.id)

    def billed(self, routed: Routed) -> InvocationRecord:
        record, calls = routed.record, self.trace.rounds[routed.arrival.number].calls
        attempts = tuple(replace(attempt, cost_usd=calls[attempt.endpoint].cost_usd) for attempt in record.attempts)
        total = sum(calls[attempt.endpoint].cost_usd for attempt in record.attempts)
        return replace(record, attempts=attempts, result=replace(record.result, cost_usd=total))

    def _picked(self, number: int, arm: EndpointId) -> Result:
        measured = self.trace.rounds[number].calls[arm]
        call = CallResult(
            latency_ms=measured.latency_ms,
            failure=None if measured.ok else Failure.PROVIDER_FAULT,
            cold=measured.cold,
            cost_usd=measured.cost_usd,
        )
        return Result.of_call(self._arrivals[number], arm, call)


@dataclass(frozen=True, slots=True)
class TraceWorld:
    """The calls of a trace. They ended long ago, so no timeout cuts them."""

    trace: Trace
    market: Market

    def call(self, call: Call, now_s: float) -> CallResult:
        """What is known of it; one that is not ok is the provider's fault."""
        known = self.trace.rounds[call.request].calls[call.arm]
        return CallResult(
            latency_ms=known.latency_ms,
            failure=None if known.ok else Failure.PROVIDER_FAULT,
            cold=known.cold,
            billed_ms=billed_ms_of(known.cost_usd, self.market.endpoints[call.arm], self.market.tariff),
            cost_usd=known.cost_usd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceJudge:
    """Charges of every arm in every round; `latencies` whatever the objective."""

    objective: Objective
    latencies: Losses
    losses: Losses

    def latency_ms(self, result: Result) -> float:
        return self.latencies[result.number][result.arm]

    def charge(self, result: Result) -> float:
        return self.losses[result.number][result.arm]


def losses(trace: Trace, objective: Objective) -> Losses:
    """The charges of every arm in every round; what is usual is the mean over all arms of its function and load."""
    usual = _usual(trace)

    def charges(played: Round) -> Mapping[EndpointId, float]:
        values = {arm: _charge(call, objective, usual[_context(played)]) for arm, call in played.calls.items()}
        worst = max(values.values())
        return {arm: value if played.calls[arm].ok else worst for arm, value in values.items()}

    return [charges(played) for played in trace.rounds]


def _charge(call: Measured, objective: Objective, usual: Usual) -> float:
    failed = 0.0 if call.ok else 1.0
    return charge(objective, latency_ms=call.latency_ms, cost_usd=call.cost_usd, failed=failed, usual=usual)


def _context(played: Round) -> Context:
    """What the context oracle may know: the function and the load."""
    return played.function, played.in_flight


def _usual(trace: Trace) -> Mapping[Context, Usual]:
    calls: defaultdict[Context, list[Measured]] = defaultdict(list)
    for played in trace.rounds:
        calls[_context(played)].extend(played.calls.values())
    return {
        context: Usual(latency_ms=fmean(c.latency_ms for c in found), cost_usd=fmean(c.cost_usd for c in found))
        for context, found in calls.items()
    }


def context_oracle(trace: Trace, charged: Losses, objective: Objective = Objective.LATENCY) -> list[EndpointId]:
    """Per function and load the best arm over the whole trace, by its mean or its percentile, among those present."""
    values: defaultdict[tuple[Context, EndpointId], list[float]] = defaultdict(list)
    for played, charges in zip(trace.rounds, charged, strict=True):
        for arm, value in charges.items():
            values[_context(played), arm].append(value)
    means = {key: of_run(objective, found) for key, found in values.items()}

    def best(played: Round) -> EndpointId:
        return min(played.calls, key=lambda arm: means[_context(played), arm])

    return [best(played) for played in trace.rounds]


def billed_ms_of(cost_usd: float, endpoint: Endpoint, prices: Tariff) -> float | None:
    """The billed time at which the tariff comes to a bill, its steps left out; None without a price."""
    rate = prices.rate(endpoint)
    return max(0.0, cost_usd - rate.request_usd) / rate.ms_usd if rate and rate.ms_usd else None
