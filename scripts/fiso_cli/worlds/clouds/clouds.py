"""Simulated clouds: what every call meets, given all calls before it. Pure but for its own memory, and seeded.

The functions, arms and draws are everybody's; the instances are a contender's own doing.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import exp

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso_cli.worlds.clouds.charges import CloudJudge, Expected, measures
from fiso_cli.worlds.clouds.cold_curves import Curves
from fiso_cli.worlds.clouds.instances import OnDemand, instances_of
from fiso_cli.worlds.clouds.outages import SLOWER, Kind, Outage, kind_at
from fiso_cli.worlds.clouds.service import Draws, Service, common_draws
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.rules import play
from fiso_cli.worlds.virtual_time import Arrival, Timeline
from fiso_cli.worlds.world import NOBODY, Arm, Call, CallResult, Judge, Market, Result, Results, Routed, Worlds
from fiso_client.core.failures import Failure

REFUSED_MS = 5.0
"""What a refused connection takes beside the way there."""
LONGEST_STAY_LOG = 20.0
Services = Mapping[str, Mapping[EndpointId, Service]]
"""By function and arm."""


@dataclass(frozen=True, kw_only=True)
class Clouds(Worlds):
    """Clouds for a contest. Every function runs on every arm. `requests`: one list per seed."""

    unit = "simulated requests"
    varies = True
    least_failure_ms = 5_000.0
    """Else those that refuse at once would look best."""
    begins_at = datetime(2026, 1, 5, 8, tzinfo=UTC)
    """A Monday morning."""

    name: str
    services: Services
    arms: Mapping[EndpointId, Arm]
    curves: Curves
    tariff: Tariff
    outages: tuple[Outage, ...] = ()
    requests: Sequence[Sequence[Arrival]] = ()
    market: Market = field(init=False)

    def __post_init__(self) -> None:
        missing = [f"{name} on {arm}" for name, known in self.services.items() for arm in self.arms if arm not in known]
        if missing:
            raise ValueError(f"no service is known for {missing[0]}")
        object.__setattr__(self, "market", Market.of(self.arms, self.tariff))

    @property
    def endpoints(self) -> Mapping[EndpointId, Endpoint]:
        """The arms as endpoints."""
        return self.market.endpoints

    @property
    def always_present(self) -> Sequence[EndpointId]:
        return list(self.arms)

    @property
    def environment_kept_s(self) -> float:
        """As long as AWS keeps every second instance."""
        return self.curves[Provider.AWS].median_s

    def arrivals(self, seed: int) -> Sequence[Arrival]:
        return self.requests[seed]

    def present(self, arrival: Arrival) -> Sequence[EndpointId]:
        return self.always_present

    def world(self, seed: int) -> "CloudWorld":
        return CloudWorld(self, seed=seed)

    def time(self) -> Timeline:
        return Timeline()

    def draws(self, contender: str, seed: int) -> random.Random:
        return random.Random(f"{contender}/{seed}")  # nosec B311 # draws of a simulation, no secrets

    def judge(self, objective: Objective, singles: Iterable[Results]) -> CloudJudge:
        return CloudJudge(objective, measures(singles))

    def oracles(self, judge: Judge, objective: Objective, seed: int) -> Mapping[str, Results]:
        """It knows the clouds: per request the arm with the lowest expected charge given the present state of instances
        and outages. A start counts as shared by the calls that the instance is expected to answer before a silence ends
        it: exp(rate * time kept), arrivals at random. It plans no further than that, so it is no strict bound.
        """
        if not isinstance(judge, CloudJudge):
            raise TypeError("clouds are judged by what their single endpoints come to")
        world, stays = self.world(seed), self._stays(self.arrivals(seed))

        def choose(arrival: Arrival, now: float) -> EndpointId:
            function = arrival.function

            def charged(arm: EndpointId) -> float:
                return judge.expected(function, world.expected(function, arm, now, calls_a_start=stays[function, arm]))

            return min(self.arms, key=charged)

        return {"context_oracle": play(self, seed, choose, world=world)}

    def result(self, routed: Routed) -> Result:
        """By all the time that it took and all that it cost."""
        arrival, attempts = routed.arrival, routed.outcome.attempts
        return Result(
            number=arrival.number,
            at_s=arrival.at_s,
            function=arrival.function,
            arm=attempts[-1].endpoint if attempts else NOBODY,
            latency_ms=routed.elapsed_ms,
            cost_usd=sum(call.cost_usd for call in routed.calls),
            ok=routed.outcome.answer is not None,
            cold=any(call.cold for call in routed.calls),
            attempts=len(attempts),
        )

    def cost_usd(self, arm: EndpointId, billed_ms: float) -> float:
        """By the tariff; 0 in a region that it has no price for, which the notes under the table say."""
        return self.tariff.cost_usd(self.endpoints[arm], billed_ms) or 0.0

    def _stays(self, arrivals: Sequence[Arrival]) -> Mapping[tuple[str, EndpointId], float]:
        """How many calls of its function an instance is expected to answer, by function and arm."""
        calls, span_s = Counter(arrival.function for arrival in arrivals), max(arrivals[-1].at_s, 1.0)
        kept_s = {arm: self.curves[known.provider].median_s for arm, known in self.arms.items()}
        return {
            (function, arm): exp(min(LONGEST_STAY_LOG, calls[function] / span_s * kept_s[arm]))
            for function in self.services
            for arm in self.arms
        }


class CloudWorld:
    """One contender's clouds (`world.World`)."""

    def __init__(self, clouds: Clouds, *, seed: int) -> None:
        self._clouds, self._seed = clouds, seed
        self._instances: dict[tuple[str, EndpointId], OnDemand] = {}

    def call(self, call: Call, now_s: float) -> CallResult:
        """Make a call."""
        wrong = self._wrong(call.arm, now_s)
        service = self._clouds.services[call.function][call.arm]
        draws = common_draws(self._seed, call.request, call.arm)
        if wrong is Kind.REFUSE:
            return CallResult(latency_ms=service.network_ms + REFUSED_MS, failure=Failure.UNREACHABLE)
        if wrong is Kind.TIME_OUT:
            return CallResult(latency_ms=call.timeout_ms, failure=Failure.TIMED_OUT)
        if draws.failure < service.failure:
            latency_ms = min(call.timeout_ms, service.network_ms + service.work.at(draws.service))
            return CallResult(latency_ms=latency_ms, failure=Failure.PROVIDER_FAULT)
        return self._run(call, now_s, draws, SLOWER if wrong is Kind.SLOW else 1.0)

    def expected(self, function: str, arm: EndpointId, now: float, *, calls_a_start: float = 1.0) -> Expected:
        """What a call would be expected to come to; makes none. A start counts as shared by so many calls."""
        service = self._clouds.services[function][arm]
        wrong = self._wrong(arm, now)
        if wrong in (Kind.REFUSE, Kind.TIME_OUT):
            return Expected(latency_ms=service.network_ms, cost_usd=0.0, success=0.0)
        place = self._of(function, arm).look(now)
        start_ms = service.start.mean_ms / calls_a_start if place.instance is None else 0.0
        latency_ms = service.mean_latency_ms(crowded=place.crowded, wait_ms=start_ms + place.wait_s * 1000)
        slower = SLOWER if wrong is Kind.SLOW else 1.0
        return Expected(
            latency_ms=latency_ms * slower,
            cost_usd=self._clouds.cost_usd(arm, service.mean_billed_ms(start_ms=start_ms) * slower),
            success=1 - service.failure,
        )

    def _run(self, call: Call, now: float, draws: Draws, slower: float) -> CallResult:
        service, instances = self._clouds.services[call.function][call.arm], self._of(call.function, call.arm)
        place = instances.look(now)
        taken = instances.take(place, now, draws, lambda z: service.start.at(z) / 1000)
        is_start = place.instance is None
        wait_ms = max(0.0, taken.ready_at - now) * 1000
        latency_ms = slower * service.latency_ms(draws, crowded=place.crowded, wait_ms=wait_ms)
        billed_ms = slower * service.billed_ms(draws, start_ms=wait_ms if is_start else 0.0)
        curve = self._clouds.curves[self._clouds.arms[call.arm].provider]
        taken.book(now + latency_ms / 1000, curve.kept_s(draws.survival))
        is_late = latency_ms > call.timeout_ms
        return CallResult(
            latency_ms=min(latency_ms, call.timeout_ms),
            failure=Failure.TIMED_OUT if is_late else None,
            cold=wait_ms > 0,
            billed_ms=billed_ms,
            cost_usd=self._clouds.cost_usd(call.arm, billed_ms),
        )

    def _of(self, function: str, arm: EndpointId) -> OnDemand:
        key = (function, arm)
        if key not in self._instances:
            provider = self._clouds.arms[arm].provider
            self._instances[key] = instances_of(provider, self._clouds.curves[provider])
        return self._instances[key]

    def _wrong(self, arm: EndpointId, now: float) -> Kind | None:
        return kind_at(self._clouds.outages, self._clouds.arms[arm], now)
