"""Wiring: the console's app over DynamoDB and S3. The only module here that knows AWS."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from flask import Flask

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.dynamodb_breakers import DynamoDBSharedBreakers
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.dynamodb_rollups import DynamoDBRollups
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.errors import store_errors
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3DriftReports, S3RetrainingRuns, S3Snapshots
from fiso.codecs.seal import CatalogSeals
from fiso.console_settings import ConsoleSettings, LoginSettings
from fiso.domain.access import AuthMode
from fiso.domain.errors import StoreUnavailable
from fiso.ports import Clock, TokenVerifier
from fiso.services.identity.access import Access, IssuerKeyCache
from fiso.services.maintenance.switch import ORDERS, ModeOrder
from fiso.settings import AccessSettings
from functions.console import app
from functions.console.access import Entrance
from functions.console.sources import Sources

if TYPE_CHECKING:
    from fiso.adapters.identity.oidc import OidcIssuerKeys
    from functions.console.issuer import LoginIssuer
    from functions.console.login import BrowserLogin

PATIENCE = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
ORDERED = Config(connect_timeout=1, read_timeout=25, retries={"total_max_attempts": 1})
"""A person waits: an unavailable store is reported within seconds."""


def build(
    settings: ConsoleSettings, *, dynamodb: Any = None, s3: Any = None, ssm: Any = None, clock: Clock | None = None
) -> Flask:
    """The app for an execution environment. Clients are made here unless given."""
    clock = clock or _utc_now
    dynamodb = dynamodb or boto3.client("dynamodb", config=PATIENCE)
    s3 = s3 or boto3.client("s3", config=PATIENCE)
    trust = settings.catalog
    seals = CatalogSeals(
        stage=settings.stage, keys=trust.keys, least=trust.floor, accepts_unsigned=trust.accepts_older_forms
    )
    sources = Sources(
        log=DynamoDBInvocationLog(
            dynamodb,
            settings.log_table,
            clock=clock,
            lists=DynamoDBLists(dynamodb, settings.state_table, clock=clock),
        ),
        states=DynamoDBEndpointStates(dynamodb, settings.state_table, clock=clock),
        snapshots=S3Snapshots(s3, settings.bucket, seals),
        models=S3ModelStore(s3, settings.bucket),
        runs=S3RetrainingRuns(s3, settings.bucket),
        drift=S3DriftReports(s3, settings.bucket),
        rollups=DynamoDBRollups(dynamodb, settings.state_table),
        breakers=DynamoDBSharedBreakers(dynamodb, settings.state_table, clock=clock),
        clock=clock,
        order=_ordering(settings.keeper_function) if settings.keeper_function else None,
    )
    entrance = entrance_of(settings, clock, ssm=lambda: ssm or boto3.client("ssm", config=PATIENCE))
    return app.create(sources, stage=settings.stage, entrance=entrance, console_url=settings.console_url)


def _ordering(function: str) -> Callable[[ModeOrder], Mapping[str, object]]:
    """Has the keeper switch a mode. Asked once: whoever asked again would hear that it is so already."""
    client = cache(lambda: boto3.client("lambda", config=ORDERED))

    def order(wanted: ModeOrder) -> Mapping[str, object]:
        payload = json.dumps({"order": ORDERS.to_document(wanted)}).encode()
        with store_errors("reach the keeper"):
            answer = client().invoke(FunctionName=function, Payload=payload)
            said = json.loads(answer["Payload"].read())
        if answer.get("FunctionError") or not isinstance(said, dict):
            raise StoreUnavailable("the keeper failed; its log says why")
        return said

    return order


def entrance_of(settings: ConsoleSettings, clock: Clock, *, ssm: Callable[[], Any]) -> Entrance | None:
    """Who is asked for what. None on a local stage that asks nobody."""
    access = settings.access
    if access.mode is AuthMode.NONE:
        return None
    if access.mode is AuthMode.IAM:
        return Entrance(
            access=Access(
                mode=access.mode,
                gateway_hashes=access.gateway_hashes,
                iam_tenant=access.iam_tenant,
                iam_admins=access.iam_admins,
                iam_session_roles=access.iam_session_roles,
            )
        )
    verifier = cache(lambda: _verifier(access, clock))
    login = _login(settings.login, access, clock, ssm=ssm, verifier=verifier) if settings.login else None
    return Entrance(access=Access(mode=access.mode, verifier=verifier), login=login)


def _verifier(access: AccessSettings, clock: Clock) -> TokenVerifier:
    from fiso.adapters.identity.jwt_tokens import JwtVerifier

    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="issuer")
    return JwtVerifier(
        IssuerKeyCache(_published(access), clock=clock, executor=executor),
        issuer=access.issuer,
        audiences=access.audiences,
        clock=clock,
        tenant_claim=access.tenant_claim,
        scopes=access.scopes,
    )


def _published(access: AccessSettings) -> "OidcIssuerKeys":
    from fiso.adapters.identity.oidc import OidcIssuerKeys
    from fiso_client.core.transport import HttpTransport

    return OidcIssuerKeys(HttpTransport(), access.issuer, allow_loopback=access.allow_loopback)


def _login(
    settings: LoginSettings,
    access: AccessSettings,
    clock: Clock,
    *,
    ssm: Callable[[], Any],
    verifier: Callable[[], TokenVerifier],
) -> "BrowserLogin":
    from fiso.adapters.aws.ssm import read_words
    from functions.console.login import BrowserLogin
    from functions.console.session import SessionKeys

    def issuer() -> "LoginIssuer":
        from functions.console.issuer import LoginIssuer  # loads Authlib, which no page but the login's needs

        secret = settings.secret_parameter
        return LoginIssuer(
            published=_published(access),
            name=access.issuer,
            client_id=settings.client_id,
            redirect_uri=settings.redirect_uri,
            scope=settings.scope,
            read_secret=(lambda: read_words(ssm(), secret)[0]) if secret else None,
            allow_loopback=access.allow_loopback,
        )

    return BrowserLogin(
        issuer=cache(issuer),
        verifier=verifier,
        keys=SessionKeys(lambda: read_words(ssm(), settings.keys_parameter), clock=clock),
        clock=clock,
        console_url=settings.console_url,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
