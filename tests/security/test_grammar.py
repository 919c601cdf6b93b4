"""Can a field of an endpoint, a lease or a setting lead a signed call, a session token or a body anywhere but to the
provider's own host? Each is put where somebody could write it past the command line, and read where FISO reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.aws.snapshots import CheckedSnapshots, KnownHosts
from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.domain.access import Claims
from fiso.domain.address import AddressRules
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.request import TenantId
from fiso.routing.constraints import eligible
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemorySnapshots
from fiso_cli.catalog import declaration
from fiso_client.api import FisoRefused
from fiso_client.aws import LambdaFunctions, public_address, signed
from fiso_client.calling import Request, speaks_http
from fiso_client.client import Client, Options
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService, public_url
from fiso_client.core.transport import HttpTransport
from fiso_client.target import Target, held_from
from tests.builders import a_request, a_snapshot, an_endpoint, an_entry

KEYS = Credentials(access_key="AKIA", secret_key="s", token="session-token")
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
REGIONS = (
    "attacker.test:8443/",
    "attacker.test/",
    "attacker.test#",
    "attacker.test?",
    "attacker.test\\",
    "us-east-1.attacker.test",
    "us-east-1@attacker.test",
    "@attacker.test/",
    "us-east-1/../x",
    "us-east-1%2eattacker.test",
    "us-east-1%00",
    "us-east-1\r\nhost: attacker.test",
    "us-east-1\n",
    " us-east-1",
    "us-east-1\t",
    "us-east-1.",
    ".",
    "..",
    "-us-east-1",
    "us-east-1-",
    "US-EAST-1",
    "us_east_1",
    "us-east-1\u3002attacker",
    "us-east-1\uff0eattacker",
    "us-east-1\uff61attacker",
    "\uff55\uff53-east-1",
    "us-east-1\u200b",
    "us-east-1\u00ad",
    "us-east-\u0661",
    "1.2.3.4",
    "[::1]",
    "a" * 64,
    "a" * 10_000,
    "",
)
NAMES = ("../x", "a/b", "a b", "A", "#catalog", "folded#1", "", "a\r\nx: y", "a\u2028", "a" * 64, "\uff41", "a.", "-a")
PATHS = (
    "@attacker.test/",
    ".attacker.test/",
    ":8443/",
    "/..",
    "/a/../b",
    "/a\r\nb",
    "?x=",
    "#x",
    "/a%2e%2e/",
    "/\u2024.",
)
SECRETS = ("a b", "a\r\nb", "\u2024", "a" * 3_000, "", "a?b", "a#b")


@dataclass
class Wire(HttpTransport):
    """A transport that sends nothing: where each call would have gone."""

    hosts: list[str | None] = field(default_factory=list)

    def __init__(self) -> None:
        self.hosts = []

    def send(self, method: str, url: str, **_: Any) -> HttpAnswer:
        self.hosts.append(urlsplit(url).hostname)
        return HttpAnswer(status=200, headers={}, body=b"{}")

    def close(self) -> None:
        """Nothing is open."""


def router_over(wire: Wire) -> LambdaCaller:
    def service(region: str) -> SignedService:
        endpoint = AwsEndpoint.from_environ("lambda", {"AWS_REGION": "us-east-1"}, region=region)
        return SignedService(endpoint=endpoint, credentials=KEYS, transport=wire, clock=ManualClock())

    return LambdaCaller(service, clock=ManualClock())


def read(endpoint: Endpoint, **entry: Any) -> Mapping[EndpointId, str]:
    """What is refused of a catalog that holds this endpoint beside a good one, once its bytes were read."""
    good = an_endpoint(id=EndpointId("good"), address=ARN)
    written = replace(an_entry(endpoint, good), **entry)
    snapshot = snapshot_from_json(snapshot_to_json(a_snapshot(written)))
    (found,) = snapshot.functions.values()
    return found.refused


@pytest.mark.parametrize("region", REGIONS, ids=ascii)
def test_a_region_leads_no_call_of_the_router_anywhere(region: str) -> None:
    wire = Wire()
    with pytest.raises(ProviderError) as error:
        router_over(wire).call(an_endpoint(region=region, address="f"), a_request(), timeout_ms=1000)
    assert (error.value.failure, wire.hosts) == (Failure.REFUSED, [])


@pytest.mark.parametrize("region", REGIONS, ids=ascii)
def test_a_region_leads_no_call_of_the_client_anywhere(region: str) -> None:
    wire = Wire()
    functions = LambdaFunctions(lambda: KEYS, transport=wire)
    target = Target(id="aws", provider="aws", address="f", region="us-east-1")
    object.__setattr__(target, "region", region)  # as if nobody had looked when it was made
    with pytest.raises(ProviderError) as error:
        functions(target, Request(), timeout_s=1)
    assert (error.value.failure, wire.hosts) == (Failure.REFUSED, [])


@pytest.mark.parametrize("region", REGIONS, ids=ascii)
def test_no_host_is_put_together_of_it(region: str) -> None:
    for make in (
        lambda: public_url("lambda", region),
        lambda: public_address(region),
        lambda: signed(lambda: KEYS, region),
    ):
        with pytest.raises(ValueError, match="no service of AWS"):
            make()
    with pytest.raises(ValueError, match="no service of AWS"):
        AwsEndpoint.from_environ("lambda", {"AWS_REGION": region or " ", "AWS_DEFAULT_REGION": "x"})


@pytest.mark.parametrize("service", ["attacker.test/", "s3.attacker", "", "S3", "s3@x", "s3\n", "s3\u3002x"], ids=ascii)
def test_nor_of_a_service(service: str) -> None:
    with pytest.raises(ValueError, match="no service of AWS"):
        public_url(service, "us-east-1")


@given(st.text(), st.text())
def test_every_host_that_is_put_together_is_of_aws_and_a_url_says_the_same(service: str, region: str) -> None:
    try:
        url = public_url(service, region)
    except ValueError:
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", parts.hostname, "")
    assert parts.netloc == f"{service}.{region}.{parts.netloc.split('.', 2)[2]}"


@pytest.mark.parametrize("provider", Provider)
@pytest.mark.parametrize("region", REGIONS, ids=ascii)
def test_a_catalog_that_names_it_is_read_without_that_endpoint(provider: Provider, region: str) -> None:
    bad = an_endpoint(provider, id=EndpointId("bad"), region=region)
    assert [*read(bad)] == ["bad"]


@pytest.mark.parametrize(
    "changes",
    [
        *({"id": EndpointId(name)} for name in NAMES),
        *({"path": path} for path in PATHS),
        *({"secret_ref": secret} for secret in SECRETS),
    ],
    ids=ascii,
)
def test_so_it_is_with_every_field_that_becomes_part_of_something(changes: dict[str, Any]) -> None:
    bad = an_endpoint(**({"id": EndpointId("bad")} | changes))
    assert [*read(bad)] == [bad.id]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_of_a_function_with_a_name_that_is_none_nothing_is_called(name: str) -> None:
    entry = replace(an_entry(an_endpoint(address=ARN)), name=FunctionName(name))
    snapshot = snapshot_from_json(snapshot_to_json(a_snapshot(entry, an_entry(name="good"))))
    assert not eligible(snapshot.functions[FunctionName(name)]).candidates
    assert eligible(snapshot.functions[FunctionName("good")]).candidates


def test_a_stages_own_check_keeps_what_was_refused_in_reading() -> None:
    stored, good = InMemorySnapshots(), an_endpoint(id=EndpointId("good"), address=ARN)
    stored.publish(a_snapshot(an_entry(good, an_endpoint(id=EndpointId("bad"), address="f", region=REGIONS[0]))))
    checked = CheckedSnapshots(stored, KnownHosts(AddressRules())).current()
    assert checked is not None
    (entry,) = checked.functions.values()
    assert [candidate.id for candidate in eligible(entry).candidates] == ["good"]


@pytest.mark.parametrize("region", [region for region in REGIONS if region], ids=ascii)
def test_a_file_that_declares_it_is_refused(region: str, tmp_path: Path) -> None:
    import json

    endpoint = {"id": "bad", "provider": "aws", "region": region, "memory_mb": 512, "address": "f"}
    file = tmp_path / "fiso.yaml"
    file.write_text(json.dumps({"version": 1, "functions": {"f": {"type": "text", "endpoints": [endpoint]}}}))
    with pytest.raises(declaration.InvalidDeclaration, match="region"):
        declaration.read(file, declaration.Setting(variables={}, is_local=False))


def lease_with(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "bad", "provider": "aws", "address": "f", "region": "us-east-1", "path": "", "payload": "http",
        "authentication": "iam", "secret_ref": None, "patience_ms": 1000,
    }  # fmt: skip
    return {
        "function": "f", "endpoints": [row | changes, row | {"id": "good"}], "token": "t", "expires_in_ms": 60_000,
        "idempotent": "no", "timeout_ms": 1000,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes", [*({"region": each} for each in REGIONS), *({"path": each} for each in PATHS)], ids=ascii
)
def test_a_lease_that_names_it_is_held_without_that_target(changes: dict[str, str]) -> None:
    held = held_from(lease_with(**changes), 0.0)
    assert [target.id for target in held.targets] == ["good"]


@pytest.mark.parametrize("region", [region for region in REGIONS if region], ids=ascii)
def test_a_clients_own_fallback_cannot_name_it(region: str) -> None:
    with pytest.raises(ValueError, match="region"):
        Target(id="a", provider="aws", address="f", region=region)


@pytest.mark.parametrize(
    "address",
    [
        "https://a.example@attacker.test/",
        "https://attacker.test#a.example",
        "https://attacker.test?a.example",
        "https://attacker.test\\@a.example/",
        "https://a.example\u3002attacker.test/",
        "https://a.example\uff0fattacker.test/",
        "https://a.example\r\nhost: attacker.test/",
        "https://a.example./",
        "https://a.example/../x",
        "https://a..example/",
        "https://-a.example/",
        "https://a.example:1:2/",
        "https://a.example:443 /",
        "https:///attacker.test/",
        "https:attacker.test",
        "//attacker.test/",
        "http://attacker.test/",
        "http://127.0.0.1.attacker.test/",
        "http://localhost@attacker.test/",
        "file:///etc/passwd",
        "https://" + "a" * 64 + ".example/",
        "https://a.example/" + "a" * 2_000,
    ],
    ids=ascii,
)
def test_a_client_sends_its_credentials_to_no_address_that_two_readers_take_apart_differently(address: str) -> None:
    assert not speaks_http(Target(id="a", provider="gcp", address=address))


@pytest.mark.parametrize(
    "address", ["https://a.example/x", "https://A.example:8443", "http://127.0.0.1:1/", "http://[::1]:1"]
)
def test_what_is_in_order_is_called(address: str) -> None:
    assert speaks_http(Target(id="a", provider="gcp", address=address))


@pytest.mark.parametrize("function", [*NAMES, "..", "."], ids=ascii)
def test_a_client_asks_fiso_for_no_function_that_is_none(function: str) -> None:
    with Client("http://127.0.0.1:1", options=Options(background=False)) as client, pytest.raises(FisoRefused):
        client.call(function, Request())


@pytest.mark.parametrize("tenant", ["", "a\nb", "a\x00", "a\u2028b", "\ud800", "a" * 257, "\r"], ids=ascii)
def test_no_caller_has_a_tenant_that_is_none(tenant: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        Claims(subject="s", tenant=TenantId(tenant), scopes=frozenset())
