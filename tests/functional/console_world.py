"""A small world for the console: genuine routing over in-memory ports, with providers that answer by a script.

One provider is away for a while in the middle, so there are failovers. Time is simulated: nothing here sleeps.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from fiso.adapters.aws.pointers import LayerModelStore
from fiso.billing import tariff
from fiso.codecs.policy import strategy_from_document
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.policy import Idempotent, Mode, Objective, Pin, Policy
from fiso.domain.record import OpenRecord
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.ports import ModelFiles
from fiso.prediction import signature
from fiso.services.freshness.cached import StoreWaitBudget, staleness_clock
from fiso.services.freshness.decision_sources import DecisionSources, ModelSource
from fiso.services.log.ingest import ingest
from fiso.services.log.spill import SpillingLog
from fiso.services.maintenance.keep import unknown
from fiso.services.request.orchestrate import Orchestrator
from fiso.services.request.recording import request_summary
from fiso.services.resilience.dispatch import Dispatcher
from fiso.testing.memory import (
    InMemoryArchive,
    InMemoryEndpointStates,
    InMemoryFunctionCaller,
    InMemoryInvocationLog,
    InMemoryMetrics,
    InMemoryModelStore,
    InMemoryRetrainingRuns,
    InMemorySnapshots,
)
from fiso_cli.catalog.spelling import PRESETS
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from functions.console.sources import Sources

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MODELS = Path(__file__).parents[2] / "ml_artifacts"
PLACES = (
    ("aws-use1", Provider.AWS, "us-east-1", 34.0),
    ("azure-eus", Provider.AZURE, "eastus", 47.0),
    ("gcp-usc1", Provider.GCP, "us-central1", 41.0),
    ("aws-euw1", Provider.AWS, "eu-west-1", 112.0),
)
WORK_MS = {"graph-bfs": 22.0, "compress": 65.0, "pixels": 140.0, "word-count": 6.0}


@dataclass(kw_only=True)
class World:
    """The ports with what happened in them, and the clock at the end of it."""

    log: InMemoryInvocationLog
    states: InMemoryEndpointStates
    snapshots: InMemorySnapshots
    models: InMemoryModelStore
    runs: InMemoryRetrainingRuns
    now: datetime = START

    def clock(self) -> datetime:
        """The simulated time."""
        return self.now

    def pass_ms(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(milliseconds=milliseconds)

    @property
    def sources(self) -> Sources:
        """The ports as the console gets them."""
        return Sources(
            log=self.log,
            states=self.states,
            snapshots=self.snapshots,
            models=self.models,
            runs=self.runs,
            clock=self.clock,
        )


def empty_world() -> World:
    """Stores in which nothing was ever written."""
    return World(
        log=InMemoryInvocationLog(),
        states=InMemoryEndpointStates(),
        snapshots=InMemorySnapshots(),
        models=InMemoryModelStore(),
        runs=InMemoryRetrainingRuns(),
    )


def busy_world(count: int = 120, *, seed: int = 7) -> World:
    """`count` requests routed over three clouds, Azure being away for the third fifth of them."""
    world, rng = empty_world(), random.Random(seed)
    world.snapshots.publish(_catalog())
    away = range(2 * count // 5, 3 * count // 5)
    number = 0
    last_called: dict[EndpointId, datetime] = {}

    def respond(endpoint: Endpoint, request: InvocationRequest, timeout_ms: float) -> FunctionAnswer | ProviderError:
        if endpoint.provider is Provider.AZURE and number in away:
            world.pass_ms(3.0)
            return ProviderError(Failure.UNREACHABLE, "connection refused")
        is_cold = world.now - last_called.get(endpoint.id, START - timedelta(days=1)) > timedelta(minutes=5)
        last_called[endpoint.id] = world.now
        base_ms = next(ms for id, _, _, ms in PLACES if id == endpoint.id)
        world.pass_ms((base_ms + WORK_MS[request.function]) * rng.lognormvariate(0, 0.16) + 480.0 * is_cold)
        if rng.random() < 0.02:
            return FunctionAnswer(status=500, body=b"ValueError: bad graph", cold=is_cold, is_function_error=True)
        return FunctionAnswer(
            status=200, body=b"x" * rng.randrange(40, 4000), cold=is_cold, billed_ms=WORK_MS[request.function]
        )

    with ThreadPoolExecutor(max_workers=1) as executor:
        orchestrator = _orchestrator(world, InMemoryFunctionCaller(respond), executor, rng)
        for number in range(count):
            world.pass_ms(rng.expovariate(1 / 900))
            routed = orchestrator.route(_request(world, rng))
            ingest([routed.record], states=world.states, archive=InMemoryArchive(), batch_id=str(number))
    _leave_one_abandoned_and_one_open(world, rng)
    _retrain_twice(world)
    return world


def _orchestrator(
    world: World, caller: InMemoryFunctionCaller, executor: ThreadPoolExecutor, rng: random.Random
) -> Orchestrator:
    def stopwatch() -> float:
        world.pass_ms(rng.uniform(0.4, 1.6))
        return world.now.timestamp()

    metrics = InMemoryMetrics()
    budget = StoreWaitBudget(executor, stopwatch=staleness_clock(world.clock))
    sources = DecisionSources(
        snapshots=world.snapshots,
        states=world.states,
        model_source=ModelSource(
            layer=LayerModelStore(MODELS),
            store=InMemoryModelStore(),
            packaged_keys=signature.packaged(),
            stage_keys={},
            metrics=metrics,
            budget=budget,
        ),
        metrics=metrics,
        budget=budget,
    )
    return Orchestrator(
        sources=sources,
        dispatcher=Dispatcher(caller=caller, clock=world.clock, stopwatch=lambda: world.now.timestamp()),
        log=SpillingLog(world.log, metrics=metrics),
        metrics=metrics,
        tariff=tariff.current(),
        clock=world.clock,
        draw=rng.random,
        stopwatch=stopwatch,
    )


_PINNED_AND_PARTICULAR = Policy(
    version=1,
    idempotent=Idempotent.YES,
    mode=Mode.PIN,
    pinned=EndpointId("azure-eus"),
    pin=Pin(by="ada", at=START, reason="the <others> are slow", until=START + timedelta(days=365), then=Mode.OBSERVE),
    home=EndpointId("azure-eus"),
    objective=Objective.CHEAPEST_WITHIN,
    latency_objective_ms=250.0,
    max_p95_ms=900.0,
    max_cost_usd=2e-5,
    tiers=(frozenset({EndpointId("gcp-usc1")}), frozenset({EndpointId("azure-eus")})),
    strategies=(strategy_from_document(PRESETS["weekend_scale_down"]),),
    control_share=0.1,
)


def _catalog() -> Snapshot:
    policies = {
        "graph-bfs": Policy(version=1, idempotent=Idempotent.YES, denied_regions=frozenset({"eu-west-1"})),
        "compress": Policy(version=3, idempotent=Idempotent.YES, exploration=0.2),
        "pixels": Policy(version=2, idempotent=Idempotent.NO, mode=Mode.OBSERVE, home=EndpointId("gcp-usc1")),
        "word-count": _PINNED_AND_PARTICULAR,
    }
    entries = {
        FunctionName(name): CatalogEntry(
            name=FunctionName(name), function_type="demo", endpoints=_endpoints(name), policy=policy
        )
        for name, policy in policies.items()
    }
    return Snapshot(version=3, published_at=START - timedelta(minutes=42), functions=entries)


def _endpoints(function: str) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(
            id=EndpointId(id),
            provider=provider,
            region=region,
            memory_mb=512,
            address=f"https://{id}.example/{function}",
            concurrency_limit=50,
        )
        for id, provider, region, _ in PLACES
    )


def _request(world: World, rng: random.Random) -> InvocationRequest:
    return InvocationRequest(
        invocation_id=InvocationId(str(UUID(int=rng.getrandbits(128), version=4))),
        function=FunctionName(rng.choices(list(WORK_MS), weights=(6, 3, 1, 2))[0]),
        tenant=TenantId("local"),
        received_at=world.now,
        deadline_at=world.now + timedelta(seconds=28),
        body=b"x" * rng.randrange(50, 20_000),
        user_region=rng.choice(["us-east-1", None]),
    )


def _leave_one_abandoned_and_one_open(world: World, rng: random.Random) -> None:
    for is_abandoned in (True, False):
        request = _request(world, rng)
        record = OpenRecord(
            invocation_id=request.invocation_id,
            timestamp=request.received_at,
            request=request_summary(request),
            deadline_at=request.deadline_at,
        )
        world.log.open(record)
        if is_abandoned:
            world.log.close(unknown(record))
        world.pass_ms(1200)


def _retrain_twice(world: World) -> None:
    champion = ModelPointer(
        version="2026-11-23-a1b2c3", sha256="5e" * 32, trained_at=START, rows=2417, is_synthetic=False, origin="store"
    )
    world.models.publish(ModelFiles(pointer=champion, artifact=b"", card={}), replaces=None)
    world.runs.append(
        RetrainingRun(
            started_at=START - timedelta(days=1),
            trigger="schedule",
            rows=212,
            promoted=False,
            reason="212 rows are too few: at least 1,000 are needed",
            champion_version="synthetic-42-8198b90c",
        )
    )
    world.runs.append(
        RetrainingRun(
            started_at=START,
            trigger="command",
            rows=2417,
            promoted=True,
            reason="the challenger's error is 31 % smaller on the newest fifth, which neither model was trained on",
            champion_version="synthetic-42-8198b90c",
            challenger_version=champion.version,
            champion_error=0.412,
            challenger_error=0.284,
        )
    )
