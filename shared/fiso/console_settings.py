"""Settings of the console and of its login."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from fiso.domain.access import AuthMode
from fiso.settings import LOCAL_STAGE, AccessSettings, BadSetting, CatalogTrust, required


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """The console's login. `client_id` is what the issuer calls the console; `console_url` ends in /console, and codes
    come back to /callback under it; the parameters hold the keys that sign sessions and, for a client that the issuer
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
            console_url=_console_url(environ, is_local=access.allow_loopback) or required(environ, "FISO_CONSOLE_URL"),
            scope=environ.get("FISO_LOGIN_SCOPE", "").strip() or "openid profile fiso:read",
            keys_parameter=required(environ, "FISO_LOGIN_KEYS_PARAMETER"),
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
    access: AccessSettings
    console_url: str | None = None
    login: LoginSettings | None = None
    catalog: CatalogTrust = field(default_factory=CatalogTrust)
    keeper_function: str = ""
    """Name and alias of the keeper, who switches modes; without it nobody does by the API."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        access, stage = AccessSettings.from_environ(environ), required(environ, "FISO_STAGE")
        return cls(
            stage=stage,
            log_table=required(environ, "FISO_LOG_TABLE"),
            state_table=required(environ, "FISO_STATE_TABLE"),
            bucket=required(environ, "FISO_BUCKET"),
            access=access,
            console_url=_console_url(environ, is_local=stage == LOCAL_STAGE),
            login=LoginSettings.from_environ(environ, access),
            catalog=CatalogTrust.from_environ(environ),
            keeper_function=environ.get("FISO_KEEPER_FUNCTION", "").strip(),
        )
