"""Signatures: whether a text was signed by a known key. RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), verifying only.

Standard library only, since the orchestrator verifies at a cold start: one modular power with a small exponent. What
was signed is built anew and compared whole; nothing of a signature is parsed, which is where forgeries have hidden.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

FEWEST_BITS, MOST_BITS = 2048, 4096
EXPONENT = 65537
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""SHA-256's identifier in DER, before the digest (RFC 8017, 9.2, note 1)."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """An RSA public key with the exponent 65537. Its id follows from its modulus (`key_id`)."""

    id: str
    modulus: int

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError("a key's id must be 1 to 64 letters, digits, - or _")
        if not FEWEST_BITS <= self.modulus.bit_length() <= MOST_BITS or self.modulus % 2 == 0:
            raise ValueError(f"key {self.id}: the modulus must be odd, of {FEWEST_BITS} to {MOST_BITS} bits")

    @property
    def size(self) -> int:
        """Bytes of a signature."""
        return (self.modulus.bit_length() + 7) // 8


PublicKeys = Mapping[str, PublicKey]
"""Trusted keys by id."""


def is_signed(message: bytes, signature: bytes, key: PublicKey) -> bool:
    """Whether the key's owner signed exactly this message."""
    if len(signature) != key.size:
        return False
    number = int.from_bytes(signature, "big")
    if number >= key.modulus:
        return False
    # Nothing of the signature is parsed: the one block that may stand in it is built and compared whole, in constant
    # time. Parsers of padding are what forged signatures got past (docs/decisions/0011-signed-models.md).
    found = pow(number, EXPONENT, key.modulus).to_bytes(key.size, "big")
    return hmac.compare_digest(found, encoded(message, key.size))


def encoded(message: bytes, size: int) -> bytes:
    """What is signed in a message's place: EMSA-PKCS1-v1_5 (RFC 8017, 9.2), `size` bytes."""
    digest = DIGEST_INFO + sha256(message).digest()
    return b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest


def key_id(modulus: int) -> str:
    """The id of a key: the first 16 hexadecimal digits of its modulus' SHA-256."""
    return sha256(modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")).hexdigest()[:16]


def text_of(number: int) -> str:
    """A number as JWK writes it: big-endian in base64url without padding (RFC 7518, 6.3.1)."""
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def number_of(text: str) -> int:
    """What `text_of` wrote; `ValueError` for anything else."""
    try:
        return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), "big")
    except binascii.Error as error:
        raise ValueError(f"not base64url: {text[:20]!r}") from error


def parsed(words: str) -> PublicKeys:
    """Keys from a setting: moduli as base64url, with spaces between them. `ValueError` for anything else."""
    moduli = [number_of(word) for word in words.split()]
    return {key_id(modulus): PublicKey(id=key_id(modulus), modulus=modulus) for modulus in moduli}


def from_file(path: Path) -> PublicKeys:
    """Keys from a JWK set (RFC 7517); none when there is no such file. `ValueError` when it is no such set."""
    try:
        document = json.loads(path.read_bytes())
        return parsed(" ".join(str(key["n"]) for key in document["keys"]))
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no set of keys: {type(error).__name__}: {error}") from error


PACKAGED_KEYS = Path(__file__).with_name("model_keys.json")
"""The keys that the packaged model may be signed with. They ship with the code, never beside the model."""


def packaged() -> PublicKeys:
    """The keys in the code package. A file that is no set of keys trusts nothing, so that a start never fails by it."""
    try:
        return from_file(PACKAGED_KEYS)
    except ValueError:
        return {}
