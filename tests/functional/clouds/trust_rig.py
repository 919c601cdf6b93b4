"""AWS's switch, Entra's Graph and Google's management APIs on loopback, and runs of trust that can be killed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import boto3

from fiso_cli.clouds.plan import Step
from fiso_cli.clouds.trust import entra, workload_identity
from fiso_cli.clouds.trust.federation import Federation
from fiso_cli.clouds.trust.rest import GoogleApis, Rest
from localcloud.entra.graph import Directory, GraphServer
from localcloud.google_cloud.server import GoogleCloud
from localcloud.google_cloud.world import World
from tests.functional.lease_servers import serving

STAGE, PROJECT, TENANT = "prod", "fiso-local", "72f988bf-86f1-41af-91ab-2d7cd011db47"
ACCOUNT, ROLE = "123456789012", "fiso-prod-orchestrator"
ISSUER = "https://3a6b5c7d-0000-4000-8000-1a2b3c4d5e6f.tokens.sts.global.api.aws"
HOSTS = ("thumbnails.azurewebsites.net", "words.azurewebsites.net")
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
XMLNS = "https://iam.amazonaws.com/doc/2010-05-08/"


class Killed(BaseException):
    """What a SIGKILL is to the code."""


@dataclass(eq=False)
class Trusts:
    """Three clouds. `kill_at`: the request before which a run dies; what was asked until then has been done."""

    directory: Directory
    world: World
    graph_url: str
    google_url: str
    iam_url: str = ""
    is_federated: bool = False
    denied: set[str] = field(default_factory=set)
    count: int = 0
    kill_at: int | None = None
    opened: list[Any] = field(default_factory=list)
    client: Any = None

    def word(self) -> str:
        self.count += 1
        if self.kill_at is not None and self.count >= self.kill_at:
            raise Killed
        return "local"

    def iam(self, _path: str, _headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        action = parse_qs(body.decode())["Action"][0]
        if action in self.denied:
            return _error(403, "AccessDenied")
        if action.startswith("Enable"):
            if self.is_federated:
                return _error(409, "FeatureEnabled")
            self.is_federated = True
        elif not self.is_federated:
            return _error(404, "FeatureDisabled")
        result = f"<IssuerIdentifier>{ISSUER}</IssuerIdentifier><JwtVendingEnabled>true</JwtVendingEnabled>"
        xml = f'<{action}Response xmlns="{XMLNS}"><{action}Result>{result}</{action}Result></{action}Response>'
        return 200, {"content-type": "text/xml"}, xml.encode()

    def azure(self, stage: str = STAGE, hosts: tuple[str, ...] = HOSTS) -> list[Step]:
        if self.client is None:
            self.client = boto3.client("iam", endpoint_url=self.iam_url, **KEYS)
            self.opened.append(self.client)
        federation = Federation(self.client)
        wanted = entra.Wanted(
            stage=stage,
            tenant=TENANT,
            roles={"us-east-1": f"arn:aws:iam::{ACCOUNT}:role/fiso-{stage}-orchestrator"},
            hosts=hosts,
            issuer=federation.issuer,
        )
        graph = Rest(f"{self.graph_url}/v1.0", self.word, sleep=lambda _: None)
        self.opened.append(graph)
        return [federation.step(), *entra.Entra(graph, wanted).steps()]

    def google(self, stage: str = STAGE) -> list[Step]:
        apis = GoogleApis(url=self.google_url, token=self.word, sleep=lambda _: None)
        self.opened.append(apis)
        wanted = workload_identity.Wanted(
            stage=stage, project=PROJECT, account=ACCOUNT, roles=[f"fiso-{stage}-orchestrator"]
        )
        return list(workload_identity.WorkloadIdentity(apis, wanted).steps())

    def steps(self, cloud: str, stage: str = STAGE) -> list[Step]:
        return self.azure(stage) if cloud == "azure" else self.google(stage)

    def state(self) -> Any:
        """All that there is, without what is drawn anew each time."""
        names = {each["id"]: each["displayName"] for each in self.directory.applications.values()}
        names |= {id: f"principal of {self._name_of(each['appId'])}" for id, each in self.directory.principals.items()}
        google = {
            name: {key: value for key, value in each.items() if key not in ("etag", "uniqueId") and value is not False}
            for name, each in self.world.things.items()
        }
        policies = {name: each.get("bindings") for name, each in self.world.policies.items() if each.get("bindings")}
        return (
            sorted(str(_plain(each, names)) for each in self.directory.applications.values()),
            sorted(str(_plain(each, names)) for each in self.directory.principals.values()),
            {
                names[id]: {key: _plain(each, names) for key, each in given.items()}
                for id, given in self.directory.credentials.items()
                if given
            },
            {
                names[id]: [_plain(each, names) for each in given]
                for id, given in self.directory.assignments.items()
                if given
            },
            len(self.directory.deleted),
            google,
            policies,
            self.world.enabled,
        )

    def _name_of(self, application: str) -> str:
        return str(
            next(each["displayName"] for each in self.directory.applications.values() if each["appId"] == application)
        )


def _plain(document: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    whole = {key: names.get(str(value), value) for key, value in document.items()}
    return {key: whole[key] for key in sorted(whole) if key not in ("id", "appId", "appRoleId")}


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    body = f'<ErrorResponse xmlns="{XMLNS}"><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>'
    return status, {"content-type": "text/xml"}, body.encode()


@contextmanager
def trusts(folder: Path) -> Iterator[Trusts]:
    """The clouds while the context lasts."""
    directory, world = Directory(), World(folder=folder, projects={PROJECT: ACCOUNT})
    with ExitStack() as stack:
        urls = []
        for server in (GraphServer(directory), GoogleCloud(world)):
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            urls.append(server.url)
        made = Trusts(directory=directory, world=world, graph_url=urls[0], google_url=urls[1])
        made.iam_url = stack.enter_context(serving(made.iam)).url
        yield made
        for each in made.opened:
            each.close()


Change = Callable[[Trusts], object]
