"""The local issuer's key: made on first use in the local cloud's folder, readable by its owner only."""

import hashlib
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fiso_cli.errors import CommandError
from localcloud.issuer.jose import Signer

KEY_FILE = "key.pem"


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
