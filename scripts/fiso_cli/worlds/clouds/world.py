"""Worlds: what every call would meet, given all calls before it. Pure but for its own memory, and seeded.

One world belongs to one contender. The functions, arms and luck are everybody's; the instances are its own doing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId
from fiso_cli.worlds.clouds.cold_curves import Curves
from fiso_cli.worlds.clouds.common_random_numbers import Luck, luck
from fiso_cli.worlds.clouds.instances import Instance, Instances, instances_of
from fiso_cli.worlds.clouds.outages import SLOWER, Kind, Outage, kind_at
from fiso_cli.worlds.clouds.service import Service
from fiso_cli.worlds.trace import Arm
from fiso_cli.worlds.trace_catalog import endpoint_of
from fiso_client.core.failures import Failure

REFUSED_MS = 5.0
"""What a refused connection takes beside the way there."""
Services = Mapping[str, Mapping[EndpointId, Service]]
"""By function and arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all worlds of a simulation share. Every function runs on every arm."""

    name: str
    services: Services
    arms: Mapping[EndpointId, Arm]
    curves: Curves
    tariff: Tariff
    outages: tuple[Outage, ...] = ()
    endpoints: Mapping[EndpointId, Endpoint] = field(init=False)

    def __post_init__(self) -> None:
        missing = [f"{name} on {arm}" for name, known in self.services.items() for arm in self.arms if arm not in known]
        if missing:
            raise ValueError(f"no service is known for {missing[0]}")
        object.__setattr__(self, "endpoints", {id: endpoint_of(arm) for id, arm in self.arms.items()})

    def cost_usd(self, arm: EndpointId, billed_ms: float) -> float:
        """By the tariff; 0 in a region that it has no price for, which the notes under the table say."""
        return self.tariff.cost_usd(self.endpoints[arm], billed_ms) or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that a contender makes. Nobody waits for it longer than `timeout_ms`."""

    request: int
    function: str
    arm: EndpointId
    timeout_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What a call comes to. `latency_ms` is what the caller sees; `failure` None: it was answered."""

    latency_ms: float
    failure: Failure | None = None
    cold: bool = False
    billed_ms: float = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a call is expected to come to, by what the world knows of itself. `success` is a chance."""

    latency_ms: float
    cost_usd: float
    success: float


class World:
    """One contender's world. Calls must come in the order of their time."""

    def __init__(self, setting: Setting, *, seed: int) -> None:
        self._setting, self._seed = setting, seed
        self._instances: dict[tuple[str, EndpointId], Instances] = {}

    def call(self, call: Call, now: float) -> Happened:
        """Make a call."""
        wrong = self._wrong(call.arm, now)
        service = self._setting.services[call.function][call.arm]
        chance = luck(self._seed, call.request, call.arm)
        if wrong is Kind.REFUSE:
            return Happened(latency_ms=service.network_ms + REFUSED_MS, failure=Failure.UNREACHABLE)
        if wrong is Kind.TIME_OUT:
            return Happened(latency_ms=call.timeout_ms, failure=Failure.TIMED_OUT)
        if chance.failure < service.failure:
            latency_ms = min(call.timeout_ms, service.network_ms + service.work.at(chance.service))
            return Happened(latency_ms=latency_ms, failure=Failure.PROVIDER_FAULT)
        return self._run(call, now, chance, SLOWER if wrong is Kind.SLOW else 1.0)

    def expected(self, function: str, arm: EndpointId, now: float, *, calls_a_start: float = 1.0) -> Expected:
        """What a call would be expected to come to; makes none. A start counts as shared by so many calls."""
        service = self._setting.services[function][arm]
        wrong = self._wrong(arm, now)
        if wrong in (Kind.REFUSE, Kind.TIME_OUT):
            return Expected(latency_ms=service.network_ms, cost_usd=0.0, success=0.0)
        place = self._of(function, arm).look(now)
        start_ms = service.start.mean_ms / calls_a_start if place.instance is None else 0.0
        latency_ms = service.mean_latency_ms(crowded=place.crowded, wait_ms=start_ms + place.wait_s * 1000)
        slower = SLOWER if wrong is Kind.SLOW else 1.0
        return Expected(
            latency_ms=latency_ms * slower,
            cost_usd=self._setting.cost_usd(arm, service.mean_billed_ms(start_ms=start_ms) * slower),
            success=1 - service.failure,
        )

    def _run(self, call: Call, now: float, chance: Luck, slower: float) -> Happened:
        service, instances = self._setting.services[call.function][call.arm], self._of(call.function, call.arm)
        place = instances.look(now)
        taken = instances.take(place, now, chance, lambda z: service.start.at(z) / 1000)
        is_start = place.instance is None
        wait_ms = max(0.0, taken.ready_at - now) * 1000
        latency_ms = slower * service.latency_ms(chance, crowded=place.crowded, wait_ms=wait_ms)
        billed_ms = slower * service.billed_ms(chance, start_ms=wait_ms if is_start else 0.0)
        self._book(taken, call.arm, now + latency_ms / 1000, chance)
        is_late = latency_ms > call.timeout_ms
        return Happened(
            latency_ms=min(latency_ms, call.timeout_ms),
            failure=Failure.TIMED_OUT if is_late else None,
            cold=wait_ms > 0,
            billed_ms=billed_ms,
            cost_usd=self._setting.cost_usd(call.arm, billed_ms),
        )

    def _book(self, taken: Instance, arm: EndpointId, end: float, chance: Luck) -> None:
        curve = self._setting.curves[self._setting.arms[arm].provider]
        taken.book(end, curve.kept_s(chance.survival))

    def _of(self, function: str, arm: EndpointId) -> Instances:
        key = (function, arm)
        if key not in self._instances:
            provider = self._setting.arms[arm].provider
            self._instances[key] = instances_of(provider, self._setting.curves[provider])
        return self._instances[key]

    def _wrong(self, arm: EndpointId, now: float) -> Kind | None:
        outages: Sequence[Outage] = self._setting.outages
        return kind_at(outages, self._setting.arms[arm], now)
