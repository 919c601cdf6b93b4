from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from fiso.adapters.http.signers import KmsSigner, NoSigner, OpenKeySigner, modulus_of
from fiso.codecs.signature import is_signed, text_of
from fiso.domain.errors import StoreUnavailable
from tests.models import a_signer

MESSAGE = b"a manifest"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=3072)


def der_of(key: Any) -> bytes:
    encoding, shape = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    der: bytes = key.public_key().public_bytes(encoding, shape)
    return der


class Kms:
    """What is used of KMS, over a key in memory."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def sign(self, *, KeyId: str, Message: bytes, MessageType: str, SigningAlgorithm: str) -> dict[str, bytes]:  # noqa: N803
        assert (MessageType, SigningAlgorithm) == ("DIGEST", "RSASSA_PKCS1_V1_5_SHA_256")
        prehashed = utils.Prehashed(hashes.SHA256())
        return {"Signature": self._key.sign(Message, padding.PKCS1v15(), prehashed)}

    def get_public_key(self, *, KeyId: str) -> dict[str, bytes]:  # noqa: N803
        return {"PublicKey": der_of(self._key)}


def test_what_kms_signs_is_verified_with_the_public_half_it_gives() -> None:
    signer = KmsSigner(Kms(RSA_KEY), "alias/models")
    key_id, signed = signer.sign(MESSAGE)
    public = signer.public_key()
    assert key_id == public.id
    assert is_signed(MESSAGE, signed, public)


def test_a_key_of_another_kind_is_refused_with_its_name() -> None:
    with pytest.raises(StoreUnavailable, match="alias/models is no RSA key"):
        KmsSigner(Kms(ec.generate_private_key(ec.SECP256R1())), "alias/models").public_key()


def test_an_open_key_signs_as_a_library_does() -> None:
    signer = a_signer()
    _, signed = signer.sign(MESSAGE)
    numbers = rsa.RSAPublicNumbers(65537, signer.public.modulus)
    numbers.public_key().verify(signed, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    assert is_signed(MESSAGE, signed, signer.public)


def test_an_open_key_comes_back_from_its_text_and_shows_no_secret() -> None:
    signer = a_signer()
    assert OpenKeySigner.parsed(signer.text + "\n") == signer
    assert text_of(signer.exponent) not in repr(signer)
    assert str(signer.exponent) not in repr(signer)


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[:-4], lambda text: text.replace(":", " ")])
def test_a_damaged_open_key_is_refused_without_showing_it(damage: Any) -> None:
    text = a_signer().text
    with pytest.raises(ValueError, match="signing key") as refused:
        OpenKeySigner.parsed(damage(text))
    assert text[-40:-10] not in str(refused.value)


def test_every_cut_of_a_public_key_is_refused() -> None:
    der = der_of(RSA_KEY)
    assert modulus_of(der) == RSA_KEY.public_key().public_numbers().n
    for length in range(len(der) - 5):
        with pytest.raises((ValueError, IndexError)):
            modulus_of(der[:length])


def test_without_a_key_nothing_is_signed_and_the_way_out_is_named() -> None:
    with pytest.raises(StoreUnavailable, match="fiso model-key"):
        NoSigner("fiso model-key").sign(sha256(MESSAGE).digest())
