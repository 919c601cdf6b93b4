"""A small world for the console: genuine requests through a rig, over three clouds. One provider is away for a while in
the middle, so there are failovers. Time is simulated: nothing here sleeps."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fiso.adapters.aws.models import LayerModelStore
from fiso.codecs.policy import POLICY_CODEC
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.policy import Idempotent, Mode, Objective, Pin, Policy, Shadow
from fiso.domain.strategy import Strategy
from fiso.ports import ModelFiles
from fiso.services.maintenance.keep import unknown
from fiso.services.maintenance.switch import ModeOrder
from fiso.testing.clock import ManualClock
from fiso.testing.endpoints import Script
from fiso.testing.memory import InMemoryRetrainingRuns
from fiso.testing.rig import Rig, Stores
from fiso_cli.catalog.spelling import PRESETS
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure
from functions.console.sources import Sources
from tests.builders import an_open_record

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MODELS = LayerModelStore(Path(__file__).parents[2] / "ml_artifacts")
PLACES = (
    ("aws-use1", Provider.AWS, "us-east-1", 34.0),
    ("azure-eus", Provider.AZURE, "eastus", 47.0),
    ("gcp-usc1", Provider.GCP, "us-central1", 41.0),
    ("aws-euw1", Provider.AWS, "eu-west-1", 112.0),
)
WORK_MS = {"graph-bfs": 22.0, "compress": 65.0, "pixels": 140.0, "word-count": 6.0}


@dataclass(kw_only=True)
class World(Stores):
    """The stores with what happened in them, and the clock at the end of it. Empty at first."""

    runs: InMemoryRetrainingRuns = field(default_factory=InMemoryRetrainingRuns)
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    order: Callable[[ModeOrder], Mapping[str, object]] | None = None

    orders: list[ModeOrder] = field(default_factory=list)

    def ordered(self, order: ModeOrder) -> Mapping[str, object]:
        """As the keeper that does it."""
        self.orders.append(order)
        return {"published_version": 9, "mode": "pin", "until": None}

    @property
    def sources(self) -> Sources:
        """The stores as the console gets them."""
        names = ("log", "states", "snapshots", "models", "runs", "rollups", "clock", "order")
        return Sources(**{name: getattr(self, name) for name in names}, breakers=self.shared_breakers)


def busy_world(count: int = 120, *, seed: int = 7) -> World:
    """`count` requests routed over three clouds, Azure being away for the third fifth of them."""
    world, rng = World(), random.Random(seed)
    world.snapshots.publish(catalog())
    rig = Rig(stores=world, clock=world.clock, seed=seed, ports=lambda ports: replace(ports, layer=MODELS))
    for number in range(count):
        rig.advance(rng.expovariate(1 / 0.9))
        function = rng.choices(list(WORK_MS), weights=(6, 3, 1, 2))[0]
        for id, provider, _, latency_ms in PLACES:
            is_away = provider is Provider.AZURE and 2 * count // 5 <= number < 3 * count // 5
            is_cold, is_error = rng.random() < 0.05, rng.random() < 0.02
            answer = FunctionAnswer(
                status=500 if is_error else 200,
                body=b"x" * rng.randrange(40, 4000),
                cold=is_cold,
                billed_ms=WORK_MS[function],
                is_function_error=is_error,
            )
            took_ms = (latency_ms + WORK_MS[function]) * rng.lognormvariate(0, 0.16) + 480.0 * is_cold
            failure = Failure.UNREACHABLE if is_away else None
            rig.endpoints.set(EndpointId(id), Script(answer=answer, latency_ms=took_ms, failure=failure))
        region = {"x_fiso_user_region": "us-east-1"} if rng.random() < 0.5 else {}
        rig.invoke(function, body=b"x" * rng.randrange(50, 20_000), content_type="text/plain", **region)
    rig.fold()
    _leave_one_abandoned_and_one_open(world)
    _retrain_twice(world)
    return world


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
    strategies=(POLICY_CODEC.from_document(Strategy, PRESETS["weekend_scale_down"]),),
    control_share=0.1,
)


def catalog() -> Snapshot:
    policies = {
        "graph-bfs": Policy(version=1, idempotent=Idempotent.YES, denied_regions=frozenset({"eu-west-1"})),
        "compress": Policy(version=3, idempotent=Idempotent.YES, exploration=0.2, shadow=Shadow(share=0.5)),
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


def _leave_one_abandoned_and_one_open(world: World) -> None:
    for number in (1, 2):
        now = world.clock()
        record = an_open_record(number, timestamp=now, deadline_at=now + timedelta(seconds=28))
        world.log.open(record)
        if number == 1:
            world.log.close(unknown(record))
        world.clock.advance(1.2)


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
