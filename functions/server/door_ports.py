"""Outside, for a front door on another cloud than AWS: nothing here asks AWS for anything.

Catalog and champion come from a mirror in that cloud's storage, signed as they are on AWS; states and breakers are the
process's own; the log goes to that storage, and the keeper merges it. docs/decisions/0032-a-front-door-elsewhere.md
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.aws.models import LayerModelStore, S3ModelStore
from fiso.adapters.aws.s3 import Bucket, S3Snapshots
from fiso.adapters.aws.snapshots import CheckedSnapshots, KnownHosts
from fiso.adapters.aws.web_identity import WebIdentityCredentials
from fiso.adapters.clock import utc_now
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.adapters.identity.container_identity import (
    METADATA,
    AzureContainer,
    Container,
    GoogleContainer,
    OwnIdTokens,
    storage_bearer,
    word_for,
)
from fiso.adapters.identity.entra_identity import FOR_ENTRA, LOGIN, EntraTokens
from fiso.adapters.identity.exchange import TokensByAudience
from fiso.adapters.identity.google_identity import SIGNED_TOKEN, GoogleIdTokens, Subject
from fiso.adapters.identity.oidc import OidcIssuerKeys
from fiso.adapters.objects.clients import GOOGLE, AzureObjects, GoogleObjects, place_of
from fiso.adapters.objects.issuer_keys import MirroredIssuerKeys
from fiso.adapters.objects.log import MARK, ObjectLog
from fiso.adapters.process_local import (
    AbsentIdempotencyKeys,
    GivenLeaseKeys,
    ProcessBreakers,
    ProcessStates,
    ProcessTenantUse,
)
from fiso.codecs.lease_token import Keyring
from fiso.codecs.seal import CatalogSeals
from fiso.domain.access import AuthMode
from fiso.domain.address import AddressRules
from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import Authentication, Endpoint, EndpointId, Provider
from fiso.door_settings import DoorSettings
from fiso.ports import FunctionCaller, IssuerKeys, Metrics, Snapshots
from fiso.settings import LOCAL_STAGE, BadSetting, OrchestratorSettings
from fiso_client.core.signing import AwsEndpoint, SignedService
from fiso_client.core.transport import HttpTransport
from functions.orchestrator.wiring import Ports

SPILLS = "fiso.services.log.spill"
"""Who logs what the log did not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A door's ports, and its log, which is drained when the process ends."""

    ports: Ports
    log: ObjectLog

    @contextmanager
    def also_kept(self) -> Iterator[None]:
        """What is spilled meanwhile goes to the door's log as well, when its store takes it again."""
        handler = _AlsoKept(self.log)
        logging.getLogger(SPILLS).addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger(SPILLS).removeHandler(handler)


def door(settings: OrchestratorSettings, own: DoorSettings, environ: Mapping[str, str], metrics: Metrics) -> Door:
    """What a door elsewhere speaks to. `BadSetting` for keys that are none."""
    transport = HttpTransport()
    is_local = settings.stage == LOCAL_STAGE
    container = _container(own, environ, transport, is_local=is_local)
    objects, bucket = _objects(own, environ, transport, container, is_local=is_local)
    identities = _identities(settings, own, container, transport)
    hosts = KnownHosts(AddressRules(own_hosts=settings.own_hosts, allow_loopback=settings.allow_loopback))
    seals = CatalogSeals(
        stage=settings.stage,
        keys=settings.catalog.keys,
        least=settings.catalog.floor,
        accepts_unsigned=settings.catalog.accepts_older_forms,
    )
    states = ProcessStates()
    log = ObjectLog(
        Bucket(objects, bucket), own.door, clock=utc_now, keyring=_keyring(own.lease_keys), learn=states.learn
    )
    caller = HttpCaller(
        HttpTransport(dial=PublicDial(allow_loopback=settings.allow_loopback)),
        clock=utc_now,
        allow_loopback=settings.allow_loopback,
        rules=lambda: hosts.rules,
        identities=identities,
    )
    callers: dict[Provider, FunctionCaller] = dict.fromkeys(Provider, caller)
    if own.aws_role:
        callers[Provider.AWS] = _lambda_caller(settings, own, environ, container, transport)
    published = CheckedSnapshots(S3Snapshots(objects, bucket, seals), hosts)
    keys, use, breakers = AbsentIdempotencyKeys(), ProcessTenantUse(), ProcessBreakers()
    ports = Ports(
        snapshots=Reachable(published, shows=frozenset(identities), calls_aws=bool(own.aws_role)),
        states=states,
        layer=LayerModelStore(settings.model_dir),
        models=S3ModelStore(objects, bucket),
        log=log,
        caller=ByProvider(callers),
        tokens=tuple(identities.values()),
        shared_breakers=breakers,
        metrics=metrics,
        lease_keys=(lambda: GivenLeaseKeys(own.lease_keys)) if own.lease_keys else None,
        issuer_keys=_issuer_keys(settings, Bucket(objects, bucket), transport),
        tenant_use=use,
        idempotency_keys=lambda: keys,
        rest=transport.close,
    )
    return Door(ports=ports, log=log)


class Reachable:
    """The port `Snapshots` with the copies left out that cannot be called from here: those on AWS, unless it may be a
    role there, and those that ask for an identity that it does not show."""

    def __init__(self, snapshots: Snapshots, *, shows: frozenset[Authentication], calls_aws: bool) -> None:
        self._snapshots, self._shows, self._calls_aws = snapshots, shows | {Authentication.NONE}, calls_aws

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        snapshot = self._snapshots.current(unless_version=unless_version)
        if snapshot is None:
            return None
        marked = {
            name: replace(entry, refused={**entry.refused, **self._unreachable(entry.endpoints)})
            for name, entry in snapshot.functions.items()
        }
        return replace(snapshot, functions=marked)

    def attested(self) -> int | None:
        return self._snapshots.attested()

    def publish(self, snapshot: Snapshot) -> None:
        """The keeper publishes, from AWS."""
        raise NotImplementedError

    def _unreachable(self, endpoints: tuple[Endpoint, ...]) -> dict[EndpointId, str]:
        found = {}
        for endpoint in endpoints:
            if endpoint.provider is Provider.AWS and not endpoint.address.startswith("http"):
                if not self._calls_aws:
                    found[endpoint.id] = "this front door is no role on AWS (FISO_AWS_ROLE)"
            elif endpoint.authentication not in self._shows:
                found[endpoint.id] = f"this front door has no identity for authentication {endpoint.authentication}"
        return found


class _AlsoKept(logging.Handler):
    def __init__(self, log: ObjectLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        written = getattr(record, MARK, None)
        if isinstance(written, str):
            self._log.keep(written)


def _container(own: DoorSettings, environ: Mapping[str, str], transport: HttpTransport, *, is_local: bool) -> Container:
    """Who this container is to its cloud. On the local stage Google's own variable leads to a local server."""
    if own.door == "google":
        metadata = environ.get("GCE_METADATA_HOST", "") if is_local else ""
        return GoogleContainer(transport, url=f"http://{metadata}" if metadata else METADATA)
    try:
        return AzureContainer(transport, environ)
    except KeyError as error:
        raise BadSetting(f"{error} is not set: give the container a managed identity") from error


def _objects(
    own: DoorSettings, environ: Mapping[str, str], transport: HttpTransport, container: Container, *, is_local: bool
) -> tuple[GoogleObjects | AzureObjects, str]:
    """The storage's client and its bucket."""
    kind, bucket = place_of(own.mirror)
    bearer = storage_bearer(container)
    if kind == "gs":
        url = environ.get("STORAGE_EMULATOR_HOST", "") if is_local else ""
        return GoogleObjects(transport, bearer, url=url or GOOGLE), bucket
    return AzureObjects(transport, bearer, url=kind), bucket


def _issuer_keys(settings: OrchestratorSettings, mirror: Bucket, transport: HttpTransport) -> IssuerKeys | None:
    access = settings.access
    if access.mode is not AuthMode.JWT:
        return None
    return MirroredIssuerKeys(
        OidcIssuerKeys(transport, access.issuer, allow_loopback=access.allow_loopback),
        mirror,
        name=access.issuer,
        stage=settings.stage,
        trusted=settings.catalog.keys,
        clock=utc_now,
    )


def _identities(
    settings: OrchestratorSettings, own: DoorSettings, container: Container, transport: HttpTransport
) -> Mapping[Authentication, TokensByAudience]:
    """Who this door is to functions: on its own cloud itself, on the other one by its cloud's word."""
    found: dict[Authentication, TokensByAudience] = {}
    if isinstance(container, GoogleContainer):
        found[Authentication.ID_TOKEN] = OwnIdTokens(container, transport)
    elif settings.google is not None and own.audience:
        subject = Subject(kind=SIGNED_TOKEN, token=lambda within_s: word_for(container, own.audience)(within_s).value)
        found[Authentication.ID_TOKEN] = GoogleIdTokens(settings.google, subject=subject, transport=transport)
    if settings.entra is not None:
        found[Authentication.ENTRA] = EntraTokens(
            settings.entra,
            word=word_for(container, FOR_ENTRA),
            transport=transport,
            login=settings.entra_login or LOGIN,
        )
    return found


def _lambda_caller(
    settings: OrchestratorSettings,
    own: DoorSettings,
    environ: Mapping[str, str],
    container: Container,
    transport: HttpTransport,
) -> LambdaCaller:
    """Copies on AWS, by a role there: with AWS away they fail before anything ran, as a copy that is away does."""

    @cache
    def service(region: str) -> SignedService:
        keys = WebIdentityCredentials(
            own.aws_role,
            session=f"fiso-{settings.stage}-{own.door}",
            word=word_for(container, own.audience),
            url=AwsEndpoint.from_environ("sts", environ, region=region).url,
            transport=transport,
            clock=utc_now,
        )
        endpoint = AwsEndpoint.from_environ("lambda", environ, region=region)
        return SignedService(endpoint=endpoint, credentials=keys, transport=transport, clock=utc_now)

    return LambdaCaller(service, clock=utc_now)


def _keyring(text: str) -> Keyring | None:
    if not text:
        return None
    try:
        return Keyring.parsed(text)
    except ValueError as error:
        raise BadSetting(f"environment variable FISO_LEASE_KEYS: {error}") from error
