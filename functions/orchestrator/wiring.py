"""Composition root of the orchestrator: settings in, an `Edge` out. The one place that joins services and adapters."""

import logging
import os
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING

from fiso.adapters.aws_client import AwsEndpoint, Credentials, DynamoDBClient, S3Client, SignedService
from fiso.adapters.callers import ByProvider, HttpCaller
from fiso.adapters.dynamodb import DynamoDBEndpointStates, DynamoDBInvocationLog
from fiso.adapters.http_transport import HttpTransport
from fiso.adapters.lambda_caller import LambdaCaller
from fiso.adapters.pointers import LayerModelStore
from fiso.adapters.s3 import S3Snapshots
from fiso.adapters.s3_models import S3ModelStore
from fiso.adapters.snapshot_copy import DynamoDBSnapshotCopy
from fiso.billing import tariff
from fiso.domain.endpoint import Provider
from fiso.ports import Clock, EndpointStates, FunctionCaller, InvocationLog, LeaseKeys, Metrics, ModelStore, Snapshots
from fiso.prediction import signature
from fiso.prediction.signature import PublicKeys
from fiso.services.champions import Champions
from fiso.services.condition import Condition, lease_condition, log_condition
from fiso.services.dispatch import Dispatcher
from fiso.services.knowledge import Knowledge
from fiso.services.orchestrate import Orchestrator
from fiso.services.watched import WatchedLog
from fiso.settings import OrchestratorSettings

if TYPE_CHECKING:
    from fiso.services.outcomes import Outcomes

READERS = 8
"""Reads at once; one that hangs must not keep the others waiting. Threads are made when they are needed."""
WRITERS = 8
"""Reported outcomes that are written at once; a report of 100 is 13 writes long."""

logger = logging.getLogger("fiso.orchestrator")


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
    ticks: Callable[[], float] = monotonic
    draw: Callable[[], float] = random.SystemRandom().random
    lease_keys: Callable[[], LeaseKeys] | None = None
    copy: Snapshots | None = None
    stage_keys: PublicKeys | None = None
    packaged_keys: PublicKeys | None = None
    """Trusted keys in place of the setting's and of the code package's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What the handler calls."""

    orchestrator: Orchestrator
    knowledge: Knowledge
    log: InvocationLog
    clock: Clock
    outcomes: Callable[[], "Outcomes"]
    """What leases need, made when the first one is asked for: most environments never see one."""
    conditions: Callable[[], tuple[Condition, ...]]
    """How every part is, from what is known here; asks no store."""


def build(settings: OrchestratorSettings, *, metrics: Metrics, ports: Ports | None = None) -> Edge:
    """Wire the orchestrator; tests and benchmarks give their own `ports`."""
    outside = ports or aws_ports(settings, os.environ, metrics)
    knowledge = Knowledge(
        snapshots=outside.snapshots,
        copy=outside.copy,
        states=outside.states,
        champions=_champions(outside, settings),
        metrics=outside.metrics,
        clock=outside.clock,
        ticks=outside.ticks,
        executor=ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="refresh"),
    )
    log = WatchedLog(outside.log)
    orchestrator = Orchestrator(
        knowledge=knowledge,
        dispatcher=Dispatcher(caller=outside.caller, clock=outside.clock),
        log=log,
        metrics=outside.metrics,
        tariff=tariff.current(),
        clock=outside.clock,
        draw=outside.draw,
        region=settings.region,
    )
    outcomes = cache(lambda: _outcomes(outside, settings))

    def conditions() -> tuple[Condition, ...]:
        has_keys = outcomes().keys.known.value is not None if outcomes.cache_info().currsize else None
        return (
            *knowledge.conditions(),
            log_condition(is_spilling=log.is_spilling),
            lease_condition(is_set_up=outside.lease_keys is not None, has_keys=has_keys),
        )

    return Edge(
        orchestrator=orchestrator,
        knowledge=knowledge,
        log=outside.log,
        clock=outside.clock,
        outcomes=outcomes,
        conditions=conditions,
    )


def _champions(outside: Ports, settings: OrchestratorSettings) -> Champions:
    """A setting that is no set of keys trusts none: published models are refused, and that is said."""
    try:
        stage_keys = outside.stage_keys if outside.stage_keys is not None else signature.parsed(settings.model_keys)
    except ValueError as error:
        logger.error("FISO_MODEL_KEYS: %s; no published model is trusted", error)
        stage_keys = {}
    return Champions(
        layer=outside.layer,
        store=outside.models,
        packaged_keys=outside.packaged_keys if outside.packaged_keys is not None else signature.packaged(),
        stage_keys=stage_keys,
        metrics=outside.metrics,
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
        copy=DynamoDBSnapshotCopy(dynamodb, settings.state_table),
        states=DynamoDBEndpointStates(dynamodb, settings.state_table, clock=utc_now),
        layer=LayerModelStore(settings.model_dir),
        models=S3ModelStore(s3, settings.bucket),
        log=DynamoDBInvocationLog(dynamodb, settings.log_table, clock=utc_now),
        caller=ByProvider({Provider.AWS: aws, Provider.AZURE: http, Provider.GCP: http}),
        metrics=metrics,
        lease_keys=_stored_keys(service("ssm"), settings.lease_keys_parameter),
    )


def _stored_keys(service: SignedService, parameter: str | None) -> Callable[[], LeaseKeys] | None:
    def stored() -> LeaseKeys:
        from fiso.adapters.ssm import SsmLeaseKeys

        return SsmLeaseKeys(service, parameter or "")

    return stored if parameter else None
