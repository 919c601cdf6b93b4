"""`fiso token`: a token of the local stage's issuer."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from fiso_cli.errors import BadInput
from fiso_cli.rendering import Output

LONGEST = timedelta(days=30)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LIFETIME = re.compile(r"([0-9]{1,7})([smhd])")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")


def token(
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="For whom the caller calls.")] = "local",
    subject: Annotated[str, typer.Option("--subject", help="Who the caller is; the tenant when not said.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="What it may do; repeat it. All of FISO's otherwise.")
    ] = None,
    expires: Annotated[str, typer.Option("--expires", help="How long it counts: 90s, 15m, 1h, 7d.")] = "1h",
) -> Output:
    """Print a token of the local stage's issuer, for `authorization: Bearer …`. Only this machine believes it.

    \b
    fiso token --scope fiso:read --expires 15m
    curl -H "authorization: Bearer $(fiso token --tenant alice)" …
    """
    from localcloud.issuer.tokens import SCOPES, Person, TokenMaker, signer_in
    from localcloud.layout import LocalCloud

    lifetime, scopes = _lifetime(expires), _scopes(scope or list(SCOPES))
    person = Person(tenant=_name("--tenant", tenant), name=_name("--subject", subject or tenant))
    cloud, now = LocalCloud.from_environ(), datetime.now(UTC)
    maker = TokenMaker(signer=signer_in(cloud.issuer_dir), issuer=cloud.url("issuer"))
    made = maker.access_token(person, " ".join(scopes), now=now, lifetime=lifetime)
    document = {
        "token": made,
        "issuer": cloud.url("issuer"),
        "subject": person.name,
        "tenant": person.tenant,
        "scopes": scopes,
        "expires_at": (now + lifetime).isoformat(timespec="seconds"),
    }
    return Output(document=document, shown=[made])


def _lifetime(text: str) -> timedelta:
    found = _LIFETIME.fullmatch(text)
    lifetime = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < lifetime <= LONGEST:
        raise BadInput(f"--expires {text!r}: say a number with s, m, h or d, up to 30d, as in 15m")
    return lifetime


def _scopes(words: list[str]) -> list[str]:
    scopes = [word for given in words for word in given.split()]
    bad = [word for word in scopes if not _SCOPE.fullmatch(word)]
    if bad or not scopes:
        raise BadInput(f"--scope {' '.join(words)!r}: say a word as in fiso:read, of printable ASCII without quotes")
    return scopes


def _name(option: str, text: str) -> str:
    if not _NAME.fullmatch(text):
        raise BadInput(f"{option} {text!r}: up to 64 letters, digits, spaces and . _ @ - are allowed")
    return text
