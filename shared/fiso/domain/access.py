"""Access: who calls, and what a caller may do. Made of what a gateway or a signature authenticates, of nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from fiso.domain.errors import NotAllowed
from fiso.domain.request import TenantId
from fiso_client.core.grammar import is_tenant


class AuthMode(StrEnum):
    """How a stage knows its callers: the gateway's IAM signature, a token of an issuer, or not at all (local only)."""

    IAM = "iam"
    JWT = "jwt"
    NONE = "none"


class IamTenant(StrEnum):
    """What the tenant of a signed call is: its account, or the role or user that signed."""

    ACCOUNT = "account"
    ROLE = "role"


class Scope(StrEnum):
    """What a caller may do. ADMIN includes the others."""

    INVOKE = "fiso:invoke"
    READ = "fiso:read"
    ADMIN = "fiso:admin"


SCOPE_CLAIMS = ("scope", "scp")
"""Claims that hold a token's scopes: RFC 8693's, and what Microsoft and Okta call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRules:
    """Where an issuer says what a caller may do, and how it calls it. `claims` hold scopes, in words of one text or in
    a list: Entra's `roles`, Auth0's `permissions`. `names` are the issuer's own words for ours (Cognito has
    `server/name`); a scope that has such a name counts under no other."""

    claims: tuple[str, ...] = SCOPE_CLAIMS
    names: Mapping[Scope, str] = field(default_factory=dict)

    def ours(self, said: frozenset[str]) -> frozenset[str]:
        """What a token says, in our words; the issuer's other scopes stay as they are."""
        if not self.names:
            return said
        others = said - set(self.names.values()) - {scope.value for scope in self.names}
        return others | {scope.value for scope, name in self.names.items() if name in said}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """A verified caller. `subject` is who, `tenant` for whom; `scopes` holds the issuer's own ones too.

    `expires_at` is None where nothing expires (IAM, the local stage). `others` are the token's remaining claims, for
    display (name, email): they decide nothing.
    """

    subject: str
    tenant: TenantId
    scopes: frozenset[str]
    expires_at: datetime | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.subject or not is_tenant(self.tenant):
            raise ValueError("a caller has a subject and a tenant, each text of one line")

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """`NotAllowed` unless the caller holds the scope."""
        if not self.may(scope):
            raise NotAllowed(scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One public key of an issuer: its id, the one algorithm it verifies, and its JWK (RFC 7517) as JSON."""

    id: str
    algorithm: str
    document: str


EVERYTHING: frozenset[str] = frozenset(scope.value for scope in Scope)
ANYONE = Claims(subject="local", tenant=TenantId("local"), scopes=EVERYTHING)
"""The caller of the local stage, where nobody is asked."""
NOBODY = Claims(subject="nobody", tenant=TenantId("nobody"), scopes=frozenset())
"""Whoever was not asked yet."""
