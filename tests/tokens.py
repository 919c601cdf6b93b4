"""Tokens for tests and experiments: what an issuer publishes, genuine payloads, and tokens forged in known ways."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from fiso.adapters.identity.oidc import signing_keys
from fiso.domain.access import SigningKey
from localcloud.issuer.tokens import Signer

ISSUER = "https://issuer.example"
AUDIENCE = "fiso"
LIFETIME_S = 600
SCOPES = "fiso:invoke fiso:read fiso:admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedKeys:
    """The ports `IssuerKeys` and `SigningKeys` over given keys."""

    keys: Mapping[str, SigningKey] = field(default_factory=dict)

    @classmethod
    def of(cls, *signers: Signer) -> "FixedKeys":
        """What these signers would publish."""
        return cls(keys=signing_keys({"keys": [signer.jwk for signer in signers]}))

    def read(self) -> Mapping[str, SigningKey]:
        """All of them."""
        return self.keys

    def find(self, id: str) -> SigningKey | None:
        """One of them."""
        return self.keys.get(id)


def payload(now: datetime, subject: str = "alice", **changes: Any) -> dict[str, Any]:
    """What a genuine token says; a change to None leaves the claim out."""
    at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": at,
        "nbf": at,
        "exp": at + LIFETIME_S,
        "scope": SCOPES,
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def unsigned(claims: Mapping[str, Any], **header: Any) -> str:
    """A token that says it needs no signature (`alg: none`)."""
    return f"{_part({'alg': 'none', 'typ': 'JWT', **header})}.{_part(claims)}."


def with_shared_secret(claims: Mapping[str, Any], secret: bytes, algorithm: str = "HS256", **header: Any) -> str:
    """A token whose HMAC has a public key as its secret: what verifies it with that key as HMAC's takes it."""
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    signed = f"{_part({'alg': algorithm, 'typ': 'JWT', **header})}.{_part(claims)}"
    return f"{signed}.{_text(hmac.new(secret, signed.encode(), digest).digest())}"


def with_payload(token: str, claims: Mapping[str, Any]) -> str:
    """The token with another payload under the signature it has."""
    header, _, signature = token.split(".")
    return f"{header}.{_part(claims)}.{signature}"


def with_header(token: str, **header: Any) -> str:
    """The token with another header under the signature it has."""
    _, claims, signature = token.split(".")
    return f"{_part(header)}.{claims}.{signature}"


def with_flipped_signature(token: str, position: int = 10) -> str:
    """The token with one character of its signature changed."""
    head, _, signature = token.rpartition(".")
    other = "A" if signature[position] != "A" else "B"
    return f"{head}.{signature[:position]}{other}{signature[position + 1 :]}"


def with_flipped_bit(token: str, rng: Random) -> str:
    """The token with one bit changed in the bytes of its header, payload or signature."""
    parts = [bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")]
    part = rng.choice(parts)
    part[rng.randrange(len(part))] ^= 1 << rng.randrange(8)
    return ".".join(_text(bytes(part)) for part in parts)


def _part(document: Mapping[str, Any]) -> str:
    return _text(json.dumps(document, separators=(",", ":")).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
