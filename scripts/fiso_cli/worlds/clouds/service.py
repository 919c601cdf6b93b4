"""Services: how long one function takes on one arm and what is billed of it, as log-normal times. Pure.

    latency = network + wait for a start + work * crowding ** exponent

`crowding` is the rule that `fiso.prediction.facts.slowdown` states, for any number of instances at hand: with m of them
and one more each second, m t + t^2 / 2 seconds of work are done after t seconds, so n calls of one second are done at
sqrt(m^2 + 2 n) - m. Clouds that run one request per instance have the exponent 0, unless measurements say otherwise.

What chance brings one call depends on the seed, the request and the arm alone, never on who calls or when. Two policies
that pick the same arm for the same request therefore meet the same draws (common random numbers: Law, "Simulation
Modeling and Analysis", ch. 11), and their difference is their own doing.
"""

import random
from dataclasses import dataclass, field
from math import exp, log, sqrt

from fiso.domain.endpoint import EndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Standard normal draws for service time, its spread under load, and a start; uniform ones for the rest."""

    service: float
    crowd: float
    start: float
    instance_start: float
    failure: float
    survival: float


def common_draws(seed: int, request: int, arm: EndpointId) -> Draws:
    """The draws of one call."""
    draws = random.Random(f"{seed}/{request}/{arm}")  # nosec B311 # draws of a simulation, no secrets
    return Draws(
        service=draws.gauss(0, 1),
        crowd=draws.gauss(0, 1),
        start=draws.gauss(0, 1),
        instance_start=draws.gauss(0, 1),
        failure=draws.random(),
        survival=draws.random(),
    )


def crowding(in_flight: float, instances: float) -> float:
    """How many times longer a call takes among so many in flight, at least 1. One instance: `facts.slowdown`."""
    return max(1.0, sqrt(instances**2 + 2 * in_flight) - instances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """A positive time, in ms, by the median and the standard deviation of its logarithm."""

    median_ms: float
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.median_ms < 0 or self.sigma < 0:
            raise ValueError(f"a log-normal time needs non-negative parameters: {self.median_ms}, {self.sigma}")

    def at(self, z: float) -> float:
        """The time for a standard normal draw."""
        return self.median_ms * exp(self.sigma * z)

    @property
    def mean_ms(self) -> float:
        """exp(mu + sigma^2 / 2)."""
        return self.median_ms * exp(self.sigma**2 / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderLoad:
    """What crowding does. `spread`: the deviation of the logarithm that each unit of ln(crowding) adds."""

    exponent: float = 0.0
    spread: float = 0.0

    def factor(self, crowded: float, z: float) -> float:
        """How many times longer one call takes."""
        return float(crowded ** (self.exponent + self.spread * z))

    def mean_factor(self, crowded: float) -> float:
        """Its expectation."""
        strength = log(crowded)
        return exp(self.exponent * strength + (self.spread * strength) ** 2 / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """Which times are billed: this share of the work (crowding is waiting, and is not), and of a start."""

    work_share: float = 1.0
    start_share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One function on one arm. `failure` is the chance that a call fails without an outage."""

    work: Lognormal
    start: Lognormal
    under_load: UnderLoad = field(default_factory=UnderLoad)
    billing: Billing = field(default_factory=Billing)
    network_ms: float = 0.0
    failure: float = 0.0

    def latency_ms(self, draws: Draws, *, crowded: float, wait_ms: float) -> float:
        """One call's latency. `wait_ms` is what it waits for an instance to start."""
        return self.network_ms + wait_ms + self.work.at(draws.service) * self.under_load.factor(crowded, draws.crowd)

    def mean_latency_ms(self, *, crowded: float, wait_ms: float) -> float:
        """Its expectation."""
        return self.network_ms + wait_ms + self.work.mean_ms * self.under_load.mean_factor(crowded)

    def billed_ms(self, draws: Draws, *, start_ms: float) -> float:
        """The billed time of one call that paid for a start of `start_ms` (0: it was warm)."""
        return self.work.at(draws.service) * self.billing.work_share + start_ms * self.billing.start_share

    def mean_billed_ms(self, *, start_ms: float) -> float:
        """Its expectation."""
        return self.work.mean_ms * self.billing.work_share + start_ms * self.billing.start_share
