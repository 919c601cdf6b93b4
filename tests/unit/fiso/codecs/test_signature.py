"""Verification beside a library's, and forgeries that other verifiers have fallen for."""

from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from fiso.codecs import signature
from fiso.codecs.signature import DIGEST_INFO, PublicKey, encoded, is_signed, key_id

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NUMBERS = PRIVATE.private_numbers()
MODULUS = NUMBERS.public_numbers.n
KEY = PublicKey(id=key_id(MODULUS), modulus=MODULUS)
MESSAGE = b'{"version":"m-1"}'
GOOD = PRIVATE.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())


def raised(block: bytes) -> bytes:
    """What the owner of the key would have to sign for this block to come out."""
    return pow(int.from_bytes(block, "big"), NUMBERS.d, MODULUS).to_bytes(KEY.size, "big")


@given(st.binary(max_size=300))
def test_accepts_what_a_library_signed(message: bytes) -> None:
    assert is_signed(message, PRIVATE.sign(message, padding.PKCS1v15(), hashes.SHA256()), KEY)


@given(st.integers(0, 8 * 256 - 1))
def test_no_flipped_bit_of_a_signature_is_accepted(bit: int) -> None:
    flipped = bytearray(GOOD)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not is_signed(MESSAGE, bytes(flipped), KEY)


def blocks() -> dict[str, bytes]:
    digest, size = sha256(MESSAGE).digest(), KEY.size
    whole = encoded(MESSAGE, size)
    short = b"\x00\x01" + b"\xff" * 8 + b"\x00" + DIGEST_INFO + digest
    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest
    return {
        "padding cut short, rubbish behind (Bleichenbacher 2006)": short + b"\x00" * (size - len(short)),
        "padding of type 2": b"\x00\x02" + whole[2:],
        "a padding byte that is not ff": whole[:10] + b"\xfe" + whole[11:],
        "no separator": whole[: size - 52] + b"\xff" + whole[size - 51 :],
        "an algorithm without its NULL": b"\x00\x01"
        + b"\xff" * (size - len(without_null) - 3)
        + b"\x00"
        + without_null,
        "the digest alone": b"\x00\x01" + b"\xff" * (size - 35) + b"\x00" + digest,
        "the digest of something else": encoded(b"other", size),
    }


@pytest.mark.parametrize("block", blocks().values(), ids=blocks().keys())
def test_a_block_that_is_not_exactly_the_encoding_is_refused_even_when_the_key_signed_it(block: bytes) -> None:
    assert not is_signed(MESSAGE, raised(block), KEY)


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\x00",
        bytes(KEY.size),
        (1).to_bytes(KEY.size, "big"),
        (MODULUS - 1).to_bytes(KEY.size, "big"),
        MODULUS.to_bytes(KEY.size, "big"),
        b"\xff" * KEY.size,
        PRIVATE.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        PRIVATE.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA512()),
    ],
)
def test_other_lengths_numbers_and_schemes_are_refused(forged: bytes) -> None:
    assert not is_signed(MESSAGE, forged, KEY)


def test_a_signature_plus_the_modulus_is_not_the_signature() -> None:
    number = int.from_bytes(GOOD, "big") + MODULUS
    if number.bit_length() <= 8 * KEY.size:
        assert not is_signed(MESSAGE, number.to_bytes(KEY.size, "big"), KEY)
    assert is_signed(MESSAGE, GOOD, KEY)


@pytest.mark.parametrize("modulus", [0, 15, 2**1024 + 1, 2**2048, 2**5000 + 1])
def test_weak_and_impossible_keys_cannot_be_built(modulus: int) -> None:
    with pytest.raises(ValueError, match="modulus"):
        PublicKey(id="k", modulus=modulus)


def test_keys_come_back_from_a_setting_by_ids_that_follow_from_them() -> None:
    assert signature.parsed(f" {signature.text_of(MODULUS)}  ") == {KEY.id: KEY}
    assert signature.parsed("") == {}


@pytest.mark.parametrize("words", ["AQAB", "no/base64url", "a" * 400, "é"])
def test_a_setting_that_is_no_set_of_keys_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"modulus|base64url|ASCII|non-"):
        signature.parsed(words)


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{}]}', '{"keys": [{"n": "AQAB"}]}'])
def test_a_file_that_is_no_set_of_keys_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011 - whichever part is missing says so
        signature.from_file(tmp_path / "keys.json")


def test_a_missing_file_trusts_nobody(tmp_path: Path) -> None:
    assert signature.from_file(tmp_path / "keys.json") == {}
