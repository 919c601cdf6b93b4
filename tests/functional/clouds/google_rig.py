"""A local Google cloud in this process, and deployments to it that can be killed before or after any request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httplib2

from fiso_cli.clouds.google.client import Google
from fiso_cli.clouds.google.deployment import Asked, Deployment
from fiso_cli.clouds.google.names import Names
from localcloud.google_cloud.server import GoogleCloud
from localcloud.google_cloud.world import World

PROJECT = "fiso-local"
MAIN = """
import flask
import functions_framework

@functions_framework.http
def hello(request: flask.Request) -> str:
    return "hello " + request.get_data(as_text=True)
"""


class Killed(BaseException):
    """What a SIGKILL is to the code: nothing after it is carried out, no clean-up."""


@dataclass
class Switch:
    """Kills at a request: `before` it is sent, or after it was answered. Once it has killed, all further ones die."""

    at: int | None = None
    before: bool = True
    count: int = 0
    is_dead: bool = False
    asked: list[str] = field(default_factory=list)

    def set(self, at: int | None = None, *, before: bool = True) -> None:
        """Count anew, and kill at a request."""
        self.at, self.before, self.count, self.is_dead, self.asked = at, before, 0, False, []

    def transport(self) -> "_Transport":
        return _Transport(self)


class _Transport(httplib2.Http):  # type: ignore[misc]
    def __init__(self, switch: Switch) -> None:
        super().__init__(timeout=20)
        self.switch = switch

    def request(self, uri: str, method: str = "GET", *rest: Any, **given: Any) -> Any:
        switch = self.switch
        switch.count += 1
        switch.asked.append(f"{method} {uri.partition('googleapis.com')[2]}")
        is_it = switch.at is not None and switch.count == switch.at
        if switch.is_dead or (is_it and switch.before):
            switch.is_dead = True
            raise Killed
        answer = super().request(uri, method, *rest, **given)
        if is_it:
            switch.is_dead = True
            raise Killed
        return answer


def sample(folder: Path, main: str = MAIN) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(main)
    (folder / "requirements.txt").write_text("functions-framework==3.10.2 --hash=sha256:" + "0" * 64 + "\n")
    return folder


class Rig:
    """One local Google cloud, and one set of connections to it that all runs share, as they take long to make."""

    def __init__(self, folder: Path, **given: Any) -> None:
        self.folder, self.switch = folder, Switch()
        self.server = GoogleCloud(World(folder=folder, **given))
        self.world = self.server.world
        self.google = Google(
            PROJECT, endpoint=self.server.url, sleep=lambda seconds: None, transport=self.switch.transport
        )
        self.hello = sample(folder / "hello")

    def deployment(self, *, stage: str = "prod", **given: Any) -> Deployment:
        """Of one function to two regions, without waiting between requests."""
        asked = [Asked(function="hello", folder=self.hello, target="hello")]
        return Deployment(
            google=self.google,
            names=Names(stage=stage, project=PROJECT, region="us-east4"),
            **{"functions": asked, "regions": ["us-east4", "europe-west1"], "work": self.folder / "work", **given},
        )

    def state(self) -> dict[str, Any]:
        """What there is, without what differs from run to run."""
        own = ("etag", "generation", "uid", "uniqueId", "observedGeneration", "metageneration", "version", "folder")
        things = {
            name: {key: value for key, value in thing.items() if key not in own}
            for name, thing in self.world.things.items()
            if not name.startswith(("build/", "location/"))
        }
        policies = {
            name: sorted((each["role"], tuple(sorted(each["members"]))) for each in policy.get("bindings", []))
            for name, policy in self.world.policies.items()
            if policy.get("bindings")
        }
        return {"things": things, "policies": policies}


@contextmanager
def cloud(folder: Path, **given: Any) -> Iterator[Rig]:
    rig = Rig(folder, **given)
    thread = threading.Thread(target=rig.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield rig
    finally:
        rig.google.close()
        rig.server.shutdown()
        rig.server.server_close()
