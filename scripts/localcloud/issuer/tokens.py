"""What the local issuer knows and signs: its key, people, tokens, and codes that are redeemed once.

Keys are made on first use in the issuer's folder, readable by their owner only."""

import hashlib
import hmac
import os
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from fiso_cli.errors import CommandError

KEY_FILE = "key.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One key pair. RS256 unless it is on a curve."""

    id: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def rsa(cls, id: str) -> "Signer":
        """A fresh RSA pair of 2,048 bits."""
        return cls(id=id, private=rsa.generate_private_key(public_exponent=65537, key_size=2048))

    @classmethod
    def curve(cls, id: str) -> "Signer":
        """A fresh pair on P-256."""
        return cls(id=id, private=ec.generate_private_key(ec.SECP256R1()))

    @property
    def algorithm(self) -> str:
        """What it signs with."""
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, as a JWKS lists it."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            row = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            row = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**row, "kid": self.id, "use": "sig", "alg": self.algorithm}

    @property
    def public_pem(self) -> bytes:
        """The public half as text, as anybody can have it."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, kind)

    def sign(self, payload: Mapping[str, Any], **header: Any) -> str:
        """A token of this payload; `header` overrides what it says of itself."""
        return jwt.encode(dict(payload), self.private, algorithm=self.algorithm, headers={"kid": self.id, **header})


def signer_in(folder: Path) -> Signer:
    """The key in a folder; a new one on P-256 when there is none. `CommandError` for a file that holds no such key."""
    path = folder / KEY_FILE
    if not path.exists():
        _make(path)
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(f"{path} holds no usable key: delete it, and a new one is made") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise CommandError(f"{path} holds another kind of key: delete it, and a new one is made")
    return Signer(id=_id_of(private), private=private)


def _make(path: Path) -> None:
    """Whole or not at all: of two at once, the first one's stays."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:  # readable by its owner alone
        file.write(text)
    draft = Path(file.name)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _id_of(key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()[:16]


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


LIFETIME = timedelta(seconds=60)
MOST_KEPT = 1_000
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks an authorization for, after it was checked."""

    client_id: str
    redirect_uri: str
    scope: str
    state: str
    nonce: str
    code_challenge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A request that a person agreed to."""

    request: Request
    person: Person
    expires_at: datetime


class CodeRefused(Exception):
    """A code that gives nothing. The message is for a developer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """Who redeems a code, and with what."""

    code: str
    client_id: str
    redirect_uri: str
    code_verifier: str


@dataclass(kw_only=True)
class Codes:
    """The codes of one issuer, kept in its memory."""

    clock: Callable[[], datetime]
    _grants: dict[str, Grant] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def give(self, request: Request, person: Person) -> str:
        """A new code."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._grants) >= MOST_KEPT:
                self._grants.pop(next(iter(self._grants)))
            self._grants[code] = Grant(request=request, person=person, expires_at=self.clock() + LIFETIME)
        return code

    def redeem(self, shown: Redemption) -> Grant:
        """What was granted. `CodeRefused` for anything but the first, complete, timely redemption."""
        with self._lock:
            grant = self._grants.pop(shown.code, None)
        if grant is None:
            raise CodeRefused("there is no such code, or it was redeemed before")
        if grant.expires_at <= self.clock():
            raise CodeRefused("the code has expired")
        if (shown.client_id, shown.redirect_uri) != (grant.request.client_id, grant.request.redirect_uri):
            raise CodeRefused("the code was given to another client or address")
        if not _VERIFIER.fullmatch(shown.code_verifier):
            raise CodeRefused("code_verifier is missing or malformed (PKCE, RFC 7636)")
        if not hmac.compare_digest(_challenge(shown.code_verifier), grant.request.code_challenge):
            raise CodeRefused("code_verifier does not belong to the challenge")
        return grant


def _challenge(code_verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(code_verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")
