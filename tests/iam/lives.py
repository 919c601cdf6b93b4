"""What each deployed function does over its life, by its own handler and wiring against an emulator.

What is rare or waits for time (a breaker's notices, a record that stands there already) is asked of the wired ports.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import parse_qs

import boto3
import jwt
import pytest

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.candidates import S3Candidates
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, closed_item, open_item
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.aws.snapshots import DynamoDBSnapshotCopy
from fiso.adapters.http.signers import KmsSigner
from fiso.adapters.identity import entra_identity
from fiso.adapters.postgres.catalog import Connect, PostgresCatalogStore
from fiso.codecs.signature import text_of
from fiso.console_settings import ConsoleSettings
from fiso.domain.endpoint import Authentication, EndpointId, FunctionName, Provider
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso.domain.request import TenantId
from fiso.retrainer_settings import RetrainerSettings
from fiso.routing.breaker_notices import Domain, SlowCall, Transition
from fiso.settings import KeeperSettings, OrchestratorSettings, StreamConsumerSettings
from fiso.testing.memory import InMemoryMetrics
from fiso.testing.rig import LambdaContext, http_event
from fiso_cli.training import keys
from fiso_client.core.breaker import Breaker
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from functions.console import wiring as console
from functions.console.handler import answer_event as answer_at_console
from functions.keeper import models as keeper_models
from functions.keeper import wiring as keeper
from functions.orchestrator import wiring as orchestrator
from functions.orchestrator.aws_ports import Ports
from functions.orchestrator.handler import answer_event
from functions.retrainer import wiring as retrainer
from functions.stream_consumer import wiring as stream_consumer
from functions.stream_consumer.archiver import archive
from functions.stream_consumer.handler import consume
from localcloud.drill.object_store import Server
from tests import tokens
from tests.builders import a_record, a_snapshot, a_spilled_line, an_attempt, an_endpoint, an_entry, an_open_record
from tests.contract.entra_services import IDENTITY
from tests.functional.lease_servers import serving
from tests.functional.test_oidc import CONFIGURATION, KEYS, RSA, issuing
from tests.functional.test_retrain import a_log
from tests.iam.recorder import Recording
from tests.iam.stage import Clients, Stage
from tests.iam.wire import TAGGED, Access
from tests.models import a_signer, an_artifact, files_of

T = TypeVar("T")

DATABASE = "fiso/prod/keeper-database"
LARGE = b"x" * 400_000
WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A deployed stage. Operators reach AWS by `aws`; what functions do goes by the recorder, to AWS and to Lambda.
    `connect` is to the policies' database, which is at `database_url`."""

    stage: Stage
    aws: Clients
    recorded: Recording
    connect: Connect
    database_url: str

    @property
    def bucket(self) -> str:
        return self.stage.environ["keeper"]["FISO_BUCKET"]

    @property
    def log_table(self) -> str:
        return self.stage.environ["keeper"]["FISO_LOG_TABLE"]

    def live(self) -> Mapping[str, frozenset[Access]]:
        """Every access that each function made. What operators set up comes first."""
        self._set_up()
        _orchestrate(self)
        _consume(self)
        _keep(self)
        _retrain(self)
        _show(self)
        made = {function: frozenset(self._of(function)) for function in self.stage.roles}
        assert sum(map(len, made.values())) == len(set(self.recorded.accesses))
        return made

    def _of(self, function: str) -> Iterator[Access]:
        return (access for access in self.recorded.accesses if access.caller == _key_of(function))

    @contextmanager
    def being(self, function: str, **changes: str) -> Iterator[Mapping[str, str]]:
        """The environment of a function, in this process. Stage local is the one that may use servers on loopback."""
        aws_url, lambda_url = self.recorded.urls
        with pytest.MonkeyPatch.context() as environment:
            for name in [name for name in os.environ if name.startswith(("AWS_", "FISO_"))]:
                environment.delenv(name)
            own = {
                "AWS_ACCESS_KEY_ID": _key_of(function),
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": aws_url,
                "AWS_ENDPOINT_URL_LAMBDA": lambda_url,
            }
            for name, value in {**self.stage.environ[function], **own, **changes}.items():
                environment.setenv(name, value)
            environment.setattr(boto3, "DEFAULT_SESSION", boto3.Session())
            yield dict(os.environ)

    def _set_up(self) -> None:
        secrets, ssm = self.aws("secretsmanager"), self.aws("ssm")
        secrets.create_secret(Name=DATABASE, SecretString=self.database_url)
        own = json.dumps({"host": "127.0.0.1", "key": "k3y-of-the-function"})
        secrets.create_secret(Name="fiso/prod/function-key", SecretString=own)
        for name in ("lease-keys", "login-keys", "login-secret"):
            ssm.put_parameter(Name=f"/fiso/prod/{name}", Value=f"k1:{'a' * 32}", Type="SecureString")
        catalog, endpoint = PostgresCatalogStore(self.connect), an_endpoint(address="fiso-prod-sample-aws")
        for version, name in enumerate(("aws", "renamed")):  # the first is what the orchestrator finds published
            catalog.replace([an_entry(endpoint, name=name)], based_on=version, author="operator")


def _key_of(function: str) -> str:
    return f"KEY{function.upper()}"


def respond(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Lambda's Invoke and an Azure function: throttled, large, or plain, as the request's body wants it."""
    if b"Action=GetWebIdentityToken" in body:
        return 200, {}, b"<WebIdentityToken>a.b.c</WebIdentityToken>"
    if path.endswith("/oauth2/v2.0/token"):
        audience = parse_qs(body.decode())["scope"][0].removesuffix("/.default")
        token = jwt.encode({"aud": audience}, "k" * 32)
        return 200, {}, json.dumps({"access_token": token, "expires_in": 3600}).encode()
    if b"refuse" in body:
        return 429, {"x-amzn-errortype": "TooManyRequestsException"}, b"{}"
    text = LARGE.decode() if b"large" in body else "ok"
    if path.startswith("/2015-03-31/"):
        return 200, {}, json.dumps({"statusCode": 200, "body": text}).encode()
    return 200, {}, text.encode()


UNASKED = {"FISO_STAGE": "local", "FISO_AUTH": "none", "FISO_GATEWAY_HASHES": ""}


def _orchestrate(world: World) -> None:
    with (
        serving(respond) as azure,
        world.being(
            "orchestrator",
            **UNASKED,
            FISO_ALLOW_LOOPBACK="1",
            FISO_QUOTAS="1000/1000",
            FISO_AZURE_TENANT=IDENTITY.tenant,
            FISO_AZURE_CLIENT=IDENTITY.client,
            FISO_ENTRA_LOGIN=azure.url,
            AWS_ENDPOINT_URL_STS=world.recorded.urls[1],
            FISO_CATALOG_KEYS=text_of(a_signer().public.modulus),
        ) as environ,
    ):
        settings = OrchestratorSettings.from_environ(environ)
        ports = orchestrator.aws_ports(settings, environ, InMemoryMetrics())
        assert (ports.snapshots.current(), ports.models.champion()) == (None, None), "on a new stage"
        _publish(world, azure.url)
        app = orchestrator.build(settings, metrics=InMemoryMetrics(), ports=ports)

        def send(method: str, path: str, body: str = "{}", **headers: str) -> dict[str, Any]:
            return answer_event(app, http_event(method, path, body, **headers), LambdaContext())

        def answered(method: str, path: str, body: str = "{}", **headers: str) -> str:
            """Asks until it is served, which on a busy machine may be late for a store; the invocation's id."""
            while (answer := send(method, path, body, **headers))["statusCode"] != 200:
                assert time.monotonic() < ends_at, answer
            return str(answer["headers"]["x-fiso-invocation-id"])

        ends_at = time.monotonic() + WITHIN_S
        for path in ("/healthz", "/v1/endpoints"):
            answered("GET", path)
        for path in ("/v1/explain/aws", "/v1/decide/aws", "/v1/invoke/azure", "/v1/invoke/entra", "/v1/invoke/tagged"):
            answered("POST", path)
        answered("GET", f"/v1/invocations/{answered('POST', '/v1/invoke/aws')}")
        for key, body in (("a", "{}"), ("b", '"large"')):
            first, again = [answered("POST", "/v1/invoke/aws", body, idempotency_key=key) for _ in range(2)]
            assert first == again
        send("POST", "/v1/invoke/aws", '"refuse"', idempotency_key="c")
        _use(ports, ends_at)


def _use(ports: Ports, ends_at: float) -> None:
    """Ports whose ways are rare, past their short time limits."""

    def patiently(does: Callable[[], T]) -> T:
        while True:
            try:
                return does()
            except StoreUnavailable:
                assert time.monotonic() < ends_at

    patiently(lambda: ports.log.close(a_record(1)))
    with pytest.raises(WriteConflict):
        patiently(lambda: ports.log.close(a_record(1, tenant=TenantId("another"))))
    champion = patiently(ports.models.champion)
    assert champion is not None
    patiently(lambda: ports.models.artifact(champion))
    assert ports.promotions is not None
    assert patiently(ports.promotions.read) is None
    assert ports.copy is not None
    patiently(ports.copy.current)
    now = datetime.now(UTC)
    slow = SlowCall(function=FunctionName("aws"), endpoint=EndpointId("aws"), teller="t", began_at=now)
    opened = Breaker(changed_at=now, opened_until=now + timedelta(seconds=5), trips_in_row=1)
    domain = Domain(Provider.AWS, "us-east-1")
    patiently(lambda: ports.shared_breakers.write(slow))
    patiently(lambda: ports.shared_breakers.retract(slow))
    patiently(
        lambda: ports.shared_breakers.write(Transition(function=None, endpoint=None, domain=domain, breaker=opened))
    )
    patiently(ports.shared_breakers.read)


def _publish(world: World, azure: str) -> None:
    """What is published when the orchestrator starts: a catalog with its copy, and a champion."""
    to_azure = an_endpoint(
        Provider.AZURE,
        address=f"{azure}/api",
        authentication=Authentication.FUNCTION_KEY,
        secret_ref="fiso/prod/function-key",
    )
    entries = (
        an_entry(an_endpoint(address="fiso-prod-sample-aws"), name="aws"),
        an_entry(an_endpoint(address=TAGGED), name="tagged"),
        an_entry(to_azure, name="azure"),
        an_entry(an_endpoint(Provider.AZURE, address=azure, authentication=Authentication.ENTRA), name="entra"),
    )
    s3, snapshot = world.aws("s3"), a_snapshot(*entries)
    seals = keys.sealing(a_signer())
    S3Snapshots(s3, world.bucket, seals).publish(snapshot)
    table = world.stage.environ["orchestrator"]["FISO_STATE_TABLE"]
    DynamoDBSnapshotCopy(world.aws("dynamodb"), table, seals).publish(snapshot)
    S3ModelStore(s3, world.bucket).publish(files_of(an_artifact()), replaces=None)


def _consume(world: World) -> None:
    log = DynamoDBInvocationLog(world.aws("dynamodb"), world.log_table, clock=lambda: datetime.now(UTC))
    closed = [a_record(1, timestamp=datetime.now(UTC)), a_record(2, error_occurred=True)]
    of_two = [
        a_record(5),
        a_record(6, endpoint=EndpointId("gcp"), cloud_provider=Provider.GCP, attempts=(an_attempt("gcp"),)),
    ]
    for record in (*closed, *of_two):
        log.close(record)
    poison = {**closed_item(a_record(9)), "status": {"S": "half-done"}}
    world.aws("dynamodb").put_item(TableName=world.log_table, Item=poison)
    begun_at = datetime.now(UTC) - timedelta(hours=2)
    intent = an_open_record(4, timestamp=begun_at, deadline_at=begun_at + timedelta(hours=1))
    log.open(intent)

    def told(image: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"dynamodb": {"NewImage": image, "SequenceNumber": "1"}}]

    with world.being("stream-consumer") as environ:
        stores = stream_consumer.build(StreamConsumerSettings.from_environ(environ))
        for image in (*map(closed_item, closed), poison):
            assert consume(told(image), stores) == {"batchItemFailures": []}
        both = [event for record in of_two for event in told(closed_item(record))]
        assert consume(both, stores) == {"batchItemFailures": []}
    with (
        serving(respond) as elsewhere,
        world.being(
            "archiver",
            FISO_STAGE="local",
            FISO_GOOGLE_MONITORING=f"my-project {elsewhere.url}",
            AWS_ENDPOINT_URL_STS=world.recorded.urls[1],
        ) as environ,
    ):
        stores = stream_consumer.build(StreamConsumerSettings.from_environ(environ))
        transport, endpoint = HttpTransport(), AwsEndpoint.from_environ("sts", environ)
        credentials = Credentials.from_environ(environ)
        sts = SignedService(
            endpoint=endpoint, credentials=credentials, transport=transport, clock=lambda: datetime.now(UTC)
        )
        assert stream_consumer.entra_bearer(IDENTITY, sts, transport, login=elsewhere.url)()
        for image in (*map(closed_item, (*closed, of_two[1])), open_item(intent)):
            assert archive(told(image), stores) == {"batchItemFailures": []}
        stores.letters.set_aside({"dynamodb": {"NewImage": poison}}, "what cannot be archived")
        assert stores.spilled is not None
        stores.spilled.put(["what was spilled"])


def _keep(world: World) -> None:
    """Over a spilled line, a record that was left open and seen so, a changed catalog, and a front door elsewhere."""
    now = datetime.now(UTC)
    environ = world.stage.environ["keeper"]
    logs, group = world.aws("logs"), environ["FISO_SPILL_LOG_GROUP"]
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    line = a_spilled_line(a_record(3), now - timedelta(minutes=1))
    event = {"timestamp": int(line.written_at.timestamp() * 1000), "message": line.text}
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])
    server = Server(keeps_connections=False)
    changes = {"FISO_STAGE": "local", "FISO_MIRRORS": f"{server.url}/mirror", "FISO_AUTH": "none"}
    with serving_on(server), world.being("keeper", **changes, AWS_ENDPOINT_URL_STS=world.recorded.urls[1]) as own:
        assert entra_identity.of_aws(keeper.service("sts"))(5.0).value, "as it does where the mirror is on Azure"
        for expected in ((2, 1, 1), (None, 0, 0)):
            life = keeper.build(KeeperSettings.from_environ(own))
            report = life.keep()
            # the champion is another stage's than the one that may use servers on loopback: looked at, not taken over
            assert [each for each in report.problems if not each.startswith("the azure door: the leader")] == []
            done = (report.published_version, report.swept.closed_as_unknown, report.reconciled.written)
            assert done == expected
        models = S3ModelStore(boto3.client("s3"), world.bucket)  # as it does where the champion is this stage's own
        champion = models.champion()
        assert champion is not None
        models.artifact(champion)
        life.look_through(now - timedelta(minutes=5), now)


@contextmanager
def serving_on(server: Server) -> Iterator[None]:
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _retrain(world: World) -> None:
    now = datetime.now(UTC)
    archive = S3Archive(world.aws("s3"), world.bucket, clock=lambda: now)
    archive.append(a_log(200, start=now - timedelta(minutes=10)), batch_id="all")
    key = _public_half(world, "keeper", "FISO_MODEL_SIGNING_KEY_ID")
    trusted = f"{key} {text_of(a_signer().public.modulus)}"
    rows = {"FISO_MINIMUM_ROWS": "150", "FISO_MINIMUM_NEW_ROWS": "50"}
    with world.being("retrainer", FISO_MODEL_KEYS=trusted, **rows) as environ:
        run = retrainer.build(RetrainerSettings.from_environ(environ)).retrain(now=now, trigger="command")
        assert "the keeper is of before" in run.reason  # as the stand-in for the keeper answers
    assert run.challenger_version is not None
    _promote(world, trusted, run.challenger_version)
    with world.being("retrainer", FISO_MODEL_KEYS=trusted, **rows) as environ:
        again = retrainer.build(RetrainerSettings.from_environ(environ)).retrain(now=now, trigger="command")
        assert "too few new rows" in again.reason
        assert "too few days" in retrainer.watch(RetrainerSettings.from_environ(environ)).look(now=now).reason
        for number in range(6):
            S3Candidates(boto3.client("s3"), world.bucket).put(files_of(an_artifact(), version=f"c-{number}"))
        closed = a_log(3, first=300, start=now - timedelta(hours=5))
        for record in closed:
            archive.append([record], batch_id=record.invocation_id)
        done = retrainer.compaction(RetrainerSettings.from_environ(environ)).compact(ends_at=now + timedelta(minutes=5))
        assert done.problem is None
        assert done.records >= 3


def _promote(world: World, trusted: str, version: str) -> None:
    """What the keeper does with what was offered, and what operators ask of it."""
    with world.being("keeper", FISO_MODEL_KEYS=trusted) as environ:
        registry = keeper.registry(KeeperSettings.from_environ(environ))
        assert registry.candidates is not None
        offered, champion = registry.candidates.get(version, admitted=False), registry.promoter.champion().pointer
        assert offered is not None
        assert offered.pointer.manifest is not None
        offer = {
            "do": "offer",
            "version": version,
            "sha256": offered.pointer.sha256,
            "manifest_sha256": sha256(offered.pointer.manifest.text.encode()).hexdigest(),
            "replaces": champion and {"version": champion.version, "sha256": champion.sha256},
            "promote": True,
        }
        for order in (offer, {"do": "roll_back"}, {"do": "promote", "version": version}, {"do": "unpin"}):
            said = keeper_models.ordered(registry, order)
            assert "refused" not in said, said
        world.aws("s3").put_object(Bucket=world.bucket, Key="models/a-old/model.joblib", Body=b"old")
        registry.promoter.models.keep_newest(0)


def _public_half(world: World, function: str, variable: str) -> str:
    """Of the key that a function signs with, as the command line shows it."""
    return text_of(KmsSigner(world.aws("kms"), world.stage.environ[function][variable]).public_key().modulus)


PAGES = (
    "",
    "/functions/renamed",
    "/changes",
    "/endpoints",
    "/diagnosis",
    "/invocations",
    f"/invocations/{a_record(1).invocation_id}",
    "/models",
)
API = ("invocations", "endpoints", "diagnosis", "reports/retraining")


def _show(world: World) -> None:
    """To one who may see everything and to a tenant, by tokens; then what a login reads."""
    with issuing(CONFIGURATION, KEYS) as (issuer, _):
        settings = {
            "FISO_STAGE": "local",
            "FISO_AUTH": "jwt",
            "FISO_JWT_ISSUER": issuer,
            "FISO_JWT_AUDIENCE": tokens.AUDIENCE,
            "FISO_CATALOG_KEYS": _public_half(world, "keeper", "FISO_CATALOG_SIGNING_KEY_ID"),
            "FISO_CONSOLE_URL": "http://127.0.0.1/console",
            "FISO_LOGIN_CLIENT_ID": "console",
            "FISO_LOGIN_SECRET_PARAMETER": "/fiso/prod/login-secret",
        }
        with world.being("console", **settings) as environ:
            app = console.build(ConsoleSettings.from_environ(environ))
            for scope in ("fiso:read fiso:admin", "fiso:read"):
                shown = RSA.sign(tokens.payload(datetime.now(UTC), "local", iss=issuer, scope=scope))
                for path in [*(f"/console{page}" for page in PAGES), *(f"/api/{name}" for name in API)]:
                    event = http_event("GET", path, "", host="127.0.0.1", authorization=f"Bearer {shown}")
                    answer = answer_at_console(app, event, None)
                    assert answer["statusCode"] == 200, (path, answer)
            _log_in(ConsoleSettings.from_environ(environ))
            admin = RSA.sign(tokens.payload(datetime.now(UTC), "local", iss=issuer, scope="fiso:admin"))
            ordered = http_event("PUT", "/api/policies/aws/pin", '{"endpoint": "aws"}', authorization=f"Bearer {admin}")
            ordered["headers"]["host"] = "127.0.0.1"
            assert answer_at_console(app, ordered, None)["statusCode"] == 200  # as the stand-in for the keeper answers


def _log_in(settings: ConsoleSettings) -> None:
    entrance = console.entrance_of(settings, lambda: datetime.now(UTC), ssm=lambda: boto3.client("ssm"))
    assert entrance is not None
    assert entrance.login is not None
    entrance.login.keys.current()
    read_secret = entrance.login.issuer().read_secret
    assert read_secret is not None
    read_secret()
