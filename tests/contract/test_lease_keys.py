"""The keys that sign leases: in memory, and in Parameter Store as the emulator speaks it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from fiso.adapters.aws.ssm import SsmLeaseKeys
from fiso.codecs.lease_token import Keyring
from fiso.domain.errors import LeasingNotSetUp, StoreUnavailable
from fiso.ports import LeaseKeys
from fiso.testing.memory import InMemoryLeaseKeys
from fiso_client.core.transport import HttpTransport
from tests.emulator import aws, signed

NAME = "/fiso/test/lease-keys"
TEXT = f"k2:{'b' * 64} k1:{'a' * 64}"


@dataclass(frozen=True)
class Kept:
    """One implementation, and how an operator sets its keys."""

    keys: LeaseKeys
    put: Callable[[str], object]
    forget: Callable[[], object]


@pytest.fixture(scope="module")
def stored(emulator_url: str) -> Iterator[Kept]:
    """In Parameter Store."""
    with closing(HttpTransport()) as transport, closing(aws("ssm", emulator_url)) as ssm:
        yield Kept(
            keys=SsmLeaseKeys(signed("ssm", emulator_url, transport), NAME),
            put=lambda text: ssm.put_parameter(Name=NAME, Value=text, Type="SecureString", Overwrite=True),
            forget=lambda: ssm.delete_parameters(Names=[NAME]),
        )


def in_memory() -> Kept:
    keys = InMemoryLeaseKeys(None)
    return Kept(
        keys=keys,
        put=lambda text: setattr(keys, "keys", Keyring.parsed(text)),
        forget=lambda: setattr(keys, "keys", None),
    )


@pytest.fixture(params=["memory", "parameter store"])
def kept(request: pytest.FixtureRequest) -> Kept:
    chosen: Kept = in_memory() if request.param == "memory" else request.getfixturevalue("stored")
    chosen.forget()
    return chosen


def test_without_keys_leasing_is_not_set_up(kept: Kept) -> None:
    with pytest.raises(LeasingNotSetUp):
        kept.keys.read()


def test_keys_are_read_as_they_are_now(kept: Kept) -> None:
    kept.put(TEXT)
    assert kept.keys.read() == Keyring.parsed(TEXT)
    kept.put(f"k3:{'c' * 64}")
    assert kept.keys.read().newest.id == "k3"


def test_keys_that_cannot_be_used_are_a_store_that_is_away_and_are_not_shown(stored: Kept) -> None:
    stored.put("k1:too-short")
    with pytest.raises(StoreUnavailable, match="no usable keys") as caught:
        stored.keys.read()
    assert "too-short" not in str(caught.value)


def test_nobody_there_is_a_store_that_is_away() -> None:
    with pytest.raises(StoreUnavailable):
        SsmLeaseKeys(signed("ssm", "http://127.0.0.1:9", HttpTransport()), NAME).read()
