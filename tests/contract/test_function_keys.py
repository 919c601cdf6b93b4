"""Function keys from Secrets Manager as the emulator speaks it, and what reaches the endpoint."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from fiso.adapters.aws.function_keys import FRESH_S, HEADER, KEPT_S, FunctionKeys
from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.identity.credential_cache import RETRY_S
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.testing.clock import ManualClock
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.transport import HttpTransport
from tests.builders import a_request, an_endpoint
from tests.emulator import aws, signed
from tests.functional.lease_servers import serving

HOST = "127.0.0.1"
KEY = "k3y-of-the-function"


@dataclass
class Stopwatch:
    """Seconds that pass when told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Vault:
    """Secrets Manager, and how an operator writes to it."""

    url: str
    client: Any
    count: int = 0

    def holding(self, text: str) -> str:
        """A new secret's name."""
        self.count += 1
        name = f"fiso/test/function-key-{self.count}"
        self.client.create_secret(Name=name, SecretString=text)
        return name


@pytest.fixture(scope="module")
def vault(emulator_url: str) -> Iterator[Vault]:
    with closing(aws("secretsmanager", emulator_url)) as client:
        yield Vault(url=emulator_url, client=client)


service = partial(signed, "secretsmanager")


def secured(reference: str, address: str = f"http://{HOST}:1") -> Endpoint:
    return an_endpoint(
        Provider.AZURE, address=address, authentication=Authentication.FUNCTION_KEY, secret_ref=reference
    )


def failure_of(keys: FunctionKeys, endpoint: Endpoint) -> Failure:
    with pytest.raises(ProviderError) as raised:
        keys.headers(endpoint, timeout_s=2)
    assert KEY not in str(raised.value)
    return raised.value.failure


def test_the_key_goes_to_its_endpoint_in_the_header_and_not_in_the_address(
    vault: Vault, transport: HttpTransport
) -> None:
    reference = vault.holding(json.dumps({"host": HOST, "key": KEY}))
    seen: list[tuple[str, str | None]] = []

    def answer(path: str, headers: Any, _body: bytes) -> tuple[int, dict[str, str], bytes]:
        seen.append((path, headers.get(HEADER)))
        return 200, {}, b"ok"

    keys = FunctionKeys(service(vault.url, transport))
    with serving(answer) as server:
        caller = HttpCaller(
            transport, clock=ManualClock(), allow_loopback=True, identities={Authentication.FUNCTION_KEY: keys}
        )
        caller.call(secured(reference, server.url), a_request(), timeout_ms=2_000)
        caller.call(an_endpoint(Provider.AZURE, address=server.url), a_request(), timeout_ms=2_000)
    assert [key for _, key in seen] == [KEY, None]
    assert not any(KEY in path or "code" in path for path, _ in seen)


def test_a_key_is_never_sent_to_another_host(vault: Vault, transport: HttpTransport) -> None:
    reference = vault.holding(json.dumps({"host": "orders.azurewebsites.net", "key": KEY}))
    keys = FunctionKeys(service(vault.url, transport))
    assert keys.headers(secured(reference, "https://orders.azurewebsites.net/api"), timeout_s=2) == {HEADER: KEY}
    assert failure_of(keys, secured(reference, "https://evil.azurewebsites.net/api")) is Failure.REFUSED


@pytest.mark.parametrize(
    "text", ["", KEY, "[]", '{"host": "127.0.0.1"}', '{"host": "127.0.0.1", "key": "a\\r\\nb: c"}', '"text"', "null"]
)
def test_what_is_no_key_makes_the_endpoint_unreachable(vault: Vault, transport: HttpTransport, text: str) -> None:
    reference = vault.holding(text or " ")
    assert failure_of(FunctionKeys(service(vault.url, transport)), secured(reference)) is Failure.UNREACHABLE


def test_a_secret_that_is_not_there_and_a_store_that_is_away_make_it_unreachable(
    vault: Vault, transport: HttpTransport
) -> None:
    assert failure_of(FunctionKeys(service(vault.url, transport)), secured("nowhere")) is Failure.UNREACHABLE
    away = FunctionKeys(service("http://127.0.0.1:9", transport))
    assert failure_of(away, secured("any")) is Failure.UNREACHABLE


def test_a_key_is_kept_for_five_minutes_at_most(vault: Vault, transport: HttpTransport) -> None:
    reference, stopwatch = vault.holding(json.dumps({"host": HOST, "key": KEY})), Stopwatch()
    keys, endpoint = FunctionKeys(service(vault.url, transport), stopwatch=stopwatch), secured(reference)
    assert keys.headers(endpoint, timeout_s=2) == {HEADER: KEY}
    vault.client.put_secret_value(SecretId=reference, SecretString=json.dumps({"host": HOST, "key": "rotated-key"}))
    stopwatch.now = FRESH_S - 1
    assert keys.headers(endpoint, timeout_s=2) == {HEADER: KEY}
    stopwatch.now = FRESH_S
    assert keys.headers(endpoint, timeout_s=2) == {HEADER: "rotated-key"}
    vault.client.delete_secret(SecretId=reference, ForceDeleteWithoutRecovery=True)
    stopwatch.now += KEPT_S - 1
    assert keys.headers(endpoint, timeout_s=2) == {HEADER: "rotated-key"}
    stopwatch.now += 1
    assert failure_of(keys, endpoint) is Failure.UNREACHABLE


def test_a_key_that_was_rotated_costs_no_request(vault: Vault, transport: HttpTransport) -> None:
    reference, stopwatch, calls = vault.holding(json.dumps({"host": HOST, "key": KEY})), Stopwatch(), list[str]()
    keys = FunctionKeys(service(vault.url, transport), stopwatch=stopwatch)

    def answer(_path: str, headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append(headers[HEADER])
        return 401 if headers[HEADER] == KEY else 200, {}, b""

    with serving(answer) as server:
        identities = {Authentication.FUNCTION_KEY: keys}
        caller = HttpCaller(transport, clock=ManualClock(), allow_loopback=True, identities=identities)
        endpoint = secured(reference, server.url)
        with pytest.raises(ProviderError):
            caller.call(endpoint, a_request(), timeout_ms=2_000)
        assert calls == [KEY], "the secret holds no other"
        vault.client.put_secret_value(SecretId=reference, SecretString=json.dumps({"host": HOST, "key": "rotated-key"}))
        stopwatch.now += RETRY_S
        assert caller.call(endpoint, a_request(), timeout_ms=2_000).status == 200
    assert calls == [KEY, KEY, "rotated-key"]
