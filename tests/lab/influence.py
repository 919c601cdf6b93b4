"""`python -m tests.lab influence`: what lying tenants' reports cost the honest, and what not believing costs them.

Tenants take turns at one function with three copies; each decision rests on what was folded so far, as it counts for
that tenant. Some call through FISO, some by leases, of which FISO hears by their reports. Half-way the best copy
becomes the worst, so that something is to be learnt again. With each honest request each liar reports LIES calls. What
a request is charged is the mean latency of the copy that it went to, so that two runs differ by choices alone.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from statistics import fmean
from typing import Annotated

import typer

from fiso.billing import tariff
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.record import CLOCKS_APART, InvocationRecord
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.domain.state import EndpointState
from fiso.prediction import features
from fiso.routing import quorum, reported
from fiso.routing.fold import fold
from fiso.services.request.decide import DecisionInputs, decide
from fiso.services.resilience.breakers import Breakers
from fiso_cli.errors import FAILED
from fiso_cli.rendering import Output, Table, figure, text
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.router import policy_of
from fiso_client.core.failures import Failure
from tests.builders import a_record, an_attempt, changed

REQUESTS = 1_000
LIES = 3
BEGAN = datetime(2026, 11, 23, 9, 30).astimezone()
APART = timedelta(seconds=1)
PLACES = {
    EndpointId("aws"): (Provider.AWS, "us-east-1"),
    EndpointId("azure"): (Provider.AZURE, "eastus"),
    EndpointId("gcp"): (Provider.GCP, "us-east4"),
}
FIRST_MS = {"aws": 80.0, "azure": 110.0, "gcp": 150.0}
THEN_MS = {"aws": 200.0, "azure": 110.0, "gcp": 150.0}
SCATTER = 0.25
MOST_RISE, MOST_SLOWER = 0.02, 0.10
BOUND = f"""A tenant's reports count for its own decisions. Of what others report it goes
- by nothing that one tenant alone says, and by nothing of a copy that FISO itself has called lately;
- to a copy that it never called, where at least {quorum.FEWEST_INVITING} tenants praise it,
  until {quorum.MOST_LIARS} more were there in vain: one honest request a liar, and {quorum.MOST_LIARS};
- by the median of at least {quorum.QUORUM} tenants' last answers:
  {quorum.MOST_LIARS} liars carry it no farther than honest answers lie.
Failures that others report open no breaker."""
Lie = Callable[[int], tuple[str, float, Failure | None]]
"""By number: which copy, how long it is said to have taken, and how it is said to have failed."""
KINDS: dict[str, Lie] = {
    "the best is slow": lambda n: (_best(n), 30_000.0, None),
    "the best is slower, slowly": lambda n: (_best(n), 100.0 * 1.005 ** min(n % REQUESTS, 300), None),
    "the worst takes no time": lambda n: (_worst(n), 1e-9, None),
    "the worst takes half, the best ten times, in turns": lambda n: (
        (_best(n), 1_000.0, None) if n % 2 else (_worst(n), 40.0, None)
    ),
    "all fail": lambda n: (list(FIRST_MS)[n % 3], 5.0, Failure.UNREACHABLE),
}
CROWDS = ((1, 2), (1, 10), (1, 100), (3, 10), (3, 100))
"""Liars, of how many tenants."""
WAYS = {"through FISO": 1.0, "half by leases": 0.5, "by leases": 0.0}
"""Which share of the honest tenants FISO calls for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the honest requests came to: the mean charge in ms, and how many met a breaker that was open."""

    charge_ms: float
    met_open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison: honest tenants' mean charge with and without something."""

    name: str
    before_ms: float
    after_ms: float
    met_open: int
    most: float

    @property
    def rise(self) -> float:
        return self.after_ms / self.before_ms - 1

    @property
    def is_met(self) -> bool:
        return self.rise <= self.most and self.met_open == 0


def play(
    *, honest: int, proxied: float, liars: int = 0, lie: Lie | None = None, seed: int = 0, apart: bool = True
) -> Run:
    """One run. Without `apart` all tenants are taken for one, which is how much all reports together can teach."""
    world = _World(seed, apart=apart)
    charges = []
    for number in range(REQUESTS):
        for liar in range(liars if lie else 0):
            for one in range(LIES):
                endpoint, latency_ms, failure = lie(number * LIES + one) if lie else ("", 0.0, None)
                world.report(f"liar {liar}", EndpointId(endpoint), latency_ms, failure, number)
        who = number % honest
        charges.append(world.request(f"honest {who}", number, leased=who >= round(proxied * honest)))
    return Run(charge_ms=fmean(charges), met_open=world.met_open)


class _World:
    def __init__(self, seed: int, *, apart: bool) -> None:
        self._draw, self._ids, self._apart = random.Random(seed), count(), apart  # nosec B311 # no secrets
        endpoints = tuple(
            Endpoint(id=id, provider=provider, region=region, memory_mb=512, address="https://x")
            for id, (provider, region) in PLACES.items()
        )
        policy = policy_of(Objective.LATENCY)
        entry = CatalogEntry(name=FunctionName("f"), function_type="text", endpoints=endpoints, policy=policy)
        self._inputs = DecisionInputs(entry=entry, snapshot_version=1, tariff=tariff.current(), model=None)
        self._states: dict[EndpointId, EndpointState] = {}
        self._breakers = Breakers()
        self.met_open = 0

    def request(self, tenant: str, number: int, *, leased: bool) -> float:
        """One honest tenant's request: decided, called, folded. Gives its charge."""
        tenant, now = tenant if self._apart else "all", BEGAN + number * APART
        self._breakers.learn(self._inputs.entry, reported.seen_by_fiso(self._states), now)
        breakers = self._breakers.of(self._inputs.entry)
        self.met_open += any(breaker.opened_until for breaker in breakers.values())
        view = reported.seen_by(self._states, reported.tenant_hash(tenant))
        inputs = replace(self._inputs, states=view, breakers=breakers)
        request = InvocationRequest(
            invocation_id=InvocationId(str(number)),
            function=inputs.entry.name,
            tenant=TenantId(tenant),
            received_at=now,
            deadline_at=now + timedelta(seconds=28),
            body=b"",
        )
        decision = decide(request, inputs, now=now, draw=self._draw.random())
        chosen = decision.ranking[0]
        mean_ms = _mean_ms(number)[chosen.endpoint.id]
        latency_ms = mean_ms * self._draw.lognormvariate(-(SCATTER**2) / 2, SCATTER)
        seen = dict(zip(features.NAMES, chosen.prediction.features, strict=True))
        self._fold(tenant, chosen.endpoint.id, latency_ms, None, now, leased=leased, seen=seen)
        return mean_ms

    def report(self, tenant: str, id: EndpointId, latency_ms: float, failure: Failure | None, number: int) -> None:
        at = BEGAN + number * APART + CLOCKS_APART  # as far in the future as is taken for a wrong clock
        self._fold(tenant, id, latency_ms, failure, at, leased=True, seen=dict.fromkeys(features.NAMES, 0.0))

    def _fold(
        self,
        tenant: str,
        id: EndpointId,
        latency_ms: float,
        failure: Failure | None,
        at: datetime,
        *,
        leased: bool,
        seen: dict[str, float],
    ) -> None:
        attempt = an_attempt(id, latency_ms=latency_ms, started_at=at, status=None if failure else 200, failure=failure)
        record: InvocationRecord = changed(
            a_record(next(self._ids), attempts=(attempt,)),
            tenant=TenantId(tenant),
            function_name=self._inputs.entry.name,
            timestamp=at,
            endpoint=id,
            cloud_provider=PLACES[id][0],
            execution_time_ms=latency_ms,
            error_occurred=failure is not None,
            lease_id="lease" if leased else None,
            features=seen,
            raw_latency_ms=None,
            prediction_source="baseline",
        )
        self._states = fold(self._states, record)


def cases(*, seeds: int = 3) -> Iterator[Case]:
    """All comparisons, each over so many seeds."""
    for way, proxied in WAYS.items():
        for liars, tenants in CROWDS:
            honest = tenants - liars
            quiet = [play(honest=honest, proxied=proxied, seed=seed) for seed in range(seeds)]
            for kind, lie in KINDS.items():
                lied = [play(honest=honest, proxied=proxied, liars=liars, lie=lie, seed=seed) for seed in range(seeds)]
                yield _case(f"{liars} of {tenants} lie, {way}: {kind}", quiet, lied, MOST_RISE)
    for tenants in (1, 2, 10, 100):
        together = [play(honest=tenants, proxied=0.0, seed=seed, apart=False) for seed in range(seeds)]
        apart = [play(honest=tenants, proxied=0.0, seed=seed) for seed in range(seeds)]
        yield _case(f"nobody lies, {tenants} by leases", together, apart, MOST_SLOWER)


def influence(
    *,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many runs each figure is the mean of.")] = 3,
) -> Output:
    """What lying tenants' reports cost the honest, by crowd and kind of lie; exits 1 if it is more than the bound.

    \b
    python -m tests.lab influence --seeds 10
    """
    found = list(cases(seeds=seeds))
    rows = [
        {
            "case": case.name,
            "without_ms": round(case.before_ms, 2),
            "with_ms": round(case.after_ms, 2),
            "rise": round(100 * case.rise, 2),
            "most": 100 * case.most,
            "met_open": case.met_open,
            "met": case.is_met,
        }
        for case in found
    ]
    shown = Table(
        columns=[text("case"), figure("without, ms", "without_ms"), figure("with, ms", "with_ms"),
                 figure("rise, %", "rise"),
                 figure("at most, %", "most"), figure("met open breakers", "met_open")],
        rows=rows,
    )  # fmt: skip
    met = all(case.is_met for case in found)
    return Output(document={"bound": BOUND, "cases": rows}, shown=[BOUND, shown], exit_code=0 if met else FAILED)


def _case(name: str, before: list[Run], after: list[Run], most: float) -> Case:
    return Case(
        name=name,
        before_ms=fmean(run.charge_ms for run in before),
        after_ms=fmean(run.charge_ms for run in after),
        met_open=sum(run.met_open for run in after),
        most=most,
    )


def _mean_ms(number: int) -> dict[str, float]:
    return FIRST_MS if number < REQUESTS // 2 else THEN_MS


def _best(lie: int) -> str:
    means = _mean_ms(lie // LIES)
    return min(means, key=means.__getitem__)


def _worst(lie: int) -> str:
    means = _mean_ms(lie // LIES)
    return max(means, key=means.__getitem__)
