"""Settings: one frozen value per function, read once from an environ mapping. The only place that knows the names, but
for the console's (`fiso.console_settings`), which no other function loads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from fiso.codecs import signature
from fiso.codecs.signature import PublicKeys
from fiso.domain.access import SCOPE_CLAIMS, AuthMode, IamTenant, Scope, ScopeRules
from fiso.domain.address import AddressRules, hosts_in
from fiso_client.core.grammar import is_region

if TYPE_CHECKING:
    from fiso.domain.identity import EntraIdentity, GoogleIdentity

LOCAL_STAGE = "local"


class MissingSetting(Exception):
    """A variable that the function cannot start without."""


class BadSetting(MissingSetting):
    """A variable that holds what no stage, or not this one, may have."""


def required(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable; `MissingSetting` without one."""
    value = environ.get(name, "").strip()
    if not value:
        raise MissingSetting(f"environment variable {name} is not set")
    return value


def whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    try:
        return int(text) if text else default
    except ValueError as error:
        raise MissingSetting(f"environment variable {name} must be a whole number, not {text!r}") from error


def share(environ: Mapping[str, str], name: str) -> float | None:
    """A share from 0 to 1; None where none is set."""
    text = environ.get(name, "").strip()
    try:
        share = float(text) if text else None
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= 1:
        raise BadSetting(f"environment variable {name} must be a share from 0 to 1, not {text!r:.40}")
    return share


def _collector(environ: Mapping[str, str]) -> str:
    """FISO_OTLP_URL, https; http on loopback, on the local stage only."""
    url = environ.get("FISO_OTLP_URL", "").strip()
    own = ("http://127.0.0.1:", "http://localhost:")
    is_local = required(environ, "FISO_STAGE") == LOCAL_STAGE and url.startswith(own)
    if url and not is_local and not re.fullmatch(r"https://[\w.-]+(:\d{1,5})?(/[\w./-]*)?", url, re.ASCII):
        raise BadSetting("environment variable FISO_OTLP_URL must be an https URL without user, query or fragment")
    return url


def address_rules(stage: str, environ: Mapping[str, str]) -> AddressRules:
    """Where this stage's endpoints may be. `BadSetting` for FISO_ALLOW_LOOPBACK on any stage but the local one, and
    for a host in FISO_ENDPOINT_HOSTS that no public host can be."""
    allow_loopback = environ.get("FISO_ALLOW_LOOPBACK", "").strip()
    if allow_loopback and stage != LOCAL_STAGE:
        raise BadSetting(f"FISO_ALLOW_LOOPBACK is set on stage {stage}: only stage {LOCAL_STAGE} may call loopback")
    try:
        return AddressRules(
            own_hosts=hosts_in(environ.get("FISO_ENDPOINT_HOSTS", "")), allow_loopback=allow_loopback == "1"
        )
    except ValueError as error:
        raise BadSetting(f"FISO_ENDPOINT_HOSTS: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may call. `issuer` and `audiences` are set for JWT only; `tenant_claim` names the claim with the tenant,
    `scopes` says where the issuer says what a caller may do. `gateway_hashes` are SHA-256 digests of the words by which
    the stage's gateway shows that a request came through it; under IAM nobody is known without. `url_account` is the
    stage's own account where the function has a URL, for IAM only; `iam_tenant` says what a tenant is there, and
    `iam_admins` which roles (`user/NAME`: users) hold `fiso:admin`, `iam_session_roles` those of which sessions are."""

    mode: AuthMode
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    tenant_claim: str = "sub"
    scopes: ScopeRules = ScopeRules()  # noqa: RUF009 - a frozen value
    allow_loopback: bool = False
    gateway_hashes: frozenset[str] = frozenset()
    url_account: str = ""
    iam_tenant: IamTenant = IamTenant.ACCOUNT
    iam_admins: frozenset[str] = frozenset()
    iam_session_roles: frozenset[str] = frozenset()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """FISO_AUTH is `iam`, `jwt`, or (on the local stage, where it is the default) `none`."""
        is_local = required(environ, "FISO_STAGE") == LOCAL_STAGE
        text = environ.get("FISO_AUTH", "").strip() or (AuthMode.NONE if is_local else AuthMode.IAM)
        if text not in set(AuthMode) or (text == AuthMode.NONE and not is_local):
            raise BadSetting(f"environment variable FISO_AUTH must be iam or jwt (none on stage local), not {text!r}")
        hashes = frozenset(environ.get("FISO_GATEWAY_HASHES", "").split())
        if text == AuthMode.IAM and not hashes:
            raise BadSetting(
                "environment variable FISO_GATEWAY_HASHES is needed under FISO_AUTH=iam (`fiso setup`): without "
                "it whoever may invoke the function could be anybody"
            )
        account, tenant = _url_account(environ, text), _iam_tenant(environ)
        if text != AuthMode.JWT:
            return cls(
                mode=AuthMode(text),
                gateway_hashes=hashes,
                url_account=account,
                iam_tenant=tenant,
                iam_admins=frozenset(environ.get("FISO_IAM_ADMINS", "").split()),
                iam_session_roles=_session_roles(environ, tenant),
            )
        audiences = tuple(word for word in required(environ, "FISO_JWT_AUDIENCE").replace(",", " ").split() if word)
        return cls(
            mode=AuthMode.JWT,
            issuer=_issuer(environ, is_local=is_local),
            audiences=audiences,
            tenant_claim=environ.get("FISO_JWT_TENANT_CLAIM", "").strip() or "sub",
            scopes=_scope_rules(environ),
            allow_loopback=is_local,
            gateway_hashes=hashes,
        )


def _url_account(environ: Mapping[str, str], mode: str) -> str:
    account = environ.get("FISO_URL_ACCOUNT", "").strip()
    if account and (mode != AuthMode.IAM or not (len(account) == 12 and account.isascii() and account.isdigit())):
        raise BadSetting(
            f"environment variable FISO_URL_ACCOUNT must be 12 digits, under FISO_AUTH=iam alone, not {account[:40]!r}"
        )
    return account


def _iam_tenant(environ: Mapping[str, str]) -> IamTenant:
    """FISO_IAM_TENANT. By a function's URL nobody is told from another, so roles are no tenants there."""
    text = environ.get("FISO_IAM_TENANT", "").strip() or IamTenant.ACCOUNT
    if text not in set(IamTenant):
        raise BadSetting(f"environment variable FISO_IAM_TENANT must be account or role, not {text[:40]!r}")
    if text == IamTenant.ROLE and environ.get("FISO_URL_ACCOUNT", "").strip():
        raise BadSetting("environment variable FISO_IAM_TENANT=role needs FISO_URL_ACCOUNT empty (frontDoor: api)")
    return IamTenant(text)


def _session_roles(environ: Mapping[str, str], tenant: IamTenant) -> frozenset[str]:
    """FISO_IAM_SESSION_ROLES: names of roles. One called `user` would be taken for IAM users."""
    roles = frozenset(environ.get("FISO_IAM_SESSION_ROLES", "").split())
    if roles and tenant is not IamTenant.ROLE:
        raise BadSetting("environment variable FISO_IAM_SESSION_ROLES needs FISO_IAM_TENANT=role")
    if "user" in roles or not all(re.fullmatch(r"[A-Za-z0-9_+=,.@-]{1,64}", role) for role in roles):
        raise BadSetting("environment variable FISO_IAM_SESSION_ROLES must be names of roles, `user` is none")
    return roles


def _scope_rules(environ: Mapping[str, str]) -> ScopeRules:
    """FISO_JWT_SCOPE_CLAIMS names claims; FISO_JWT_SCOPES the issuer's words for ours: `invoke=orders/call
    read=orders/see`. `BadSetting` for what is neither, and for one word that would mean two."""
    claims = tuple(environ.get("FISO_JWT_SCOPE_CLAIMS", "").replace(",", " ").split())
    names: dict[Scope, str] = {}
    for pair in environ.get("FISO_JWT_SCOPES", "").replace(",", " ").split():
        scope, _, name = pair.partition("=")
        try:
            names[Scope(f"fiso:{scope}")] = name
        except ValueError as error:
            raise BadSetting(
                f"environment variable FISO_JWT_SCOPES knows invoke, read and admin, not {scope!r}"
            ) from error
        if not name or list(names.values()).count(name) > 1:
            raise BadSetting(f"environment variable FISO_JWT_SCOPES gives {scope} no word of its own: {pair!r}")
    return ScopeRules(claims=claims or SCOPE_CLAIMS, names=names)


def _issuer(environ: Mapping[str, str], *, is_local: bool) -> str:
    issuer = required(environ, "FISO_JWT_ISSUER")
    parts = urlsplit(issuer)
    if not parts.hostname or parts.scheme not in (("https", "http") if is_local else ("https",)) or parts.query:
        raise BadSetting(f"environment variable FISO_JWT_ISSUER must be an https address, not {issuer!r}")
    return issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogTrust:
    """Which catalogs count: those signed with one of `keys`, from version `floor` on. `accepts_older_forms`: also
    catalogs without a signature and models without a number, as code from before published them."""

    keys: PublicKeys = field(default_factory=dict)
    floor: int = 0
    accepts_older_forms: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        try:
            keys = signature.parsed(environ.get("FISO_CATALOG_KEYS", ""))
        except ValueError as error:
            raise BadSetting(f"environment variable FISO_CATALOG_KEYS: {error}") from error
        return cls(
            keys=keys,
            floor=whole(environ, "FISO_CATALOG_FLOOR", 0),
            accepts_older_forms=environ.get("FISO_ACCEPT_OLDER_FORMS", "").strip() == "1",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings:
    """What the orchestrator needs. `allow_loopback` lets endpoints be http on loopback; only the local stage may.
    `own_hosts` may be endpoints beside the providers' own hosts: exact names, of FISO_ENDPOINT_HOSTS.
    `lease_keys_parameter` names the parameter with the keys that sign leases; without it there are no leases. `region`
    is where it runs, as Lambda says. `idempotency_table` holds idempotency keys; without it requests with one are
    refused. `quotas` are words as `QuotaRules.parsed` takes them; they meet in that table too, and without it each
    environment holds its own part. `model_keys` are the public keys that published models may be signed with. `google`
    and `entra` are who FISO is to endpoints with `authentication: id_token` and `entra`; without them they are not
    called, unless the catalog says who it is. `entra_login` and `google_login` are where Entra and Google are, on the
    local stage only. `cors` is, as JSON, the rule for pages of other origins where a function's
    policy has none. `catalog` says which catalogs count.
    `key_regions` are the two other regions whose key tables hold keys together with this one's, where a policy asks for
    a `second_store`."""

    stage: str
    log_table: str
    state_table: str
    bucket: str
    model_dir: Path
    allow_loopback: bool
    lease_keys_parameter: str | None = None
    idempotency_table: str | None = None
    region: str | None = None
    own_hosts: frozenset[str] = frozenset()
    access: AccessSettings = AccessSettings(mode=AuthMode.IAM)
    quotas: str = ""
    model_keys: str = ""
    google: "GoogleIdentity | None" = None
    entra: "EntraIdentity | None" = None
    entra_login: str = ""
    google_login: str = ""
    cors: str = ""
    metrics_tenant: str = ""
    traced_share: float | None = None
    catalog: CatalogTrust = field(default_factory=CatalogTrust)
    key_regions: tuple[str, ...] = ()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        stage = required(environ, "FISO_STAGE")
        rules = address_rules(stage, environ)
        return cls(
            stage=stage,
            log_table=required(environ, "FISO_LOG_TABLE"),
            state_table=required(environ, "FISO_STATE_TABLE"),
            bucket=required(environ, "FISO_BUCKET"),
            model_dir=Path(environ.get("FISO_MODEL_DIR") or "/opt/model"),
            allow_loopback=rules.allow_loopback,
            lease_keys_parameter=environ.get("FISO_LEASE_KEYS_PARAMETER", "").strip() or None,
            idempotency_table=environ.get("FISO_IDEMPOTENCY_TABLE", "").strip() or None,
            region=environ.get("AWS_REGION") or None,
            own_hosts=rules.own_hosts,
            access=AccessSettings.from_environ(environ),
            quotas=environ.get("FISO_QUOTAS", "").strip(),
            model_keys=environ.get("FISO_MODEL_KEYS", "").strip(),
            google=_google(environ),
            entra=_entra(environ),
            entra_login=_loopback(environ, "FISO_ENTRA_LOGIN"),
            google_login=_loopback(environ, "FISO_GOOGLE_LOGIN"),
            cors=environ.get("FISO_CORS", "").strip(),
            metrics_tenant=environ.get("FISO_METRICS_TENANT", "").strip(),
            traced_share=share(environ, "FISO_TRACED_SHARE"),
            catalog=CatalogTrust.from_environ(environ),
            key_regions=_key_regions(environ),
        )


def _key_regions(environ: Mapping[str, str]) -> tuple[str, ...]:
    """FISO_KEY_REGIONS: none, or two regions beside this one. `BadSetting` for any other number: of two tables neither
    may decide alone, so the loss of either would stop both."""
    regions = tuple(environ.get("FISO_KEY_REGIONS", "").replace(",", " ").split())
    here = environ.get("AWS_REGION", "")
    if regions and (len({*regions, here} - {""}) != len(regions) + bool(here) or len(regions) != 2):
        raise BadSetting("environment variable FISO_KEY_REGIONS must name two regions beside this one, or none")
    for region in regions:
        if not is_region(region):
            raise BadSetting(f"environment variable FISO_KEY_REGIONS: {region[:80]!a} is no region's name")
    return regions


def _google(environ: Mapping[str, str]) -> "GoogleIdentity | None":
    names = ("FISO_GOOGLE_PROVIDER", "FISO_GOOGLE_SERVICE_ACCOUNT")
    provider, service_account = (environ.get(name, "").strip() for name in names)
    if not provider and not service_account:
        return None
    from fiso.domain.identity import GOOGLE, google_of

    try:
        return google_of(dict(zip(GOOGLE, (provider, service_account), strict=True)))
    except ValueError as error:
        raise BadSetting(f"environment variables {' and '.join(names)}: {error}") from error


def _entra(environ: Mapping[str, str]) -> "EntraIdentity | None":
    names = ("FISO_AZURE_TENANT", "FISO_AZURE_CLIENT")
    tenant, client = (environ.get(name, "").strip().lower() for name in names)
    if not tenant and not client:
        return None
    from fiso.domain.identity import AZURE, entra_of

    try:
        return entra_of(dict(zip(AZURE, (tenant, client), strict=True)))
    except ValueError as error:
        raise BadSetting(f"environment variables {' and '.join(names)}: {error}") from error


def _loopback(environ: Mapping[str, str], name: str) -> str:
    """A service that stands in for a cloud's own, on this machine; on the local stage alone."""
    url = environ.get(name, "").strip().rstrip("/")
    is_local = required(environ, "FISO_STAGE") == LOCAL_STAGE
    if url and not (is_local and re.fullmatch(r"http://(127\.0\.0\.1|localhost):\d{1,5}", url, re.ASCII)):
        raise BadSetting(f"environment variable {name} must be http on loopback, and stage {LOCAL_STAGE} alone has it")
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketElsewhere:
    """A bucket of another region."""

    region: str
    bucket: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], name: str) -> Self | None:
        """`region/bucket`; None where the variable is empty."""
        text = environ.get(name, "").strip()
        region, _, bucket = text.partition("/")
        if text and not (is_region(region) and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket)):
            raise BadSetting(f"environment variable {name} must be region/bucket, not {text[:80]!a}")
        return cls(region=region, bucket=bucket) if text else None


_GOOGLE_PLACE = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_AZURE_PLACE = re.compile(
    r"https://[a-z0-9]{3,24}\.blob\.core\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)/[a-z0-9-]{3,63}"
)
_LOCAL_PLACE = re.compile(r"http://127\.0\.0\.1:[0-9]{1,5}/[a-z0-9-]{3,63}")


def mirrors(environ: Mapping[str, str], name: str, *, is_local: bool) -> tuple[str, ...]:
    """Places on other clouds that hold the mirror and the log of a front door there, as `gs://bucket` or as the URL of
    an Azure container. `BadSetting` for what is neither."""
    found = tuple(environ.get(name, "").replace(",", " ").split())
    for place in found:
        forms = (_GOOGLE_PLACE, _AZURE_PLACE, *((_LOCAL_PLACE,) if is_local else ()))
        if not any(form.fullmatch(place) for form in forms):
            raise BadSetting(
                f"environment variable {name} must be gs://bucket or https://account.blob.core.windows.net/container, "
                f"not {place[:80]!a}"
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConsumerSettings:
    """What the stream consumer needs. `marks_as_before`: code of before folds, or may fold again (decision 2).
    `copies_to` is another region's bucket that gets the archive as well, `azure_monitoring` and `google_monitoring`
    what of those clouds is told of its copies."""

    stage: str
    log_table: str
    state_table: str
    bucket: str
    predictions_log_group: str = ""
    spill_log_group: str = ""
    otlp_url: str = ""
    marks_as_before: bool = False
    copies_to: BucketElsewhere | None = None
    azure_monitoring: str = ""
    google_monitoring: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        return cls(
            stage=required(environ, "FISO_STAGE"),
            log_table=required(environ, "FISO_LOG_TABLE"),
            state_table=required(environ, "FISO_STATE_TABLE"),
            bucket=required(environ, "FISO_BUCKET"),
            azure_monitoring=environ.get("FISO_AZURE_MONITORING", ""),
            google_monitoring=environ.get("FISO_GOOGLE_MONITORING", ""),
            predictions_log_group=environ.get("FISO_PREDICTIONS_LOG_GROUP", ""),
            spill_log_group=environ.get("FISO_SPILL_LOG_GROUP", ""),
            otlp_url=_collector(environ),
            marks_as_before=environ.get("FISO_ACCEPT_OLDER_FORMS", "").strip() == "1",
            copies_to=BucketElsewhere.from_environ(environ, "FISO_COPIES_TO"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """What the keeper needs. The database is a URL on local, a secret's ARN elsewhere; `api_log_group` is where the
    orchestrator's output is kept, `spill_log_group` what was spilled of it (one where nothing is handed on),
    `lease_keys_parameter` names what spilled lines are marked with. It signs catalogs and models with keys of KMS, on
    the local stage only with ones in the open (`local_…`)."""

    stage: str
    log_table: str
    bucket: str
    spill_log_group: str
    api_log_group: str
    lease_keys_parameter: str
    database_url: str | None
    database_secret_arn: str | None
    state_table: str | None = None
    """Where the catalog's copy goes; without it there is none."""
    signing_key_id: str | None = None
    local_signing_key: str | None = field(default=None, repr=False)
    writes_as_before: bool = False
    """While code of before reads the log, too."""
    mirrors: tuple[str, ...] = ()
    """Where front doors on other clouds have their catalog, models and logs."""
    model_keys: str = ""
    """The public keys that a champion may be signed with."""
    model_signing_key_id: str | None = None
    local_model_signing_key: str | None = field(default=None, repr=False)
    google: "GoogleIdentity | None" = None
    entra: "EntraIdentity | None" = None
    """Who the keeper is to Google and to Entra, where a mirror is there."""
    issuer: str = ""
    """Of callers' tokens: its keys are mirrored too."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        stage = required(environ, "FISO_STAGE")
        in_the_open = environ.get("FISO_CATALOG_SIGNING_KEY", "").strip() or None
        return cls(
            stage=stage,
            signing_key_id=environ.get("FISO_CATALOG_SIGNING_KEY_ID", "").strip() or None,
            local_signing_key=in_the_open if stage == LOCAL_STAGE else None,
            log_table=required(environ, "FISO_LOG_TABLE"),
            bucket=required(environ, "FISO_BUCKET"),
            spill_log_group=required(environ, "FISO_SPILL_LOG_GROUP"),
            api_log_group=environ.get("FISO_API_LOG_GROUP") or required(environ, "FISO_SPILL_LOG_GROUP"),
            lease_keys_parameter=required(environ, "FISO_LEASE_KEYS_PARAMETER"),
            database_url=environ.get("FISO_DATABASE_URL") or None,
            database_secret_arn=environ.get("FISO_DATABASE_SECRET_ARN") or None,
            state_table=environ.get("FISO_STATE_TABLE", "").strip() or None,
            writes_as_before=environ.get("FISO_ACCEPT_OLDER_FORMS", "").strip() == "1",
            mirrors=mirrors(environ, "FISO_MIRRORS", is_local=stage == LOCAL_STAGE),
            google=_google(environ),
            entra=_entra(environ),
            issuer=environ.get("FISO_JWT_ISSUER", "").strip() if environ.get("FISO_AUTH", "").strip() == "jwt" else "",
            model_keys=environ.get("FISO_MODEL_KEYS", "").strip(),
            model_signing_key_id=environ.get("FISO_MODEL_SIGNING_KEY_ID", "").strip() or None,
            local_model_signing_key=(
                environ.get("FISO_MODEL_SIGNING_KEY", "").strip() or None if stage == LOCAL_STAGE else None
            ),
        )
