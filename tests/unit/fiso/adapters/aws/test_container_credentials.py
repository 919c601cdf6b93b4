"""Credentials that end: renewed ahead, used while they hold, and never those of a snapshot."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from fiso.adapters.aws.container_credentials import ContainerCredentials, own_credentials
from fiso.testing.clock import ManualClock
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure, Fault
from fiso_client.core.signing import AwsEndpoint, Credentials, sign
from fiso_client.core.transport import HttpTransport, TransportError

ADDRESS = "http://127.0.0.1:9001/2021-05-17/credentials"
ENVIRON = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": ADDRESS, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a token"}
HOUR_S = 3600.0


class Provider(HttpTransport):
    """Numbers the keys that it gives out; `says` changes an answer."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock, self.given, self.asked = clock, 0, list[tuple[str, Mapping[str, str]]]()
        self.says: Callable[[dict[str, Any]], object] = lambda document: document
        self.is_away = False

    def send(self, method: str, url: str, **words: Any) -> HttpAnswer:
        self.asked.append((url, words["headers"]))
        if self.is_away:
            raise TransportError(Failure.UNREACHABLE, "away")
        self.given += 1
        ends_at = self.clock() + timedelta(seconds=HOUR_S)
        document = {
            "AccessKeyId": f"AK{self.given}",
            "SecretAccessKey": f"SK{self.given}",
            "Token": f"T{self.given}",
            "Expiration": ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return HttpAnswer(status=200, headers={}, body=json.dumps(self.says(document)).encode())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def provider(clock: ManualClock) -> Provider:
    return Provider(clock)


@pytest.fixture
def credentials(provider: Provider, clock: ManualClock) -> ContainerCredentials:
    return ContainerCredentials(ADDRESS, "a token", transport=provider, clock=clock, stopwatch=clock.ticks)


def test_they_are_asked_for_once_with_lambdas_token_and_renewed_before_they_end(
    credentials: ContainerCredentials, provider: Provider, clock: ManualClock
) -> None:
    assert [credentials().access_key for _ in range(3)] == ["AK1"] * 3
    assert provider.asked == [(ADDRESS, {"authorization": "a token"})]
    clock.advance(HOUR_S - 599)
    assert credentials() == Credentials(access_key="AK2", secret_key="SK2", token="T2")


@pytest.mark.parametrize(
    "ends_at", ["2036-12-01T10:00:00Z", "2036-12-01T10:00:00.123456Z", "2036-12-01T10:00:00+00:00"]
)
def test_their_end_is_read_in_each_of_amazons_forms(
    ends_at: str, credentials: ContainerCredentials, provider: Provider
) -> None:
    provider.says = lambda document: document | {"Expiration": ends_at}
    assert [credentials().access_key for _ in range(2)] == ["AK1"] * 2


def test_what_holds_is_used_while_none_can_be_had_and_not_to_its_last_moment(
    credentials: ContainerCredentials, provider: Provider, clock: ManualClock
) -> None:
    credentials()
    provider.is_away = True
    clock.advance(HOUR_S - 60)
    assert credentials().access_key == "AK1"
    clock.advance(50)
    with pytest.raises(TransportError):
        credentials()


def test_what_a_snapshot_held_is_asked_for_anew(credentials: ContainerCredentials) -> None:
    assert credentials().access_key == "AK1"
    credentials.forget()
    assert credentials().access_key == "AK2"


def test_a_request_is_signed_with_the_keys_of_its_moment(credentials: ContainerCredentials, clock: ManualClock) -> None:
    endpoint = AwsEndpoint(service="dynamodb", region="us-east-1", url="https://d")

    def signed() -> dict[str, str]:
        return sign("POST", endpoint.url, {}, "0" * 64, endpoint, credentials, clock())

    first = signed()
    clock.advance(HOUR_S)
    second = signed()
    assert ("AK1/" in first["authorization"], first["x-amz-security-token"]) == (True, "T1")
    assert ("AK2/" in second["authorization"], second["x-amz-security-token"]) == (True, "T2")


@pytest.mark.parametrize(
    "says",
    [
        lambda document: {},
        lambda document: [],
        lambda document: "x",
        lambda document: document | {"Expiration": "soon"},
        lambda document: document | {"Expiration": "2026-01-01T00:00:00"},
        lambda document: document | {"Expiration": None},
        lambda document: {"code": "AssumeRoleUnauthorizedAccess", "message": "secret"},
    ],
)
def test_what_are_no_credentials_is_fisos_own_fault_and_is_not_told_on(
    says: Callable[[dict[str, Any]], object], credentials: ContainerCredentials, provider: Provider
) -> None:
    provider.says = says
    with pytest.raises(TransportError) as caught:
        credentials()
    assert (caught.value.failure, caught.value.verdict) == (Failure.UNREACHABLE, Fault.FISO)
    assert "secret" not in str(caught.value)


def test_keys_of_the_environment_come_first(provider: Provider, clock: ManualClock) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_SESSION_TOKEN": "T"}
    found = own_credentials(ENVIRON | keys, transport=provider, clock=clock)
    assert found == Credentials(access_key="AK", secret_key="SK", token="T")
    assert isinstance(own_credentials(ENVIRON, transport=provider, clock=clock), ContainerCredentials)
    with pytest.raises(KeyError):
        own_credentials({}, transport=provider, clock=clock)
