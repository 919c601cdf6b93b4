"""The rig as experiments use it: `with running() as rig: rig.fault("aws", Mode(...)); rows = rig.load(...)`."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Idempotent, Policy, Weights
from fiso_cli.local_stage import CHECKOUT
from tests.lab.chaos.emulator import REGION
from tests.lab.chaos.rig import load, wire
from tests.lab.chaos.rig.children import Child
from tests.lab.chaos.rig.load import Ask, Phase, Pool
from tests.lab.chaos.rig.modes import Mode, to_document
from tests.lab.chaos.rig.rows import Row
from tests.lab.chaos.rig.stores import BUCKET, LOG_TABLE, STATE_TABLE, EmulatedStores, OwnStores, Stores, started

FUNCTION = "word-count"
RATE = 50.0
PLACES = {Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}
ALIKE = Weights(latency=0.6, cost=0.0, reliability=0.4, region_affinity=0.0)
"""Prices and regions do not count, so that any of the three may be preferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a rig is made of. `policy` are fields of `Policy` that differ from the rig's own.

    `is_emulated` keeps catalog, states and log in the emulator of AWS. Where it `has_lines`, workers write the lines
    that Lambda would see, spilled records among them, to their logs.
    """

    providers: tuple[str, ...] = ("aws", "azure", "gcp")
    workers: int = 2
    environments: int = 16
    most_environments: int = 256
    policy: Mapping[str, Any] = field(default_factory=dict)
    p50_ms: float = 110.0
    sigma: float = 0.25
    seed: int = 1
    is_emulated: bool = False
    has_lines: bool = False


class Rig:
    """Running providers, store and workers. Made by `running`."""

    def __init__(self, setup: Setup, folder: Path, stores: Stores | None = None) -> None:
        self.setup, self.folder = setup, folder
        self.providers: dict[str, Child] = {}
        self._stores = stores
        self.workers: list[Child] = []
        self._runner = asyncio.Runner()
        self._rng, self._begun = Random(setup.seed), time.monotonic()  # nosec B311 # draws arrivals
        self._pool: Pool | None = None

    def start(self) -> None:
        """Start providers and stores, publish the catalog, start the workers and connect environments."""
        for place, name in enumerate(self.setup.providers):
            self.providers[name] = self._provider(name, place)
        if self._stores is None:
            emulated = self.setup.is_emulated
            self._stores = EmulatedStores(started(self.folder)) if emulated else OwnStores(self.folder)
        for child in self.providers.values():
            child.await_ready()
        self.publish(**self.setup.policy)
        self.workers += [self._worker(number) for number in range(self.setup.workers)]
        for worker in self.workers:
            worker.await_ready()
        sockets = [self.folder / f"worker{number}.sock" for number in range(self.setup.workers)]

        async def connect() -> Pool:
            pool = Pool(sockets, most=self.setup.most_environments)
            await pool.warm(self.setup.environments)
            return pool

        self._pool = self._runner.run(connect())

    def publish(self, **policy: Any) -> None:
        """Publish the catalog with these fields of the policy; environments see it within 10 s."""
        newest = self.stores.current()
        snapshot = a_snapshot(self.ports, version=newest.version + 1 if newest else 1, **policy)
        self.stores.publish(snapshot)

    @property
    def stores(self) -> Stores:
        """Catalog, states and log."""
        if self._stores is None:
            raise RuntimeError("the rig is not started")
        return self._stores

    @property
    def ports(self) -> dict[str, int]:
        """Where each provider listens."""
        return {name: child.ready["port"] for name, child in self.providers.items()}

    def fault(self, provider: str, mode: Mode) -> None:
        """Put a provider into a mode."""
        self._control(provider, "mode", to_document(mode))

    def counts(self, provider: str) -> dict[str, int]:
        """What a provider counted: requests, executed, answered, throttled, never_answered."""
        found: dict[str, int] = self._control(provider, "counts")
        return found

    def executions(self) -> dict[str, int]:
        """How often each invocation was executed, over all providers."""
        return self._summed("by_invocation")

    def executions_by_key(self) -> dict[str, int]:
        """How often requests with each idempotency key were executed, over all providers."""
        return self._summed("by_key")

    def load(
        self, *, seconds: float, phase: str, rate: float = RATE, ask: Callable[[int], Ask] | None = None
    ) -> list[Row]:
        """One phase of load."""
        return self.run([Phase(name=phase, seconds=seconds)], rate=rate, ask=ask)

    def run(self, phases: Sequence[Phase], *, rate: float = RATE, ask: Callable[[int], Ask] | None = None) -> list[Row]:
        """Several phases without a pause between them. Rows have what was tried, from the log."""
        return with_attempts(self.run_without_log(phases, rate=rate, ask=ask), self.stores.outlines())

    def run_without_log(
        self, phases: Sequence[Phase], *, rate: float = RATE, ask: Callable[[int], Ask] | None = None
    ) -> list[Row]:
        """The same, and the log is not read."""
        if self._pool is None:
            raise RuntimeError("the rig is not started")
        asked = ask or (lambda _: Ask(function=FUNCTION))
        return self._runner.run(load.run(self._pool, phases, rate=rate, ask=asked, rng=self._rng, begun=self._begun))

    def kill_provider(self, name: str) -> None:
        """SIGKILL: from now on its port refuses."""
        self.providers[name].kill()

    def revive_provider(self, name: str) -> None:
        """Start a killed provider anew on its port, or let a stopped one go on."""
        child = self.providers[name]
        if child.is_running:
            child.go_on()
        else:
            child.restart(port=child.ready["port"])

    def stop_provider(self, name: str) -> None:
        """SIGSTOP: a black hole."""
        self.providers[name].stop()

    def kill_worker(self, number: int) -> None:
        """SIGKILL a worker with what it does, and start it anew."""
        self.workers[number].kill()
        self.workers[number].restart()

    def close(self) -> None:
        """End everything."""
        if self._pool is not None:
            self._pool.close()
        self._runner.close()
        for child in (*self.workers, *self.providers.values()):
            child.kill()
        if self._stores is not None:
            self._stores.close()

    def _summed(self, what: str) -> dict[str, int]:
        total: dict[str, int] = {}
        for provider in self.providers:
            for name, number in self._control(provider, "executions")[what].items():
                total[name] = total.get(name, 0) + number
        return total

    def _control(self, provider: str, command: str, document: object = None) -> Any:
        return wire.command(self.providers[provider].ready["control_port"], command, document)

    def _provider(self, name: str, place: int) -> Child:
        setup = self.setup
        config = {
            "name": name,
            "seed": setup.seed * 100 + place,
            "p50_ms": setup.p50_ms,
            "sigma": setup.sigma,
        }
        return Child("tests.lab.chaos.rig.provider", config, name=name, folder=self.folder)

    def _worker(self, number: int) -> Child:
        told = self.stores.worker_config()
        config = {
            "socket": str(self.folder / f"worker{number}.sock"),
            "store": told.get("store"),
            "environ": {
                **environ_of(self.ports, told.get("url"), told.get("dynamodb_url")),
                "FISO_CATALOG_KEYS": told.get("catalog_keys", ""),
            },
            "has_lines": self.setup.has_lines,
        }
        return Child("tests.lab.chaos.rig.worker", config, name=f"worker{number}", folder=self.folder)


@contextmanager
def running(**setup: Any) -> Iterator[Rig]:
    """A running rig; the fields of `Setup` by name. Everything ends with the context."""
    folder = Path(tempfile.mkdtemp(prefix="fiso-rig-"))  # short: a socket's path has at most 107 bytes
    rig = Rig(Setup(**setup), folder)
    try:
        rig.start()
        yield rig
    finally:
        rig.close()
        with suppress(OSError):
            shutil.rmtree(folder)


def a_snapshot(ports: Mapping[str, int], *, version: int = 1, **policy: Any) -> Snapshot:
    """A catalog of one function with an endpoint per provider, all alike."""
    endpoints = tuple(
        Endpoint(
            id=EndpointId(name),
            provider=Provider(name),
            region=PLACES[Provider(name)],
            memory_mb=512,
            address="word-count" if name == "aws" else f"http://{wire.HOST}:{port}",
        )
        for name, port in ports.items()
    )
    own: dict[str, Any] = {"version": version, "weights": ALIKE, "idempotent": Idempotent.YES}
    entry = CatalogEntry(
        name=FunctionName(FUNCTION), function_type="text", endpoints=endpoints, policy=Policy(**(own | dict(policy)))
    )
    return Snapshot(version=version, published_at=datetime.now(UTC), functions={entry.name: entry})


def environ_of(ports: Mapping[str, int], url: str | None, dynamodb_url: str | None) -> dict[str, str]:
    """The orchestrator's environment on the local stage: stores at `url`, AWS's Invoke API at the scripted provider."""
    return {
        "FISO_STAGE": "local",
        "FISO_ALLOW_LOOPBACK": "1",
        "FISO_LOG_TABLE": LOG_TABLE,
        "FISO_STATE_TABLE": STATE_TABLE,
        "FISO_BUCKET": BUCKET,
        "FISO_MODEL_DIR": str(CHECKOUT / "ml_artifacts"),
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "rig",
        "AWS_SECRET_ACCESS_KEY": "rig",  # nosec B105 # signs for nobody
        "AWS_ENDPOINT_URL": url or f"http://{wire.HOST}:9",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url or f"http://{wire.HOST}:9",
        "AWS_ENDPOINT_URL_LAMBDA": f"http://{wire.HOST}:{ports.get('aws', 9)}",
    }


def with_attempts(rows: Sequence[Row], outlines: Mapping[str, Sequence[tuple[str, str | None, float]]]) -> list[Row]:
    """Rows with what their records say was tried."""
    return [
        replace(row, tried=tuple((endpoint, failure) for endpoint, failure, _ in outlines.get(row.invocation_id, ())))
        if row.invocation_id
        else row
        for row in rows
    ]
