"""Worlds: where routers are compared. A measured trace is one kind, a set of simulated clouds is the other.

A router and each of its rivals get a world of their own, with the same arrivals and the same chances. What differs
between the kinds is behind `Worlds`; contest, router, rules, figures and report are the same for both.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Protocol

from fiso.billing.tariff import Tariff
from fiso.domain.attempt import Outcome
from fiso.domain.decision import Decision
from fiso.domain.endpoint import FLEX_SIZES_MB, Endpoint, EndpointId, Plan, Provider
from fiso.domain.record import InvocationRecord
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.virtual_time import Arrival, VirtualTime
from fiso_client.core.failures import Failure

DYNAMIC_MEMORY_MB = 512
"""What an arm without a memory setting is declared with, since an endpoint must have a size: the middle, on a
logarithmic scale and in whole steps of 128 MB, of what Azure's consumption plan can bill (128 to 1,536 MB)."""
NOBODY = EndpointId("")
"""Where a request went that could not call anybody."""
LISTED_MS, SMALLEST_BILLED_MB = 1_000.0, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One copy that can be called. `memory_mb` 0: the cloud has no such setting."""

    provider: Provider
    region: str
    memory_mb: int

    @property
    def id(self) -> EndpointId:
        """The arm's name, `provider/region/memory`."""
        return EndpointId(f"{self.provider}/{self.region}/{self.memory_mb or 'dynamic'}")

    def endpoint(self) -> Endpoint:
        """The endpoint that stands for it."""
        return Endpoint(
            id=self.id,
            provider=self.provider,
            region=self.region,
            memory_mb=self.memory_mb or DYNAMIC_MEMORY_MB,
            address=f"world:{self.id}",
            # a size that Flex Consumption does not have, or none: measured and billed under Azure's legacy plan
            plan=Plan.CONSUMPTION if self.provider is Provider.AZURE and self.memory_mb not in FLEX_SIZES_MB else None,
        )


@dataclass(frozen=True, slots=True)
class Market:
    """The arms in their usual order, as endpoints, and the price list: what every router may know beforehand."""

    endpoints: Mapping[EndpointId, Endpoint]
    tariff: Tariff
    without_memory_setting: frozenset[EndpointId]

    @classmethod
    def of(cls, arms: Mapping[EndpointId, Arm], tariff: Tariff) -> "Market":
        """These arms at these prices."""
        dynamic = frozenset(id for id, arm in arms.items() if not arm.memory_mb)
        return cls({id: arm.endpoint() for id, arm in arms.items()}, tariff, dynamic)

    def list_price(self, arm: EndpointId) -> float:
        """Of a second; infinite without a price. Without a memory setting that of the smallest size that is billed,
        which is what the price list shows first."""
        endpoint = self.endpoints[arm]
        if arm in self.without_memory_setting:
            endpoint = replace(endpoint, memory_mb=SMALLEST_BILLED_MB)
        price = self.tariff.cost_usd(endpoint, LISTED_MS)
        return float("inf") if price is None else price

    def estimated(self) -> Sequence[tuple[Provider, str]]:
        """The regions that have no price of their own."""
        rates = {(e.provider, e.region): self.tariff.rate(e) for e in self.endpoints.values()}
        return sorted(place for place, rate in rates.items() if rate is None or rate.is_estimated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that a contender makes. Nobody waits for it longer than `timeout_ms`."""

    request: int
    function: str
    arm: EndpointId
    timeout_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What a call comes to for its caller. `failure` None: answered; `cold` None: not known."""

    latency_ms: float
    failure: Failure | None = None
    cold: bool | None = False
    billed_ms: float | None = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one request came to. `latency_ms` is all the time it took, failed attempts included; `cost_usd` all cost."""

    number: int
    at_s: float
    function: str
    arm: EndpointId
    latency_ms: float
    cost_usd: float
    ok: bool
    cold: bool = False
    attempts: int = 1

    @classmethod
    def of_call(cls, arrival: Arrival, arm: EndpointId, call: CallResult) -> "Result":
        """Of a request that made one call."""
        return cls(
            number=arrival.number,
            at_s=arrival.at_s,
            function=arrival.function,
            arm=arm,
            latency_ms=call.latency_ms,
            cost_usd=call.cost_usd,
            ok=call.failure is None,
            cold=bool(call.cold),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """One request that the router has ended, with the calls that it made."""

    arrival: Arrival
    decision: Decision
    outcome: Outcome
    record: InvocationRecord
    elapsed_ms: float
    calls: Sequence[CallResult]


class World(Protocol):
    """One contender's world. Calls must come in the order of their time."""

    def call(self, call: Call, now_s: float) -> CallResult:
        """Make a call."""
        ...


class Judge(Protocol):
    """What results are charged under an objective. A failure is never a gain, however fast or free it was."""

    @property
    def objective(self) -> Objective:
        """What a run is judged by (`objective.of_run`)."""
        ...

    def latency_ms(self, result: Result) -> float:
        """The latency, failures charged."""
        ...

    def charge(self, result: Result) -> float:
        """In the objective's unit."""
        ...


Results = Sequence[Result]


class Worlds(ABC):
    """A kind of world with everything that its contenders share. A seed sets arrivals and chances."""

    unit: ClassVar[str]
    """What its requests are called in a title."""
    varies: ClassVar[bool]
    """Whether another seed is another world."""
    least_failure_ms: ClassVar[float] = 0.0
    """A rule learns a failure as an answer that took at least this long."""
    begins_at: ClassVar[datetime]
    """Second 0."""

    name: str
    market: Market

    @property
    @abstractmethod
    def environment_kept_s(self) -> float:
        """How long the router's own execution environments are kept while idle."""

    @property
    @abstractmethod
    def always_present(self) -> Sequence[EndpointId]:
        """The arms that can be called by every request."""

    @abstractmethod
    def arrivals(self, seed: int) -> Sequence[Arrival]:
        """The requests in order of time."""

    @abstractmethod
    def present(self, arrival: Arrival) -> Sequence[EndpointId]:
        """The arms that the request can call."""

    @abstractmethod
    def world(self, seed: int) -> World:
        """A new one."""

    @abstractmethod
    def time(self) -> VirtualTime:
        """A new one."""

    @abstractmethod
    def draws(self, contender: str, seed: int) -> random.Random:
        """The contender's own draws."""

    @abstractmethod
    def judge(self, objective: Objective, singles: Iterable[Results]) -> Judge:
        """The seed's judge; `singles` are the runs of the arms that are always present."""

    @abstractmethod
    def oracles(self, judge: Judge, objective: Objective, seed: int) -> Mapping[str, Results]:
        """Contenders that know what no router can: bounds of what can be reached."""

    @abstractmethod
    def result(self, routed: Routed) -> Result:
        """What a routed request is judged by."""

    def billed(self, routed: Routed) -> InvocationRecord:
        """Its record with what the bill would say, where one is there in time."""
        return routed.record
