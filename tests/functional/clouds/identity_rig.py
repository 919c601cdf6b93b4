"""AWS's issuer, Entra and Google on loopback as the local cloud runs them, and the trust between them that `fiso trust`
sets up."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import boto3

from fiso.adapters.identity import entra_identity, google_identity
from fiso.adapters.identity.entra_identity import EntraTokens
from fiso.adapters.identity.google_identity import GoogleIdTokens, Subject
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.domain.identity import EntraIdentity, GoogleIdentity
from fiso_cli.access_key import AccessKey, access_key_of
from fiso_cli.clouds.plan import Step, apply
from fiso_cli.clouds.trust import entra, workload_identity
from fiso_cli.clouds.trust.federation import Federation
from fiso_cli.clouds.trust.rest import GoogleApis, Rest
from fiso_cli.local_stage import ACCOUNT, AZURE_TENANT, GOOGLE_PROJECT
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from localcloud import signatures
from localcloud.entra.graph import Directory, GraphServer
from localcloud.entra.login import Login, keys_of_aws
from localcloud.google_cloud.server import GoogleCloud
from localcloud.google_cloud.world import World
from localcloud.signatures import BadSignatureError, Request
from localcloud.web_identity import WebIdentity
from tests.builders import an_endpoint
from tests.functional.lease_servers import serving

REGION, FUNCTION = "us-east-1", "fiso-local-orchestrator"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{FUNCTION}"
OWNER = AccessKey(id="FISO0011223344556677", secret="the-secret")
HOST = "hello.azurewebsites.net"
RUN = "https://hello-abc-uk.a.run.app"


class Stopwatch:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Clouds:
    """`function` is who asks for tokens."""

    word: WebIdentity
    aws_url: str
    graph: GraphServer
    login: Login
    google: GoogleCloud
    transport: HttpTransport
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    function: str = FUNCTION
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def directory(self) -> Directory:
        return self.graph.directory

    def steps(self) -> list[Step]:
        """Of both trusts."""
        keys = {"aws_access_key_id": OWNER.id, "aws_secret_access_key": OWNER.secret, "region_name": REGION}
        iam = self.stack.enter_context(closing(boto3.client("iam", endpoint_url=self.aws_url, **keys)))
        federation = Federation(iam)
        wanted = entra.Wanted(
            stage="local", tenant=AZURE_TENANT, roles={REGION: ROLE}, hosts=[HOST], issuer=federation.issuer
        )
        directory = self.stack.enter_context(closing(Rest(f"{self.graph.url}/v1.0", lambda: "local")))
        google = self.stack.enter_context(
            closing(GoogleApis(url=self.google.url, token=lambda: "local", sleep=lambda _: None))
        )
        pool = workload_identity.Wanted(stage="local", project=GOOGLE_PROJECT, account=ACCOUNT, roles=[FUNCTION])
        own = list(workload_identity.WorkloadIdentity(google, pool).steps())
        return [federation.step(), *entra.Entra(directory, wanted).steps(), *own]

    def trusted(self) -> None:
        apply(self.steps(), lambda _: None, sleep=lambda _: None)

    @property
    def entra_identity(self) -> EntraIdentity:
        client = next(
            each["appId"] for each in self.directory.applications.values() if each["displayName"] == "fiso-local"
        )
        return EntraIdentity(tenant=AZURE_TENANT, client=client)

    @property
    def google_identity(self) -> GoogleIdentity:
        number = self.google.world.projects[GOOGLE_PROJECT]
        pool = f"projects/{number}/locations/global/workloadIdentityPools/fiso-local"
        account = f"fiso-local@{GOOGLE_PROJECT}.iam.gserviceaccount.com"
        return GoogleIdentity(provider=f"{pool}/providers/fiso-local", service_account=account)

    @property
    def credentials(self) -> Credentials:
        key_id = access_key_of(self.function)
        return Credentials(access_key=key_id, secret_key=OWNER.secret_of(key_id), token=None)

    def sts(self, url: str = "") -> SignedService:
        endpoint = AwsEndpoint(service="sts", region=REGION, url=url or self.aws_url)
        return SignedService(
            endpoint=endpoint, credentials=self.credentials, transport=self.transport, clock=lambda: datetime.now(UTC)
        )

    def entra_tokens(self, identity: EntraIdentity | None = None) -> EntraTokens:
        who = identity or self.entra_identity
        return EntraTokens(
            who,
            word=entra_identity.of_aws(self.sts(), who.exchange),
            transport=self.transport,
            login=self.graph.url,
            stopwatch=self.stopwatch,
        )

    def subject(self) -> Subject:
        return google_identity.of_aws(self.google_identity, self.credentials, REGION, lambda: datetime.now(UTC))

    def google_tokens(self, identity: GoogleIdentity | None = None) -> GoogleIdTokens:
        return GoogleIdTokens(
            identity or self.google_identity,
            subject=self.subject(),
            transport=self.transport,
            urls=google_identity.urls_at(self.google.url),
            stopwatch=self.stopwatch,
        )


def on_azure() -> Endpoint:
    return an_endpoint(Provider.AZURE, address=f"https://{HOST}/api", authentication=Authentication.ENTRA)


def on_google() -> Endpoint:
    return an_endpoint(Provider.GCP, address=RUN, authentication=Authentication.ID_TOKEN)


def bearer(headers: Mapping[str, str]) -> str:
    return headers["authorization"].removeprefix("Bearer ")


@contextmanager
def clouds(folder: Path) -> Iterator[Clouds]:
    """The three while the context lasts; nothing trusts anything yet."""
    known = {access_key_of(name): f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in (FUNCTION, "fiso-local-keeper")}
    word = WebIdentity(folder, known.get)

    def aws(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        at, _, query = path.partition("?")
        method = headers.pop("x-method")
        answer = word.published(at) if method == "GET" else None
        if answer is None:
            asked = Request(method=method, path=at, query=query, headers=headers, body=body)
            try:
                answer = word.answer(asked, signatures.check(asked, OWNER, datetime.now(UTC)))
            except BadSignatureError as error:
                return 403, {"content-type": "text/xml"}, f"<Error><Code>{error.code}</Code></Error>".encode()
        if answer is None:
            return 404, {"content-type": "application/json"}, json.dumps({"path": urlsplit(path).path}).encode()
        return answer.status, {"content-type": answer.kind}, answer.body

    with ExitStack() as stack:
        url = stack.enter_context(serving(aws)).url
        directory = Directory(tenant=AZURE_TENANT)
        login = Login(directory, issuer_keys=keys_of_aws(url))
        world = World(folder=folder, aws_url=url)
        graph, google = GraphServer(directory, login=login), GoogleCloud(world)
        for server in (graph, google):
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        transport = stack.enter_context(closing(HttpTransport()))
        yield Clouds(word=word, aws_url=url, graph=graph, login=login, google=google, transport=transport, stack=stack)
