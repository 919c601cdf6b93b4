"""Settings: one frozen value per function, read once from an environ mapping. The only place that knows the names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from fiso.domain.access import AuthMode

LOCAL_STAGE = "local"


class MissingSetting(Exception):
    """A variable that the function cannot start without."""


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise MissingSetting(f"environment variable {name} is not set")
    return value


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    try:
        return int(text) if text else default
    except ValueError as error:
        raise MissingSetting(f"environment variable {name} must be a whole number, not {text!r}") from error


class BadSetting(MissingSetting):
    """A variable that holds what no stage, or not this one, may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may call. `issuer` and `audiences` are set for JWT only; `tenant_claim` names the claim with the tenant."""

    mode: AuthMode
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    tenant_claim: str = "sub"
    allow_loopback: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """FISO_AUTH is `iam`, `jwt`, or (on the local stage, where it is the default) `none`."""
        is_local = _required(environ, "FISO_STAGE") == LOCAL_STAGE
        text = environ.get("FISO_AUTH", "").strip() or (AuthMode.NONE if is_local else AuthMode.IAM)
        if text not in set(AuthMode) or (text == AuthMode.NONE and not is_local):
            raise BadSetting(f"environment variable FISO_AUTH must be iam or jwt (none on stage local), not {text!r}")
        if text != AuthMode.JWT:
            return cls(mode=AuthMode(text))
        audiences = tuple(word for word in _required(environ, "FISO_JWT_AUDIENCE").replace(",", " ").split() if word)
        return cls(
            mode=AuthMode.JWT,
            issuer=_issuer(environ, is_local=is_local),
            audiences=audiences,
            tenant_claim=environ.get("FISO_JWT_TENANT_CLAIM", "").strip() or "sub",
            allow_loopback=is_local,
        )


def _issuer(environ: Mapping[str, str], *, is_local: bool) -> str:
    issuer = _required(environ, "FISO_JWT_ISSUER")
    parts = urlsplit(issuer)
    if not parts.hostname or parts.scheme not in (("https", "http") if is_local else ("https",)) or parts.query:
        raise BadSetting(f"environment variable FISO_JWT_ISSUER must be an https address, not {issuer!r}")
    return issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings:
    """What the orchestrator needs. `allow_loopback` lets endpoints be http on loopback; only the local stage may.
    `lease_keys_parameter` names the parameter with the keys that sign leases; without it there are no leases. `region`
    is where it runs, as Lambda says. `quotas` are words as `QuotaRules.parsed` takes them; they meet in
    `idempotency_table`, and without one each environment holds its own part."""

    stage: str
    log_table: str
    state_table: str
    bucket: str
    model_dir: Path
    allow_loopback: bool
    lease_keys_parameter: str | None = None
    region: str | None = None
    access: AccessSettings = AccessSettings(mode=AuthMode.IAM)
    quotas: str = ""
    idempotency_table: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        stage = _required(environ, "FISO_STAGE")
        return cls(
            stage=stage,
            log_table=_required(environ, "FISO_LOG_TABLE"),
            state_table=_required(environ, "FISO_STATE_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
            model_dir=Path(environ.get("FISO_MODEL_DIR") or "/opt/model"),
            allow_loopback=stage == LOCAL_STAGE and environ.get("FISO_ALLOW_LOOPBACK") == "1",
            lease_keys_parameter=environ.get("FISO_LEASE_KEYS_PARAMETER", "").strip() or None,
            region=environ.get("AWS_REGION") or None,
            access=AccessSettings.from_environ(environ),
            quotas=environ.get("FISO_QUOTAS", "").strip(),
            idempotency_table=environ.get("FISO_IDEMPOTENCY_TABLE") or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConsumerSettings:
    """What the stream consumer needs."""

    stage: str
    state_table: str
    bucket: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        return cls(
            stage=_required(environ, "FISO_STAGE"),
            state_table=_required(environ, "FISO_STATE_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainerSettings:
    """What the retrainer needs. The minimums are rows; the brief asks for 1,000."""

    stage: str
    bucket: str
    minimum_rows: int
    minimum_new_rows: int
    lookback_days: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        return cls(
            stage=_required(environ, "FISO_STAGE"),
            bucket=_required(environ, "FISO_BUCKET"),
            minimum_rows=_whole(environ, "FISO_MINIMUM_ROWS", 1000),
            minimum_new_rows=_whole(environ, "FISO_MINIMUM_NEW_ROWS", 100),
            lookback_days=_whole(environ, "FISO_LOOKBACK_DAYS", 30),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """What the keeper needs. The database is a URL on local, a secret's ARN elsewhere."""

    stage: str
    log_table: str
    bucket: str
    database_url: str | None
    database_secret_arn: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        return cls(
            stage=_required(environ, "FISO_STAGE"),
            log_table=_required(environ, "FISO_LOG_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
            database_url=environ.get("FISO_DATABASE_URL") or None,
            database_secret_arn=environ.get("FISO_DATABASE_SECRET_ARN") or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """The console's login. `client_id` is what the issuer calls the console; `console_url` ends in /console, and codes
    come back to /callback under it; the parameters hold the keys that seal sessions and, for a client that the issuer
    counts as confidential, its secret."""

    client_id: str
    console_url: str
    scope: str
    keys_parameter: str
    secret_parameter: str | None = None

    @property
    def redirect_uri(self) -> str:
        """The one address that the issuer may send codes to."""
        return f"{self.console_url}/callback"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], access: AccessSettings) -> Self | None:
        """None unless FISO_LOGIN_CLIENT_ID is set, which needs FISO_AUTH=jwt."""
        client_id = environ.get("FISO_LOGIN_CLIENT_ID", "").strip()
        if not client_id:
            return None
        if access.mode is not AuthMode.JWT:
            raise BadSetting("environment variable FISO_LOGIN_CLIENT_ID needs FISO_AUTH=jwt: a login needs an issuer")
        return cls(
            client_id=client_id,
            console_url=_console_url(environ, is_local=access.allow_loopback) or _required(environ, "FISO_CONSOLE_URL"),
            scope=environ.get("FISO_LOGIN_SCOPE", "").strip() or "openid profile fiso:read",
            keys_parameter=_required(environ, "FISO_LOGIN_KEYS_PARAMETER"),
            secret_parameter=environ.get("FISO_LOGIN_SECRET_PARAMETER", "").strip() or None,
        )


def _console_url(environ: Mapping[str, str], *, is_local: bool) -> str | None:
    url = environ.get("FISO_CONSOLE_URL", "").strip()
    parts = urlsplit(url)
    schemes = ("https", "http") if is_local else ("https",)
    is_plain = parts.hostname and not (parts.query or parts.fragment or "@" in parts.netloc)
    if url and not (is_plain and parts.scheme in schemes and parts.path.endswith("/console")):
        raise BadSetting(f"environment variable FISO_CONSOLE_URL must be https and end in /console, not {url!r}")
    return url or None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """What the console needs: everything it shows comes from tables and the bucket, read only. With a `console_url`, it
    answers to no other host."""

    stage: str
    log_table: str
    state_table: str
    bucket: str
    access: AccessSettings = AccessSettings(mode=AuthMode.IAM)
    console_url: str | None = None
    login: LoginSettings | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        access, stage = AccessSettings.from_environ(environ), _required(environ, "FISO_STAGE")
        return cls(
            stage=stage,
            log_table=_required(environ, "FISO_LOG_TABLE"),
            state_table=_required(environ, "FISO_STATE_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
            access=access,
            console_url=_console_url(environ, is_local=stage == LOCAL_STAGE),
            login=LoginSettings.from_environ(environ, access),
        )
