"""An issuer's keys over HTTP, from servers that keep to the standard and ones that do not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fiso.adapters.identity.oidc import LARGEST_BYTES, OidcIssuerKeys, refuse_address, signing_keys
from fiso.domain.errors import StoreUnavailable
from fiso_client.core.transport import HttpTransport
from localcloud.issuer.tokens import Signer
from tests.functional.lease_servers import serving

RSA, CURVE = Signer.rsa("k1"), Signer.curve("k2")
KEYS = {"keys": [RSA.jwk, CURVE.jwk]}
HERE = "{here}"
CONFIGURATION = {"issuer": HERE, "jwks_uri": f"{HERE}/keys"}


@contextmanager
def issuing(configuration: object, keys: object, *, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """An issuer on loopback: its address and the paths it was asked for."""
    asked: list[str] = []

    def respond(path: str, _: dict[str, str], __: bytes) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        text = keys if path in ("/keys", "/elsewhere") else configuration
        body = (text if isinstance(text, str) else json.dumps(text)).replace(HERE, server.url).encode()
        return status if path == "/keys" else 200, {"location": "/elsewhere"}, body

    with serving(respond) as server:
        yield server.url, asked


@contextmanager
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport()
    try:
        yield made
    finally:
        made.close()


def test_keys_are_found_by_discovery() -> None:
    with issuing(CONFIGURATION, KEYS) as (here, asked), transport() as http:
        keys = OidcIssuerKeys(http, here, allow_loopback=True).read()
    assert {id: key.algorithm for id, key in keys.items()} == {"k1": "RS256", "k2": "ES256"}
    assert asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("configuration", "keys"),
    [
        ({"issuer": "https://other.example", "jwks_uri": f"{HERE}/keys"}, KEYS),
        ({"issuer": HERE}, KEYS),
        ({"issuer": HERE, "jwks_uri": "http://keys.example/keys"}, KEYS),
        ({"issuer": HERE, "jwks_uri": "file:///etc/passwd"}, KEYS),
        ([], KEYS),
        ("not JSON", KEYS),
        ("[" * 100_000, KEYS),
        (CONFIGURATION, {"keys": []}),
        (CONFIGURATION, {"keys": {}}),
        (CONFIGURATION, {"keys": [1, None, {"kid": 1}]}),
        (CONFIGURATION, {**KEYS, "x": "x" * LARGEST_BYTES}),
    ],
)
def test_what_is_not_a_sound_issuer_is_as_good_as_none(configuration: object, keys: object) -> None:
    with issuing(configuration, keys) as (here, _), transport() as http, pytest.raises(StoreUnavailable):
        OidcIssuerKeys(http, here, allow_loopback=True).read()


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 500])
def test_no_redirect_is_followed(status: int) -> None:
    with issuing(CONFIGURATION, KEYS, status=status) as (here, asked), transport() as http:
        keys = OidcIssuerKeys(http, here, allow_loopback=True)
        with pytest.raises(StoreUnavailable):
            keys.read()
    assert "/elsewhere" not in asked


def test_an_issuer_that_is_not_there_is_away() -> None:
    with transport() as http, pytest.raises(StoreUnavailable):
        OidcIssuerKeys(http, "http://127.0.0.1:1", allow_loopback=True).read()


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.attacker.example/keys",
        "http://127.0.0.1@attacker.example/keys",
        "https://user@issuer.example/keys",
        "https:///keys",
        "None",
        "https://issuer.example/ke ys\n",
    ],
)
def test_keys_are_read_over_https_or_loopback_only(url: str) -> None:
    with pytest.raises(StoreUnavailable):
        refuse_address(url, allow_loopback=True)


def test_loopback_is_for_the_local_stage_only() -> None:
    refuse_address("https://issuer.example/keys", allow_loopback=False)
    refuse_address("http://127.0.0.1:9/keys", allow_loopback=True)
    with pytest.raises(StoreUnavailable):
        refuse_address("http://127.0.0.1:9/keys", allow_loopback=False)


UNFIT = {
    "no id": {"kid": None},
    "an empty id": {"kid": ""},
    "an id of 257": {"kid": "x" * 257},
    "for encryption": {"use": "enc"},
    "a shared secret's algorithm": {"alg": "HS256"},
    "another kind's algorithm": {"alg": "ES256"},
    "a shared secret": {"kty": "oct", "k": "c2VjcmV0"},
    "a short modulus": {"n": RSA.jwk["n"][:100]},
    "a huge modulus": {"n": "A" * 9000},
    "no base64": {"n": "%"},
    "a number": {"n": 5},
}


@pytest.mark.parametrize("changes", UNFIT.values(), ids=UNFIT)
def test_a_key_that_must_not_verify_is_passed_over(changes: dict[str, Any]) -> None:
    assert signing_keys({"keys": [RSA.jwk | changes]}) == {}


def test_a_curve_that_is_not_p_256_is_passed_over() -> None:
    assert signing_keys({"keys": [CURVE.jwk | {"crv": "P-384"}, CURVE.jwk | {"crv": "secp256k1"}]}) == {}
