"""One local cloud for the whole session: own ports and folder, AWS calls recorded, deployed, with the demo catalog."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from fiso_cli.local_stage import HOST, PORTS_NEEDED
from fiso_cli.stage import Stage
from fiso_cli.traffic.gateway import Gateway
from localcloud.demo.machine import Machine
from localcloud.layout import LocalCloud
from localcloud.parts import Options
from tests.iam.recorder import Recording, recording
from tests.iam.wire import Access

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parents[2]
FIRST_PORT, LAST_PORT = 5566, 9000
TESTS_TIMEOUT_S = 170


@dataclass(frozen=True, kw_only=True)
class LiveCloud:
    """What the tests see of it. `client` has the API's address as its base, `accesses` is what functions did so far."""

    machine: Machine
    gateway: Gateway
    client: httpx.Client
    environ: dict[str, str]
    accesses: list[Access]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def cloud(self) -> LocalCloud:
        return self.machine.cloud

    @property
    def stage(self) -> Stage:
        return self.machine.stage

    def invoke(self, function: str, body: bytes = b"one two two", **headers: str) -> httpx.Response:
        """One request through the router."""
        named = {"content-type": "text/plain", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.post(f"/v1/invoke/{function}", content=body, headers=named)

    def logged(self) -> int:
        """Finished records since the cloud came up."""
        return self.machine.counts.logged_since(self.started_at)

    def record(self, invocation_id: str) -> dict[str, object]:
        """A record by its id, over HTTP."""
        answer = self.client.get(f"/v1/invocations/{invocation_id}")
        answer.raise_for_status()
        document: dict[str, object] = answer.json()
        return document


def eventually(look: Callable[[], T | None], *, within_s: float = 20.0, every_s: float = 0.2) -> T:
    """What `look` sees once it sees something true; fails when time is up."""
    ends_at = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < ends_at, f"still {seen!r} after {within_s:g} s"
        time.sleep(every_s)
    return seen


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is end to end; the first test waits for the boot and the deployment."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(TESTS_TIMEOUT_S))


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads commands, and this process, to this cloud and to no other."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FISO_"))]:
            environment.delenv(name)
        environment.setenv("FISO_LOCAL_DIR", str(tmp_path_factory.mktemp("local-cloud")))
        environment.setenv("FISO_LOCAL_PORT", str(free_ports()))
        environment.setenv("PYTHONPATH", os.pathsep.join(str(CHECKOUT / folder) for folder in ("shared", "scripts")))
        environment.setenv("NO_COLOR", "1")
        environment.setenv("UV_OFFLINE", "1")  # all that a deployment needs is there since `make setup`
        environment.setenv("UV_CACHE_DIR", str(tmp_path_factory.mktemp("empty")))
        yield dict(os.environ)


@pytest.fixture(scope="session")
def recorded(environ: dict[str, str]) -> Iterator[Recording]:
    """What functions ask of AWS and of the Lambda host."""
    cloud = LocalCloud.from_environ(environ)
    with recording(cloud.emulator_url, cloud.lambda_host_url) as recorded:
        yield recorded


@pytest.fixture(scope="session")
def machine(environ: dict[str, str], recorded: Recording) -> Iterator[Machine]:
    """The booted local cloud, its functions' AWS calls recorded. It dies with this process, however that ends."""
    aws, lambdas = recorded.urls
    machine = Machine.from_environ(environ, Options(aws_url=aws, lambda_url=lambdas))
    try:
        machine.boot()
        yield machine
    finally:
        machine.shut_down()


@pytest.fixture(scope="session")
def live(machine: Machine, environ: dict[str, str], recorded: Recording) -> Iterator[LiveCloud]:
    """The deployed stage with its catalog."""
    machine.train()
    machine.deploy()
    machine.apply()
    gateway = Gateway(url=machine.stage.api_url)
    with httpx.Client(base_url=gateway.url, timeout=35, trust_env=False) as client:
        yield LiveCloud(machine=machine, gateway=gateway, client=client, environ=environ, accesses=recorded.accesses)


def free_ports() -> int:
    """The first of a run of free ports that is long enough for a local cloud."""
    for base in range(FIRST_PORT, LAST_PORT, PORTS_NEEDED):
        if all(is_free(port) for port in range(base, base + PORTS_NEEDED)):
            return base
    raise RuntimeError("no free ports for a local cloud")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex((HOST, port)) != 0
