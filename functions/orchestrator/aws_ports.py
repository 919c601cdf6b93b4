"""Outside: everything that the orchestrator speaks to, as ports, and those on AWS and the three clouds."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.dynamodb_breakers import DynamoDBSharedBreakers
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.function_keys import FunctionKeys
from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.aws.models import DynamoDBPromotionWitness, LayerModelStore, S3ModelStore
from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.aws.snapshots import CheckedSnapshots, DynamoDBSnapshotCopy, KnownHosts
from fiso.adapters.clock import utc_now
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.adapters.identity.stage_tokens import StageTokens
from fiso.codecs.seal import CatalogSeals
from fiso.codecs.signature import PublicKeys
from fiso.domain.access import AuthMode
from fiso.domain.address import AddressRules
from fiso.domain.endpoint import Authentication, Provider
from fiso.domain.request import TenantId
from fiso.domain.stage_rules import StageRules
from fiso.ports import (
    Clock,
    EndpointStates,
    EndpointTokens,
    FunctionCaller,
    IdempotencyKeys,
    InvocationLog,
    IssuerKeys,
    LeaseKeys,
    Metrics,
    ModelStore,
    PromotionWitness,
    SharedBreakers,
    Snapshots,
    TenantUse,
)
from fiso.routing.quota import Seen, Use
from fiso.services.log.spill import LONGEST_WAIT_S
from fiso.services.resilience.executors import AttemptExecutor, ThreadedExecutor
from fiso.settings import AccessSettings, OrchestratorSettings
from fiso_client.core.signing import AwsEndpoint, Credentials, KeySource, SignedService
from fiso_client.core.transport import HttpTransport

if TYPE_CHECKING:
    from fiso.adapters.identity.exchange import TokensByAudience
    from fiso.domain.identity import EntraIdentity, GoogleIdentity

logger = logging.getLogger("fiso.orchestrator")

KEYS_TIMEOUT_S = 0.5
"""A write of a key is asked for twice at most. Where both hang, and the function took all the time that Lambda gives,
the caller loses the answer to Lambda's own limit; its key then says `unknown_outcome`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that the orchestrator speaks to.

    `stage_keys` and `packaged_keys` are trusted in place of the setting's and of the code package's.
    """

    snapshots: Snapshots
    states: EndpointStates
    layer: ModelStore
    models: ModelStore
    log: InvocationLog
    caller: FunctionCaller
    shared_breakers: SharedBreakers
    metrics: Metrics
    tokens: Sequence[EndpointTokens] = ()
    """What identifies FISO at endpoints that ask for a token."""
    clock: Clock = utc_now
    ticks: Callable[[], float] = monotonic
    stopwatch: Callable[[], float] = perf_counter
    calls: Callable[[], AttemptExecutor] = ThreadedExecutor
    draw: Callable[[], float] = random.SystemRandom().random
    copy: Snapshots | None = None
    lease_keys: Callable[[], LeaseKeys] | None = None
    issuer_keys: IssuerKeys | None = None
    tenant_use: TenantUse | None = None
    idempotency_keys: Callable[[], IdempotencyKeys] | None = None
    other_idempotency_keys: Callable[[], Sequence[IdempotencyKeys]] | None = None
    """Those of the regions that hold keys together with this one."""
    stage_keys: PublicKeys | None = None
    packaged_keys: PublicKeys | None = None
    promotions: PromotionWitness | None = None
    connect: Callable[[], None] = lambda: None
    """Open what most requests need, where it is known before them."""
    rest: Callable[[], None] = lambda: None
    """Close what must not be in a snapshot: connections, credentials."""


def aws_ports(settings: OrchestratorSettings, environ: Mapping[str, str], metrics: Metrics) -> Ports:
    """The stores on AWS and the three clouds."""
    transport = HttpTransport()
    credentials = _own_credentials(environ, transport)

    def service(name: str, region: str | None = None) -> SignedService:
        endpoint = AwsEndpoint.from_environ(name, environ, region=region)
        return SignedService(endpoint=endpoint, credentials=credentials, transport=transport, clock=utc_now)

    dynamodb, s3 = DynamoDBClient(service("dynamodb")), S3Client(service("s3"))
    # A time limit for each call, which boto3 does not have (docs/decisions/0001-own-signed-aws-calls.md).
    quick = DynamoDBClient(service("dynamodb"), timeout_s=LONGEST_WAIT_S)
    hosts = KnownHosts(AddressRules(own_hosts=settings.own_hosts, allow_loopback=settings.allow_loopback))
    to_public = HttpTransport(dial=PublicDial(allow_loopback=settings.allow_loopback))

    http = partial(
        HttpCaller,
        to_public,
        clock=utc_now,
        allow_loopback=settings.allow_loopback,
        rules=lambda: hosts.rules,
    )
    elsewhere = _Elsewhere(*_tokens(settings, service, transport))
    azure = http(identities={Authentication.FUNCTION_KEY: FunctionKeys(service("secretsmanager")), **elsewhere.tokens})
    google = http(identities=elsewhere.tokens)
    invoke_api = cache(lambda region: service("lambda", region))
    aws = LambdaCaller(invoke_api, clock=utc_now)

    def connect() -> None:
        transport.connect(AwsEndpoint.from_environ("lambda", environ).url)

    def rest() -> None:
        if forget := getattr(credentials, "forget", None):  # those of a restored snapshot
            forget()
        for each in (transport, to_public):
            each.close()

    seals = _catalog_seals(settings)
    return Ports(
        snapshots=CheckedSnapshots(S3Snapshots(s3, settings.bucket, seals), hosts, elsewhere.identified),
        copy=CheckedSnapshots(DynamoDBSnapshotCopy(dynamodb, settings.state_table, seals), hosts, elsewhere.identified),
        states=DynamoDBEndpointStates(dynamodb, settings.state_table, clock=utc_now),
        layer=LayerModelStore(settings.model_dir),
        models=S3ModelStore(s3, settings.bucket),
        promotions=DynamoDBPromotionWitness(dynamodb, settings.state_table),
        shared_breakers=DynamoDBSharedBreakers(dynamodb, settings.state_table, clock=utc_now),
        log=DynamoDBInvocationLog(
            quick, settings.log_table, clock=utc_now, writes_as_before=settings.catalog.accepts_older_forms
        ),
        caller=ByProvider({Provider.AWS: aws, Provider.AZURE: azure, Provider.GCP: google}),
        tokens=tuple(elsewhere.tokens.values()),
        metrics=metrics,
        lease_keys=_stored_keys(service("ssm"), settings.lease_keys_parameter),
        issuer_keys=_issuer_keys(settings.access, transport),
        tenant_use=_tenant_use(dynamodb, settings),
        idempotency_keys=_table_of_keys(service("dynamodb"), s3, settings),
        other_idempotency_keys=_tables_of_keys(partial(service, "dynamodb"), s3, settings),
        connect=connect,
        rest=rest,
    )


def _catalog_seals(settings: OrchestratorSettings) -> CatalogSeals:
    trust = settings.catalog
    if not trust.keys and not trust.accepts_older_forms:
        logger.error("FISO_CATALOG_KEYS is not set, no catalog is trusted: `fiso setup` says with which")
    return CatalogSeals(
        stage=settings.stage, keys=trust.keys, least=trust.floor, accepts_unsigned=trust.accepts_older_forms
    )


def _own_credentials(environ: Mapping[str, str], transport: HttpTransport) -> KeySource:
    if "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in environ:
        return Credentials.from_environ(environ)
    from fiso.adapters.aws.container_credentials import own_credentials

    return own_credentials(environ, transport=transport, clock=utc_now)


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """Who FISO is on other clouds: as the catalog says, else as the stage was deployed."""

    entra: "StageTokens[EntraIdentity]"
    google: "StageTokens[GoogleIdentity]"

    @property
    def tokens(self) -> "Mapping[Authentication, StageTokens[EntraIdentity] | StageTokens[GoogleIdentity]]":
        return {Authentication.ENTRA: self.entra, Authentication.ID_TOKEN: self.google}

    def identified(self, rules: StageRules) -> None:
        if rules.identities is None:
            self.entra.be(None)
            self.google.be(None)
            return
        from fiso.domain.identity import entra_of, google_of

        try:
            self.entra.be(entra_of(rules.identities))
            self.google.be(google_of(rules.identities))
        except ValueError as error:  # written past the command line
            logger.error("the catalog's identities are left out: %s", error)


def _tokens(
    settings: OrchestratorSettings,
    service: Callable[[str], SignedService],
    transport: HttpTransport,
) -> "tuple[StageTokens[EntraIdentity], StageTokens[GoogleIdentity]]":
    """Who FISO is on other clouds."""

    def google(who: "GoogleIdentity") -> "TokensByAudience":
        from fiso.adapters.identity import google_identity

        sts = service("sts")
        subject = google_identity.of_aws(who, sts.credentials, sts.endpoint.region, utc_now)
        urls = google_identity.urls_at(settings.google_login)
        return google_identity.GoogleIdTokens(who, subject=subject, transport=transport, urls=urls)

    def entra(who: "EntraIdentity") -> "TokensByAudience":
        from fiso.adapters.identity import entra_identity

        word = entra_identity.of_aws(service("sts"), who.exchange)
        return entra_identity.EntraTokens(who, word=word, transport=transport, login=settings.entra_login)

    return (
        StageTokens(Authentication.ENTRA, entra, settings.entra),
        StageTokens(Authentication.ID_TOKEN, google, settings.google),
    )


def _table_of_keys(
    dynamodb: SignedService, s3: S3Client, settings: OrchestratorSettings
) -> Callable[[], IdempotencyKeys] | None:
    table = settings.idempotency_table

    def stored() -> IdempotencyKeys:
        from fiso.adapters.aws.dynamodb_idempotency import DynamoDBIdempotencyKeys

        client = DynamoDBClient(dynamodb, timeout_s=KEYS_TIMEOUT_S)
        return DynamoDBIdempotencyKeys(
            client,
            table or "",
            s3=s3,
            bucket=settings.bucket,
            clock=utc_now,
            as_before=settings.catalog.accepts_older_forms,
        )

    return stored if table else None


def _tables_of_keys(
    dynamodb: Callable[[str], SignedService], s3: S3Client, settings: OrchestratorSettings
) -> Callable[[], Sequence[IdempotencyKeys]] | None:
    made = [_table_of_keys(dynamodb(region), s3, settings) for region in settings.key_regions]
    return (lambda: [each() for each in made if each]) if made and settings.idempotency_table else None


def _stored_keys(service: SignedService, parameter: str | None) -> Callable[[], LeaseKeys] | None:
    def stored() -> LeaseKeys:
        from fiso.adapters.aws.ssm import SsmLeaseKeys

        return SsmLeaseKeys(service, parameter or "")

    return stored if parameter else None


def _tenant_use(dynamodb: DynamoDBClient, settings: OrchestratorSettings) -> TenantUse | None:
    table = settings.idempotency_table
    return None if table is None else _TenantUse(dynamodb, table)


class _TenantUse:
    """The port, loaded when the first tenant that has a quota calls."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb, self._table = dynamodb, table

    @cached_property
    def _stored(self) -> TenantUse:
        from fiso.adapters.aws.tenant_use import DynamoDBTenantUse

        return DynamoDBTenantUse(self._dynamodb, self._table, clock=utc_now)

    def add(self, tenant: TenantId, spent: float, seen: Seen | None) -> Use:
        return self._stored.add(tenant, spent, seen)


def _issuer_keys(settings: AccessSettings, transport: HttpTransport) -> IssuerKeys | None:
    if settings.mode is not AuthMode.JWT:
        return None
    from fiso.adapters.identity.oidc import OidcIssuerKeys

    return OidcIssuerKeys(transport, settings.issuer, allow_loopback=settings.allow_loopback)
