"""What the local issuer signs: access tokens for FISO's API, identity tokens for the console."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from localcloud.issuer.keys import Signer

AUDIENCE = "fiso"
CLIENT_ID = "fiso-console"
TENANT_CLAIM = "tenant"
SCOPES = ("fiso:invoke", "fiso:read", "fiso:admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whoever somebody says to be."""

    name: str
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMaker:
    """Signs as one issuer."""

    signer: Signer
    issuer: str

    def access_token(self, person: Person, scope: str, *, now: datetime, lifetime: timedelta) -> str:
        """For FISO's API; `scope` holds words."""
        claims = self._claims(person, AUDIENCE, now, lifetime)
        return self.signer.sign({**claims, "scope": scope, TENANT_CLAIM: person.tenant}, typ="at+jwt")

    def identity_token(self, person: Person, nonce: str, *, now: datetime, lifetime: timedelta) -> str:
        """For the console."""
        claims = self._claims(person, CLIENT_ID, now, lifetime)
        return self.signer.sign({**claims, "name": person.name, "nonce": nonce})

    def _claims(self, person: Person, audience: str, now: datetime, lifetime: timedelta) -> dict[str, str | int]:
        at = int(now.timestamp())
        return {
            "iss": self.issuer,
            "aud": audience,
            "sub": person.name,
            "iat": at,
            "nbf": at,
            "exp": at + int(lifetime.total_seconds()),
        }
