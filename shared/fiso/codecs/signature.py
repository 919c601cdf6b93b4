"""Signatures: whether a text was signed by a known key. RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), verifying only.

The one home of it: models (`prediction.manifest`) and catalogs (`codecs.seal`) say what they are in a signed text.

Standard library only, since the orchestrator verifies at a cold start: one modular power with a small exponent. What
was signed is built anew and compared whole; nothing of a signature is parsed, which is where forgeries have hidden.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fiso.domain.signed import SignedText

FEWEST_BITS, MOST_BITS = 2048, 4096
EXPONENT = 65537
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""SHA-256's identifier in DER, before the digest (RFC 8017, 9.2, note 1)."""
LARGEST_TEXT = 20_000
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


Sign = Callable[[bytes], tuple[str, bytes]]
"""Signs a message: the key's id and the signature. Whoever only reads has none."""


class Untrusted(ValueError):
    """A text that no trusted key signed, and why."""


def signed(text: str, sign: Sign) -> SignedText:
    """The text (ASCII) with a signature. Raises what `sign` raises."""
    key_id, signature = sign(text.encode("ascii"))
    return SignedText(text=text, key_id=key_id, signature=base64.b64encode(signature).decode("ascii"))


def verified(signed: SignedText | None, keys: PublicKeys) -> str:
    """The text; `Untrusted` unless one of the keys signed exactly this."""
    if signed is None or not signed.signature:
        raise Untrusted("it is not signed")
    key = keys.get(signed.key_id)
    if key is None:
        raise Untrusted(f"it is signed with a key that is not trusted here ({signed.key_id[:16]!r})")
    if len(signed.text) > LARGEST_TEXT:
        raise Untrusted(f"its signed text has {len(signed.text)} characters, more than {LARGEST_TEXT}")
    try:
        raw, said = base64.b64decode(signed.signature, validate=True), signed.text.encode("ascii")
    except (binascii.Error, UnicodeError) as error:
        raise Untrusted(f"its signature or signed text is damaged: {error}") from error
    if not is_signed(said, raw, key):
        raise Untrusted(f"the signature does not fit the signed text (key {key.id})")
    return signed.text


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
