"""Composition root of the keeper: the only scheduled function that speaks to PostgreSQL."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, TypeAlias

import boto3
from botocore.config import Config
from psycopg2.extensions import connection

from fiso.adapters.aws.candidates import S3Candidates, S3Pins
from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.cloudwatch_logs import CloudWatchSpilledRecords
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.errors import aws_errors, code_of, store_errors
from fiso.adapters.aws.models import DynamoDBPromotionWitness, S3ModelStore
from fiso.adapters.aws.s3 import Bucket, S3RetrainingRuns, S3Snapshots, S3Watermark
from fiso.adapters.aws.snapshots import CopiedSnapshots, DynamoDBSnapshotCopy
from fiso.adapters.aws.ssm import SsmLeaseKeys
from fiso.adapters.clock import utc_now
from fiso.adapters.http.signers import KmsSigner, NoSigner, OpenKeySigner
from fiso.adapters.identity import entra_identity, google_identity
from fiso.adapters.identity.oidc import OidcIssuerKeys
from fiso.adapters.objects.clients import GOOGLE, AzureObjects, GoogleObjects, place_of
from fiso.adapters.objects.issuer_keys import IssuerKeysMirror
from fiso.adapters.objects.log import ObjectLines
from fiso.adapters.postgres.catalog import Connect, PostgresCatalogStore, connect_from_secret
from fiso.billing.hop import SECRET_EVERY_S, WATERMARK_EVERY_S
from fiso.codecs import signature
from fiso.codecs.seal import CatalogSeals
from fiso.codecs.signature import PublicKeys
from fiso.domain.errors import StoreNotSetUp
from fiso.door_settings import door_of
from fiso.ports import Snapshots
from fiso.services.log.reconcile import SLICE, Reconciliation
from fiso.services.log.spill import MARK
from fiso.services.maintenance.follow import Follower
from fiso.services.maintenance.keep import GRACE, GRACE_AT_ONCE, ForeignDoor, Keeper
from fiso.services.maintenance.promote import Promoter, Registry
from fiso.settings import LOCAL_STAGE, BadSetting, KeeperSettings, MissingSetting
from fiso_client.core.failures import FisoError
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport

Signer: TypeAlias = KmsSigner | OpenKeySigner | NoSigner
WRITERS = 8
"""Records that are replayed or closed at once."""
DOOR_READERS = 16
"""Objects of a front door's log that are read at once: at 25 ms each a busy minute's 4,800 take 8 s."""
STORE_TIMEOUT_S = 2.0
STORAGE = "https://storage.azure.com"
"""Whom a token for Azure's storage is for."""


def build(settings: KeeperSettings) -> Keeper:
    """Wire the stores on AWS and PostgreSQL. No connection is opened yet."""
    config = Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 2})
    secret = _database_secret(settings, config)
    own = _dynamodb()
    log = DynamoDBInvocationLog(
        own,
        settings.log_table,
        clock=utc_now,
        lists=DynamoDBLists(own, settings.state_table, clock=utc_now) if settings.state_table else None,
        writes_as_before=settings.writes_as_before,
    )
    s3 = boto3.client("s3", config=config)
    signer = _signer(settings, config)
    # It trusts the key that it signs with and no other: what another one signed is signed again.
    seals = CatalogSeals(stage=settings.stage, keys=lambda: _only(signer), sign=signer.sign)
    published: Snapshots = S3Snapshots(s3, settings.bucket, seals)
    if settings.state_table:
        dynamodb = boto3.client("dynamodb", config=config)
        published = CopiedSnapshots(published, DynamoDBSnapshotCopy(dynamodb, settings.state_table, seals))
    places = [_mirror(place, settings) for place in settings.mirrors]
    for objects, bucket in places:
        published = CopiedSnapshots(published, S3Snapshots(objects, bucket, seals))
    executor = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="records")
    keys = SsmLeaseKeys(service("ssm"), settings.lease_keys_parameter)
    logs, api, spills = boto3.client("logs", config=config), settings.api_log_group, settings.spill_log_group
    # While code of before may be spilling, and where nothing is handed on, lines are read where they were written.
    groups = dict.fromkeys([spills, api] if settings.writes_as_before else [spills])
    reconciliation = Reconciliation(
        keys=keys.read,
        spilled=CloudWatchSpilledRecords(logs, *groups, mark=MARK),
        watermark=S3Watermark(s3, settings.bucket),
        log=log,
        clock=utc_now,
        executor=executor,
        accepts_older=settings.writes_as_before,
        marks_every=timedelta(seconds=WATERMARK_EVERY_S),
    )
    return Keeper(
        log=log,
        reconciliation=reconciliation,
        catalog=PostgresCatalogStore(_database(secret, is_local=settings.stage == LOCAL_STAGE)),
        snapshots=published,
        clock=utc_now,
        sleep=sleep,
        executor=executor,
        grace=GRACE_AT_ONCE if spills == api else GRACE,
        everything=replace(
            reconciliation, spilled=CloudWatchSpilledRecords(logs, api, mark=MARK), done={}, span=[SLICE]
        ),
        doors=[
            _door(door_of(place), Elsewhere(objects=objects, bucket=bucket, s3=s3), settings, reconciliation, signer)
            for place, (objects, bucket) in zip(settings.mirrors, places, strict=True)
        ],
    )


def registry(settings: KeeperSettings, *, s3: Any = None) -> Registry:
    """What promotes models, and signs them: the retrainer only offers. The clients are made here unless given."""
    config = Config(connect_timeout=1, read_timeout=10, retries={"total_max_attempts": 3})
    client = s3 or boto3.client("s3", config=config)
    table = settings.state_table
    return Registry(
        promoter=Promoter(
            models=S3ModelStore(client, settings.bucket),
            signer=_model_signer(settings, config),
            keys=signature.parsed(settings.model_keys),
            stage=settings.stage,
            witness=DynamoDBPromotionWitness(boto3.client("dynamodb", config=config), table) if table else None,
        ),
        candidates=S3Candidates(client, settings.bucket),
        pins=S3Pins(client, settings.bucket),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The storage of a front door on another cloud, and the stage's own."""

    objects: GoogleObjects | AzureObjects
    bucket: str
    s3: Any


def _door(
    name: str, there: Elsewhere, settings: KeeperSettings, spilled: Reconciliation, signer: Signer
) -> ForeignDoor:
    """Its log is merged as spilled lines are: by the same keys, under the same conditions, with a watermark of its
    own."""
    readers = ThreadPoolExecutor(max_workers=DOOR_READERS, thread_name_prefix="door")
    try:
        keys = signature.parsed(settings.model_keys)
    except ValueError as error:
        raise BadSetting(f"environment variable FISO_MODEL_KEYS: {error}") from error
    return ForeignDoor(
        name=name,
        log=replace(
            spilled,
            spilled=ObjectLines(Bucket(there.objects, there.bucket), name, executor=readers),
            watermark=S3Watermark(there.s3, settings.bucket, of=f"door-{name}"),
            done={},
            accepts_older=False,
            span=[SLICE],
            marks_every=timedelta(0),
        ),
        models=Follower(
            leader=S3ModelStore(there.s3, settings.bucket),
            models=S3ModelStore(there.objects, there.bucket),
            runs=S3RetrainingRuns(there.objects, there.bucket),
            keys=keys,
            stage=settings.stage,
        ),
        renew_keys=_issuer_keys(there, settings, signer),
    )


def _issuer_keys(there: Elsewhere, settings: KeeperSettings, signer: Signer) -> Callable[[], object]:
    if not settings.issuer:
        return lambda: None
    mirror = IssuerKeysMirror(
        Bucket(there.objects, there.bucket),
        OidcIssuerKeys(HttpTransport(), settings.issuer, allow_loopback=settings.stage == LOCAL_STAGE),
        name=settings.issuer,
        stage=settings.stage,
        sign=signer.sign,
        clock=utc_now,
    )
    return mirror.renew


def _mirror(place: str, settings: KeeperSettings) -> tuple[GoogleObjects | AzureObjects, str]:
    """The storage behind a place, reached as this stage's own identity there; local servers ask for none."""
    transport, (kind, bucket) = HttpTransport(), place_of(place)
    is_local = settings.stage == LOCAL_STAGE
    if kind == "gs":
        url = os.environ.get("STORAGE_EMULATOR_HOST", "") if is_local else ""
        bearer = _nobodys if url else _google(settings, transport).bearer
        return GoogleObjects(transport, bearer, url=url or GOOGLE), bucket
    bearer = _nobodys if is_local else _entra(settings, transport)
    return AzureObjects(transport, bearer, url=kind), bucket


def _nobodys() -> str:
    return "local"


def _google(settings: KeeperSettings, transport: HttpTransport) -> google_identity.GoogleIdTokens:
    if settings.google is None:
        raise BadSetting(
            "environment variable FISO_GOOGLE_PROVIDER must say who FISO is to Google, for its mirror there"
        )
    region = AwsEndpoint.from_environ("sts", os.environ).region
    subject = google_identity.of_aws(settings.google, Credentials.from_environ(os.environ), region, utc_now)
    return google_identity.GoogleIdTokens(settings.google, subject=subject, transport=transport)


def _entra(settings: KeeperSettings, transport: HttpTransport) -> Callable[[], str]:
    if settings.entra is None:
        raise BadSetting(
            "environment variables FISO_AZURE_TENANT and FISO_AZURE_CLIENT must say who FISO is to Entra, for its "
            "mirror on Azure (`fiso trust azure`)"
        )
    tokens = entra_identity.EntraTokens(settings.entra, word=entra_identity.of_aws(service("sts")), transport=transport)
    return lambda: tokens.bearer(STORAGE)


def _signer(settings: KeeperSettings, config: Config) -> Signer:
    if settings.local_signing_key:
        return OpenKeySigner.parsed(settings.local_signing_key)
    if settings.signing_key_id:
        return KmsSigner(boto3.client("kms", config=config), settings.signing_key_id)
    return NoSigner("fiso catalog-key")


def _model_signer(settings: KeeperSettings, config: Config) -> Signer:
    if settings.local_model_signing_key:
        return OpenKeySigner.parsed(settings.local_model_signing_key)
    if settings.model_signing_key_id:
        return KmsSigner(boto3.client("kms", config=config), settings.model_signing_key_id)
    return NoSigner("fiso model-key")


def _only(signer: Signer) -> PublicKeys:
    key = signer.public_key()
    return {key.id: key}


def _dynamodb() -> DynamoDBClient:
    """Our own client: after an outage thousands of records wait, and boto3's calls cost five times the time."""
    return DynamoDBClient(service("dynamodb"), timeout_s=STORE_TIMEOUT_S)


def service(name: str) -> SignedService:
    return SignedService(
        endpoint=AwsEndpoint.from_environ(name, os.environ),
        credentials=Credentials.from_environ(os.environ),
        transport=HttpTransport(),
        clock=utc_now,
    )


def _database(secret: Callable[[], str], *, is_local: bool) -> Connect:
    """Connects by the secret as it was read last, for SECRET_EVERY_S or until it is no good: readings are paid for."""
    held: list[tuple[float, str]] = []

    def connect() -> connection:
        if not held or monotonic() - held[0][0] > SECRET_EVERY_S:
            held[:] = [(monotonic(), secret())]
        try:
            return connect_from_secret(held[0][1], is_local=is_local)()
        except FisoError:
            held.clear()
            raise

    return connect


def _database_secret(settings: KeeperSettings, config: Config) -> Callable[[], str]:
    """Read at each use: it is made after the first deployment, or changed between two rounds."""
    if settings.database_url:
        known = settings.database_url
        return lambda: known
    arn = settings.database_secret_arn
    if not arn:
        raise MissingSetting("set FISO_DATABASE_SECRET_ARN (or FISO_DATABASE_URL on the local stage)")
    secrets, name = boto3.client("secretsmanager", config=config), f"secret {arn.rpartition(':secret:')[2]}"

    def read() -> str:
        with store_errors(f"read {name}"):
            try:
                return str(secrets.get_secret_value(SecretId=arn)["SecretString"])
            except aws_errors() as error:
                # of a secret that does not exist IAM says "denied", since the name in the policy has no random end
                if code_of(error) in ("AccessDeniedException", "ResourceNotFoundException"):
                    raise StoreNotSetUp(f"{name} is missing or forbidden to the keeper: {error}") from error
                raise

    return read
