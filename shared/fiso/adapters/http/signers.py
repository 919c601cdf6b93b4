"""Signers of models and catalogs: a key that never leaves KMS, and one in the open for a single machine."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from fiso.adapters.aws.errors import store_errors
from fiso.codecs.signature import EXPONENT, PublicKey, encoded, is_signed, key_id, number_of, text_of
from fiso.domain.errors import StoreUnavailable

ALGORITHM = "RSASSA_PKCS1_V1_5_SHA_256"


class KmsSigner:
    """One asymmetric key of KMS. `client` is boto3's; only signing and its public half are asked for."""

    def __init__(self, client: Any, key: str) -> None:
        self._client, self._key = client, key
        self._public: PublicKey | None = None

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """The signature, made inside KMS of the message's digest."""
        with store_errors(f"sign with key {self._key}"):
            answer = self._client.sign(
                KeyId=self._key,
                Message=sha256(message).digest(),
                MessageType="DIGEST",
                SigningAlgorithm=ALGORITHM,
            )
        return self.public_key().id, bytes(answer["Signature"])

    def public_key(self) -> PublicKey:
        if self._public is None:
            self._public = self._fetched()
        return self._public

    def _fetched(self) -> PublicKey:
        with store_errors(f"read the public half of key {self._key}"):
            der = bytes(self._client.get_public_key(KeyId=self._key)["PublicKey"])
        try:
            modulus = modulus_of(der)
            return PublicKey(id=key_id(modulus), modulus=modulus)
        except (ValueError, IndexError) as error:
            raise StoreUnavailable(f"key {self._key} is no RSA key for models: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenKeySigner:
    """A private key in memory, for `fiso train` and for the local stage.

    It signs in plain Python, whose time depends on the key: nobody untrusted may time it.
    """

    public: PublicKey
    exponent: int = field(repr=False)

    @classmethod
    def parsed(cls, text: str) -> "OpenKeySigner":
        """From `modulus:private exponent`, as JWK writes numbers. The `ValueError` for anything else shows neither."""
        modulus, separator, exponent = text.strip().partition(":")
        try:
            number = number_of(modulus)
            signer = cls(public=PublicKey(id=key_id(number), modulus=number), exponent=number_of(exponent))
        except ValueError:
            raise ValueError("a signing key must be modulus:exponent in base64url") from None
        probe = b"probe"
        if not separator or not is_signed(probe, signer.sign(probe)[1], signer.public):
            raise ValueError("the signing key's halves do not belong together")
        return signer

    def public_key(self) -> PublicKey:
        return self.public

    @property
    def text(self) -> str:
        return f"{text_of(self.public.modulus)}:{text_of(self.exponent)}"

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """The signature (RFC 8017, 8.2.1)."""
        size = self.public.size
        number = pow(int.from_bytes(encoded(message, size), "big"), self.exponent, self.public.modulus)
        return self.public.id, number.to_bytes(size, "big")


class NoSigner:
    """Where no key is set: nothing is signed, so nothing is published. `command` makes one."""

    def __init__(self, command: str) -> None:
        self._command = command

    def sign(self, message: bytes) -> tuple[str, bytes]:
        raise StoreUnavailable(f"no key to sign with: run `{self._command}` and deploy again")

    def public_key(self) -> PublicKey:
        raise StoreUnavailable(f"no key to sign with: run `{self._command}` and deploy again")


def modulus_of(der: bytes) -> int:
    """The modulus in an RSA SubjectPublicKeyInfo (RFC 5280, 4.1; RFC 8017, A.1.1), as KMS gives public keys."""
    _, info = _element(der, 0x30)
    after_algorithm, _ = _element(info, 0x30)
    _, bits = _element(info[after_algorithm:], 0x03)
    _, pair = _element(bits[1:], 0x30)  # the first byte counts unused bits
    after_modulus, modulus = _element(pair, 0x02)
    _, exponent = _element(pair[after_modulus:], 0x02)
    if int.from_bytes(exponent, "big") != EXPONENT:
        raise ValueError(f"its exponent is not {EXPONENT}")
    return int.from_bytes(modulus, "big")


def _element(data: bytes, tag: int) -> tuple[int, bytes]:
    """Where the first DER element ends, and its content."""
    if data[0] != tag:
        raise ValueError(f"tag {data[0]:#x} where {tag:#x} was expected")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("it is cut short")
    return start + length, data[start : start + length]
