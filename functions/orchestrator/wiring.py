"""Composition root of the orchestrator: settings in, an `Edge` out. The one place that joins services and adapters."""

import os
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from fiso.adapters.aws_client import AwsEndpoint, Credentials, DynamoDBClient, S3Client, SignedService
from fiso.adapters.callers import ByProvider, HttpCaller
from fiso.adapters.dynamodb import DynamoDBEndpointStates, DynamoDBInvocationLog
from fiso.adapters.http_transport import HttpTransport
from fiso.adapters.lambda_caller import LambdaCaller
from fiso.adapters.pointers import LayerModelStore
from fiso.adapters.s3 import S3ModelStore, S3Snapshots
from fiso.billing import tariff
from fiso.domain.access import AuthMode
from fiso.domain.endpoint import Provider
from fiso.ports import (
    Clock,
    EndpointStates,
    FunctionCaller,
    InvocationLog,
    IssuerKeys,
    LeaseKeys,
    Metrics,
    ModelStore,
    Snapshots,
    TenantUse,
    TokenVerifier,
)
from fiso.services.access import Access, KnownKeys
from fiso.services.dispatch import Dispatcher
from fiso.services.knowledge import Knowledge
from fiso.services.orchestrate import Orchestrator
from fiso.settings import AccessSettings, BadSetting, OrchestratorSettings

if TYPE_CHECKING:
    from fiso.services.outcomes import Outcomes
    from fiso.services.quotas import Quotas

WRITERS = 8
"""Reported outcomes that are written at once; a report of 100 is 13 writes long."""


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that the orchestrator speaks to."""

    snapshots: Snapshots
    states: EndpointStates
    layer: ModelStore
    models: ModelStore
    log: InvocationLog
    caller: FunctionCaller
    metrics: Metrics
    clock: Clock = utc_now
    draw: Callable[[], float] = random.SystemRandom().random
    lease_keys: Callable[[], LeaseKeys] | None = None
    issuer_keys: IssuerKeys | None = None
    tenant_use: TenantUse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What the handler calls."""

    orchestrator: Orchestrator
    access: Access
    quotas: "Quotas | None"
    knowledge: Knowledge
    log: InvocationLog
    clock: Clock
    outcomes: Callable[[], "Outcomes"]
    """What leases need, made when the first one is asked for: most environments never see one."""


def build(settings: OrchestratorSettings, *, metrics: Metrics, ports: Ports | None = None) -> Edge:
    """Wire the orchestrator; tests and benchmarks give their own `ports`."""
    outside = ports or aws_ports(settings, os.environ, metrics)
    knowledge = Knowledge(
        snapshots=outside.snapshots,
        states=outside.states,
        layer=outside.layer,
        models=outside.models,
        metrics=outside.metrics,
        clock=outside.clock,
        executor=ThreadPoolExecutor(max_workers=3, thread_name_prefix="refresh"),
    )
    orchestrator = Orchestrator(
        knowledge=knowledge,
        dispatcher=Dispatcher(caller=outside.caller, clock=outside.clock),
        log=outside.log,
        metrics=outside.metrics,
        tariff=tariff.current(),
        clock=outside.clock,
        draw=outside.draw,
        region=settings.region,
    )
    return Edge(
        orchestrator=orchestrator,
        access=access_of(settings.access, outside.issuer_keys, outside.clock),
        quotas=quotas_of(settings.quotas, outside.tenant_use, outside.clock),
        knowledge=knowledge,
        log=outside.log,
        clock=outside.clock,
        outcomes=cache(lambda: _outcomes(outside, settings)),
    )


def _outcomes(outside: Ports, settings: OrchestratorSettings) -> "Outcomes":
    from fiso.domain.errors import LeasingNotSetUp
    from fiso.services.known import Known
    from fiso.services.lease import KEYS_STALE_S, Keys
    from fiso.services.outcomes import Outcomes

    if outside.lease_keys is None:
        raise LeasingNotSetUp("no key to sign leases with: set FISO_LEASE_KEYS_PARAMETER")
    stored, parameter = outside.lease_keys(), settings.lease_keys_parameter
    executor = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="outcomes")
    known = Known("lease keys", lambda _: stored.read(), clock=outside.clock, executor=executor, stale_s=KEYS_STALE_S)
    return Outcomes(
        keys=Keys(known=known, missing=f"no key to sign leases with: set parameter {parameter} (`fiso lease-key`)"),
        log=outside.log,
        metrics=outside.metrics,
        tariff=tariff.current(),
        clock=outside.clock,
        executor=executor,
    )


def access_of(settings: AccessSettings, issuer: IssuerKeys | None, clock: Clock) -> Access:
    """How callers are known here. What checks tokens is loaded when the first one is shown."""
    if settings.mode is not AuthMode.JWT or issuer is None:
        return Access(mode=settings.mode)
    keys = KnownKeys(issuer, clock=clock, executor=ThreadPoolExecutor(max_workers=1, thread_name_prefix="issuer"))

    def verifier() -> TokenVerifier:
        from fiso.adapters.jwt_tokens import JwtVerifier

        return JwtVerifier(
            keys,
            issuer=settings.issuer,
            audiences=settings.audiences,
            clock=clock,
            tenant_claim=settings.tenant_claim,
        )

    return Access(mode=settings.mode, verifier=cache(verifier), keys=keys)


def quotas_of(rules: str, use: TenantUse | None, clock: Clock) -> "Quotas | None":
    """What tenants may send; None, and nothing loaded, where no quota is set."""
    if not rules:
        return None
    from fiso.services.quotas import QuotaRules, Quotas

    try:
        parsed = QuotaRules.parsed(rules)
    except ValueError as error:
        raise BadSetting(f"environment variable FISO_QUOTAS: {error}") from error
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quotas")
    return Quotas(parsed, use, clock=clock, executor=executor)


def _tenant_use(dynamodb: DynamoDBClient, settings: OrchestratorSettings) -> TenantUse | None:
    if not settings.quotas or settings.idempotency_table is None:
        return None
    from fiso.adapters.tenant_use import DynamoDBTenantUse

    return DynamoDBTenantUse(dynamodb, settings.idempotency_table, clock=utc_now)


def _issuer_keys(settings: AccessSettings, transport: HttpTransport) -> IssuerKeys | None:
    if settings.mode is not AuthMode.JWT:
        return None
    from fiso.adapters.oidc import OidcIssuerKeys

    return OidcIssuerKeys(transport, settings.issuer, allow_loopback=settings.allow_loopback)


def aws_ports(settings: OrchestratorSettings, environ: Mapping[str, str], metrics: Metrics) -> Ports:
    """The stores on AWS and the three clouds."""
    credentials = Credentials.from_environ(environ)
    transport = HttpTransport()

    def service(name: str, region: str | None = None) -> SignedService:
        endpoint = AwsEndpoint.from_environ(name, environ, region=region)
        return SignedService(endpoint=endpoint, credentials=credentials, transport=transport, clock=utc_now)

    dynamodb, s3 = DynamoDBClient(service("dynamodb")), S3Client(service("s3"))
    http = HttpCaller(transport, clock=utc_now, allow_loopback=settings.allow_loopback)
    invoke_api = cache(lambda region: service("lambda", region))
    aws = LambdaCaller(invoke_api, clock=utc_now)
    return Ports(
        snapshots=S3Snapshots(s3, settings.bucket),
        states=DynamoDBEndpointStates(dynamodb, settings.state_table, clock=utc_now),
        layer=LayerModelStore(settings.model_dir),
        models=S3ModelStore(s3, settings.bucket),
        log=DynamoDBInvocationLog(dynamodb, settings.log_table, clock=utc_now),
        caller=ByProvider({Provider.AWS: aws, Provider.AZURE: http, Provider.GCP: http}),
        metrics=metrics,
        lease_keys=_stored_keys(service("ssm"), settings.lease_keys_parameter),
        issuer_keys=_issuer_keys(settings.access, transport),
        tenant_use=_tenant_use(dynamodb, settings),
    )


def _stored_keys(service: SignedService, parameter: str | None) -> Callable[[], LeaseKeys] | None:
    def stored() -> LeaseKeys:
        from fiso.adapters.ssm import SsmLeaseKeys

        return SsmLeaseKeys(service, parameter or "")

    return stored if parameter else None
