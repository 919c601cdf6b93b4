"""Local Azure in this process, behind genuine HTTP, and deployments to it; a client that is killed at a request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from fiso_cli.clouds.azure import arm as manager
from fiso_cli.clouds.azure import removal, steps
from fiso_cli.clouds.azure.arm import Arm
from fiso_cli.clouds.azure.command import LocalWord
from fiso_cli.clouds.azure.lease import ContainerLease
from fiso_cli.clouds.azure.names import Copy, Group
from fiso_cli.clouds.lock import held
from fiso_cli.clouds.plan import Done, apply, remove
from localcloud.azure_cloud.app import AzureCloud
from localcloud.azure_cloud.world import World

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
APPLICATION, TENANT = "22222222-2222-2222-2222-222222222222", "33333333-3333-3333-3333-333333333333"


class Killed(BaseException):
    """SIGKILL, as far as the deployer can see."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@dataclass
class Mortal:
    """A pipeline that dies at its `dies_at`th request, before it is sent or once it is answered."""

    inner: Any
    dies_at: int = 10**9
    is_after: bool = False
    sent: int = 0

    def send_request(self, request: Any, **options: Any) -> Any:
        self.sent += 1
        if self.sent > self.dies_at or (self.sent == self.dies_at and not self.is_after):
            raise Killed
        response = self.inner.send_request(request, **options)
        if self.sent == self.dies_at:
            raise Killed
        return response


@dataclass(frozen=True, kw_only=True)
class Site:
    """One stage on one local Azure."""

    world: World
    arm: Arm
    group: Group
    copies: tuple[Copy, ...]
    package: bytes
    wanted: steps.Wanted

    def mortal(self, dies_at: int = 10**9, *, is_after: bool = False) -> "Site":
        return replace(self, arm=replace(self.arm, client=Mortal(self.arm.client, dies_at, is_after)))

    def patient(self, wait_s: float) -> "Site":
        return replace(self, arm=replace(self.arm, wait_s=wait_s))

    def deploy(self) -> Done:
        quick = {"sleep": lambda _: None}
        apply(steps.shared(self.arm, self.group, "eastus"), _quiet, **quick)  # type: ignore[arg-type]
        own = [each for of in self.copies for each in steps.copy(self.arm, of, self.wanted, self.package)]
        with held(ContainerLease(arm=self.arm, group=self.group)) as still:
            return apply(own, _quiet, before=still, **quick)  # type: ignore[arg-type]

    def destroy(self) -> Done:
        removal.end_deployments(self.arm, self.group)
        return remove(removal.leftovers(self.arm, self.group), _quiet)


def _quiet(line: str) -> None:
    """Progress that nobody reads."""


@contextmanager
def azure(folder: Path, package: bytes, *, copies: int = 1, **world: Any) -> Iterator[Site]:
    """Local Azure and a stage with so many copies of one function."""
    made = World(folder=folder, **world)
    with make_server("127.0.0.1", 0, AzureCloud(world=made), server_class=_Server, handler_class=_Quiet) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}" if made.runs else ""
        arm = manager.connect(
            subscription=SUBSCRIPTION,
            endpoint=f"http://127.0.0.1:{server.server_port}",
            credential=LocalWord(),
            pace=0.0005,
        )
        group = Group(stage="prod", subscription=SUBSCRIPTION)
        places = [("eastus", 512), ("westeurope", 2048)][:copies]
        wanted = steps.Wanted(application_id=APPLICATION, tenant_id=TENANT)
        of = tuple(
            Copy(group=group, function="compress", folder=folder, region=region, memory_mb=size)
            for region, size in places
        )
        try:
            yield Site(world=made, arm=arm, group=group, copies=of, package=package, wanted=wanted)
        finally:
            made.running.stop_all()
            server.shutdown()
