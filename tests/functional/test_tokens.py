"""The claims of a token, one by one. Forged tokens are tried at every door, in `tests/security/test_auth_bypass.py`."""

from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.domain.errors import NotAuthenticated
from fiso.testing.clock import ManualClock
from localcloud.issuer.tokens import Signer
from tests import tokens
from tests.builders import NOW
from tests.security.attacks import CURVE, GENUINE, RSA, STRANGER
from tests.tokens import AUDIENCE, ISSUER, FixedKeys

pytestmark = pytest.mark.usefixtures("each_door")

VERIFIER = JwtVerifier(FixedKeys.of(RSA, CURVE), issuer=ISSUER, audiences=[AUDIENCE], clock=ManualClock())


def at(seconds: int) -> int:
    return int((NOW + timedelta(seconds=seconds)).timestamp())


@pytest.mark.parametrize("signer", [RSA, CURVE])
def test_a_genuine_token_names_its_caller(signer: Signer) -> None:
    claims = VERIFIER.verify(signer.sign(tokens.payload(NOW, name="Alice", scope="fiso:read other")))
    assert (claims.subject, str(claims.tenant), set(claims.scopes)) == ("alice", "alice", {"fiso:read", "other"})
    assert claims.expires_at == NOW + timedelta(seconds=tokens.LIFETIME_S)
    assert claims.others == {"name": "Alice"}


def test_the_tenant_may_be_a_claim_of_its_own() -> None:
    keys = FixedKeys.of(RSA)
    verifier = JwtVerifier(keys, issuer=ISSUER, audiences=[AUDIENCE], clock=ManualClock(), tenant_claim="org")
    claims = verifier.verify(RSA.sign(tokens.payload(NOW, org="acme")))
    assert (claims.subject, claims.tenant) == ("alice", "acme")
    with pytest.raises(NotAuthenticated):
        verifier.verify(RSA.sign(tokens.payload(NOW)))


@pytest.mark.parametrize(
    "changes",
    [{"exp": at(-59)}, {"nbf": at(60)}, {"iat": at(60)}, {"aud": ["x", AUDIENCE]}, {"nbf": None, "iat": None}],
)
def test_what_a_clock_may_be_off_by_is_allowed(changes: dict[str, Any]) -> None:
    assert VERIFIER.verify(RSA.sign(tokens.payload(NOW, **changes))).subject == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": at(-60)},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e300},
        {"exp": float("nan")},
        {"nbf": at(61)},
        {"nbf": [1]},
        {"iat": at(61)},
        {"iss": "https://other.example"},
        {"iss": ISSUER + "/"},
        {"iss": [ISSUER]},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 257},
    ],
    ids=str,
)
def test_a_claim_that_is_wrong_is_refused(changes: dict[str, Any]) -> None:
    # the library's own encoder refuses some of these, so the payload goes under the signature by hand
    with pytest.raises(NotAuthenticated):
        VERIFIER.verify(signed_whatever_it_says(tokens.payload(NOW, **changes)))


def signed_whatever_it_says(claims: dict[str, Any]) -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    header = tokens._part({"alg": "RS256", "kid": RSA.id})
    signed = f"{header}.{tokens._part(claims)}"
    assert isinstance(RSA.private, rsa.RSAPrivateKey)
    return f"{signed}.{tokens._text(RSA.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def test_signing_by_hand_makes_tokens_that_pass() -> None:
    assert VERIFIER.verify(signed_whatever_it_says(GENUINE)).subject == "alice"


def test_a_refusal_says_nothing_of_its_reason_to_the_caller() -> None:
    told = set()
    for token in ("", STRANGER.sign(GENUINE), RSA.sign(tokens.payload(NOW, exp=at(-600)))):
        with pytest.raises(NotAuthenticated) as refused:
            VERIFIER.verify(token)
        told.add(str(refused.value))
    assert told == {"this needs an authenticated caller"}


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "a b"}, {"a", "b"}),
        ({"scp": ["a", 1, "b"]}, {"a", "b"}),
        ({"scope": None, "scp": "a"}, {"a"}),
        ({"scope": {"a": 1}}, set()),
        ({"scope": ""}, set()),
    ],
)
def test_scopes_are_words_or_a_list(claims: dict[str, Any], scopes: set[str]) -> None:
    from fiso.adapters.identity.jwt_tokens import scopes_of

    assert scopes_of(claims) == scopes
