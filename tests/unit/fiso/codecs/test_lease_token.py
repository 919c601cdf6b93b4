import base64
from dataclasses import replace
from datetime import timedelta

import pytest

from fiso.codecs.lease_token import LARGEST_TOKEN, Keyring, LeaseKey, seal, unseal
from fiso.domain.decision import Exclusion
from fiso.domain.endpoint import EndpointId
from fiso.domain.errors import LeaseRefused, LeaseTooLarge
from tests.builders import a_lease, a_leased_endpoint, a_summary

OLD, NEW = f"k1:{'a' * 32}", f"k2:{'b' * 32}"
RING = Keyring.parsed(OLD)
TOKEN = seal(a_lease(), RING)


def refusal(token: str, ring: Keyring = RING) -> str:
    with pytest.raises(LeaseRefused) as caught:
        unseal(token, ring)
    return caught.value.code


def test_a_key_of_the_same_name_is_not_enough() -> None:
    assert refusal(TOKEN, Keyring.parsed(f"k1:{'c' * 32}")) == "bad_signature"


def test_after_a_rotation_the_new_key_signs_and_the_old_one_verifies() -> None:
    rotated = Keyring.parsed(f"{NEW} {OLD}")
    assert unseal(TOKEN, rotated) == a_lease()
    assert seal(a_lease(), rotated).split(".")[1] == "k2"


def test_a_key_that_was_taken_away_verifies_nothing() -> None:
    assert refusal(TOKEN, Keyring.parsed(NEW)) == "unknown_key"


@pytest.mark.parametrize(
    "token",
    ["", ".", "...", TOKEN[:-1], TOKEN[:40], TOKEN.rpartition(".")[0], TOKEN + "=", TOKEN + ".x", "fl2" + TOKEN[3:]],
)
def test_what_is_cut_or_extended_is_refused(token: str) -> None:
    assert refusal(token) in {"malformed", "bad_signature"}


@pytest.mark.parametrize("token", ["x" * (LARGEST_TOKEN + 1), "fl1.k1.\ud800.x", "fl1.k1.é.x"])
def test_giants_and_foreign_characters_are_refused_before_any_work(token: str) -> None:
    assert refusal(token) == "malformed"


def test_what_we_signed_in_another_shape_is_unreadable() -> None:
    key = RING.newest
    from fiso.codecs import lease_token

    signed = f"fl1.{key.id}.{base64.urlsafe_b64encode(b'[]').decode().rstrip('=')}"
    assert refusal(f"{signed}.{lease_token._signature(signed, key)}") == "unreadable"


def test_five_long_names_with_thirty_others_and_exclusions_fit() -> None:
    endpoints = tuple(
        replace(a_leased_endpoint(), summary=a_summary("aws-us-east-1-1024-" + str(number), latency_ms=1 / 3))
        for number in range(5)
    )
    others = tuple(a_summary(f"gcp-europe-west1-2048-{number}", score=1 / 3) for number in range(25))
    left_out = tuple(Exclusion(endpoint=EndpointId("azure"), code="residency", detail="x" * 120) for _ in range(8))
    assert len(seal(a_lease(endpoints=endpoints, others=others, exclusions=left_out), RING)) < LARGEST_TOKEN


def test_a_lease_that_would_not_fit_is_refused_with_the_way_out() -> None:
    others = tuple(a_summary(f"endpoint-with-a-long-name-{number}") for number in range(200))
    with pytest.raises(LeaseTooLarge, match="invoke it instead"):
        seal(a_lease(others=others), RING)


@pytest.mark.parametrize("text", ["", "k1", "k1:short", f"{OLD} {OLD}", f"K!:{'a' * 32}", " ".join([OLD] * 9)])
def test_keys_that_are_weak_or_ambiguous_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        Keyring.parsed(text)
    assert "a" * 32 not in str(caught.value)


def test_a_secret_shows_nowhere() -> None:
    assert "s" * 32 not in repr(Keyring(keys=(LeaseKey(id="k1", secret=b"s" * 32),)))


def test_a_lease_of_no_endpoint_or_no_term_cannot_be_built() -> None:
    lease = a_lease()
    with pytest.raises(ValueError, match="endpoints"):
        replace(lease, endpoints=())
    with pytest.raises(ValueError, match="expires"):
        replace(lease, expires_at=lease.issued_at - timedelta(seconds=1))
