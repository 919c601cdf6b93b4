"""Tokens of an issuer (JWT, RFC 7519, after the advice of RFC 8725), checked with PyJWT.

Importing this loads PyJWT and cryptography, so it is imported where a stage is set to `jwt` and nowhere else. What a
token says of its own key (`jku`, `x5u`, `jwk`, `x5c`) is never looked at: `kid` picks one of the issuer's keys, and the
key's type says which algorithm counts.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jwt

from fiso.domain.access import SCOPE_CLAIMS, Claims, ScopeRules, SigningKey
from fiso.domain.errors import NotAuthenticated
from fiso.domain.request import TenantId
from fiso.ports import Clock, SigningKeys
from fiso_client.core.grammar import is_tenant

ALGORITHMS = ("RS256", "ES256")
TOLERANCE_S = 60.0
"""How far the issuer's clock may be from this one."""
LARGEST_TOKEN = 10_240
"""Characters: what API Gateway takes of headers in all."""
SCOPES = ScopeRules()
_OWN = frozenset({"iss", "aud", "exp", "nbf", "iat", "sub", "scope", "scp"})
_OPTIONS: Any = {
    "require": ["iss", "exp", "sub"],
    "verify_signature": True,
    "verify_iss": True,
    "verify_aud": False,  # `_is_for` does, for tokens that name their audience in another claim as well
    "verify_sub": True,
    # PyJWT asks the system's clock; the clock is an argument here, so the three times are compared below.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


class JwtVerifier:
    """The port `TokenVerifier` for one issuer. `tenant_claim` names the claim that holds the tenant, `scopes` says
    where its scopes stand."""

    def __init__(
        self,
        keys: SigningKeys,
        *,
        issuer: str,
        audiences: Sequence[str],
        clock: Clock,
        tenant_claim: str = "sub",
        scopes: ScopeRules = SCOPES,
    ) -> None:
        self._keys, self._issuer, self._audiences = keys, issuer, frozenset(audiences)
        self._clock, self._tenant_claim, self._scopes = clock, tenant_claim, scopes

    def verify(self, token: str) -> Claims:
        """The claims of a token. `NotAuthenticated`, with a reason for the log, when anything about it is wrong."""
        key = self._key_of(token)
        try:
            payload = jwt.decode(
                token,
                _public_key(key),
                algorithms=[key.algorithm],
                issuer=self._issuer,
                options=_OPTIONS,
            )
        except jwt.PyJWTError as error:
            raise NotAuthenticated(f"{type(error).__name__}: {error}") from error
        if not is_for(payload, self._audiences):
            raise NotAuthenticated("the token is for another audience")
        expires_at = _valid_until(payload, self._clock())
        return Claims(
            subject=_name(payload, "sub"),
            tenant=TenantId(_name(payload, self._tenant_claim)),
            scopes=self._scopes.ours(scopes_of(payload, self._scopes.claims)),
            expires_at=expires_at,
            others={name: value for name, value in payload.items() if name not in _OWN},
        )

    def _key_of(self, token: str) -> SigningKey:
        """The issuer's key that the token's header names, after what the header claims was checked against it."""
        if len(token) > LARGEST_TOKEN or not token.isascii():
            raise NotAuthenticated("the token is too long or not ASCII")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise NotAuthenticated(f"{type(error).__name__}: {error}") from error
        # The key's own type decides the algorithm; a header that asks for another is refused, not obeyed (RFC 8725,
        # 3.1).
        algorithm, id = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or "crit" in header or not isinstance(id, str):
            raise NotAuthenticated("the token's header has another algorithm, critical extensions, or no kid")
        key = self._keys.find(id)
        if key is None or key.algorithm != algorithm:
            raise NotAuthenticated("the issuer has no such key for this algorithm")
        return key


def is_for(payload: Mapping[str, Any], audiences: Collection[str]) -> bool:
    """Whether a token was made for one of these audiences, as API Gateway's own authorizer has it: by `aud`, and only
    where a token has none, as Cognito's access tokens, by the client that it was given to (`client_id`)."""
    if "aud" not in payload:
        client = payload.get("client_id")
        return isinstance(client, str) and client in audiences
    named = payload["aud"]
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        return False
    return any(one in audiences for one in named)


def scopes_of(payload: Mapping[str, Any], claims: Sequence[str] = SCOPE_CLAIMS) -> frozenset[str]:
    """The scopes in these claims: words in one text (RFC 8693), or a list of them."""
    found: set[str] = set()
    for name in claims:
        value = payload.get(name)
        if isinstance(value, str):
            found.update(value.split(" "))
        elif isinstance(value, list):
            found.update(item for item in value if isinstance(item, str))
    return frozenset(found - {""})


def _valid_until(payload: Mapping[str, Any], now: datetime) -> datetime:
    """When the token expires, after its three times were held against the clock."""
    at = now.timestamp()
    expires = _seconds(payload, "exp", at)
    if expires <= at - TOLERANCE_S:
        raise NotAuthenticated("the token has expired")
    if max(_seconds(payload, "nbf", at), _seconds(payload, "iat", at)) > at + TOLERANCE_S:
        raise NotAuthenticated("the token is not valid yet")
    return datetime.fromtimestamp(expires, UTC)


def _seconds(payload: Mapping[str, Any], name: str, absent: float) -> float:
    """A NumericDate: seconds since 1970, up to the year 9999."""
    value = payload.get(name, absent)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 253_402_300_799:
        raise NotAuthenticated(f"claim {name} is not a time")
    return float(value)


def _name(payload: Mapping[str, Any], claim: str) -> str:
    value = payload.get(claim)
    if not isinstance(value, str) or not is_tenant(value):
        raise NotAuthenticated(f"claim {claim} is not a name")
    return value


@lru_cache(maxsize=32)
def _public_key(key: SigningKey) -> Any:
    try:
        return jwt.PyJWK.from_json(key.document, algorithm=key.algorithm).key
    except jwt.PyJWTError as error:
        raise NotAuthenticated(f"key {key.id} of the issuer cannot be used: {error}") from error
