"""Keys that sign tokens. The local issuer's is made on first use in its folder, readable by its owner only."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
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
