"""Outside, for a front door on another cloud than AWS: nothing here asks AWS for anything.

Catalog and champion come from a mirror in that cloud's storage, signed as they are on AWS; states and breakers are the
process's own; the log goes to that storage, and the keeper merges it. docs/decisions/0032-a-front-door-elsewhere.md
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fiso.adapters.aws.models import LayerModelStore, S3ModelStore
from fiso.adapters.aws.s3 import Bucket, S3Snapshots
from fiso.adapters.aws.snapshots import CheckedSnapshots, KnownHosts
from fiso.adapters.clock import utc_now
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.adapters.http.public_dial import PublicDial
from fiso.adapters.identity.oidc import OidcIssuerKeys
from fiso.adapters.objects.bearer import METADATA, azure_bearer, google_bearer
from fiso.adapters.objects.clients import GOOGLE, AzureObjects, GoogleObjects, place_of
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
from fiso.ports import Metrics, Snapshots
from fiso.settings import LOCAL_STAGE, BadSetting, DoorSettings, OrchestratorSettings
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
    objects, bucket = _objects(own, environ, transport, is_local=settings.stage == LOCAL_STAGE)
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
    )
    published = CheckedSnapshots(S3Snapshots(objects, bucket, seals), hosts)
    keys, use, breakers = AbsentIdempotencyKeys(), ProcessTenantUse(), ProcessBreakers()
    jwt = settings.access.mode is AuthMode.JWT
    ports = Ports(
        snapshots=Reachable(published),
        states=states,
        layer=LayerModelStore(settings.model_dir),
        models=S3ModelStore(objects, bucket),
        log=log,
        caller=ByProvider(dict.fromkeys(Provider, caller)),
        shared_breakers=breakers,
        metrics=metrics,
        lease_keys=(lambda: GivenLeaseKeys(own.lease_keys)) if own.lease_keys else None,
        issuer_keys=OidcIssuerKeys(transport, settings.access.issuer, allow_loopback=settings.access.allow_loopback)
        if jwt
        else None,
        tenant_use=use,
        idempotency_keys=lambda: keys,
        rest=transport.close,
    )
    return Door(ports=ports, log=log)


class Reachable:
    """The port `Snapshots` with the copies left out that cannot be called from here: those on AWS, whose callers sign
    with credentials of AWS, and those that ask for an identity that this door does not have."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        snapshot = self._snapshots.current(unless_version=unless_version)
        if snapshot is None:
            return None
        marked = {
            name: replace(entry, refused={**entry.refused, **_unreachable(entry.endpoints)})
            for name, entry in snapshot.functions.items()
        }
        return replace(snapshot, functions=marked)

    def attested(self) -> int | None:
        return self._snapshots.attested()

    def publish(self, snapshot: Snapshot) -> None:
        """The keeper publishes, from AWS."""
        raise NotImplementedError


def _unreachable(endpoints: tuple[Endpoint, ...]) -> dict[EndpointId, str]:
    found = {}
    for endpoint in endpoints:
        if endpoint.provider is Provider.AWS and not endpoint.address.startswith("http"):
            found[endpoint.id] = "it is called with credentials of AWS, which this front door does not have"
        elif endpoint.authentication is not Authentication.NONE:
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


def _objects(
    own: DoorSettings, environ: Mapping[str, str], transport: HttpTransport, *, is_local: bool
) -> tuple[GoogleObjects | AzureObjects, str]:
    """The storage's client and its bucket. On the local stage the vendors' own variables lead to local servers."""
    kind, bucket = place_of(own.mirror)
    if kind == "gs":
        metadata, emulated = environ.get("GCE_METADATA_HOST", ""), environ.get("STORAGE_EMULATOR_HOST", "")
        at = {"url": f"http://{metadata}"} if is_local and metadata else {"url": METADATA}
        url = emulated if is_local and emulated else GOOGLE
        return GoogleObjects(transport, google_bearer(transport, **at), url=url), bucket
    try:
        return AzureObjects(transport, azure_bearer(transport, environ), url=kind), bucket
    except KeyError as error:
        raise BadSetting(f"{error} is not set: give the container a managed identity") from error


def _keyring(text: str) -> Keyring | None:
    if not text:
        return None
    try:
        return Keyring.parsed(text)
    except ValueError as error:
        raise BadSetting(f"environment variable FISO_LEASE_KEYS: {error}") from error
