"""FISO's identity at Entra: what is exchanged, what reaches the endpoint, and what happens when there is none."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientAssertionCredential
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from botocore.session import get_session

from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.identity.credential_cache import RETRY_S
from fiso.adapters.identity.entra_identity import ASSERTION_S, FOR_ENTRA, LOGIN, EntraTokens, of_aws
from fiso.adapters.identity.exchange import LAST_S, RENEWED_S
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.domain.identity import EntraIdentity, entra_audience
from fiso.settings import OrchestratorSettings
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryMetrics
from fiso_client.calling import HttpCaller as LeasedCaller
from fiso_client.calling import Request as LeasedRequest
from fiso_client.core.failures import Failure, Fault, ProviderError
from fiso_client.core.signing import AwsEndpoint, SignedService
from fiso_client.core.transport import HttpTransport, TransportError
from fiso_client.target import Target
from functions.orchestrator.aws_ports import aws_ports
from tests.builders import a_request, an_endpoint
from tests.contract.entra_services import IDENTITY, ROLE, Azure, aws_error, azure, entra_error
from tests.contract.google_services import CREDENTIALS, REGION
from tests.contract.test_google_identity import Stopwatch
from tests.functional.lease_servers import Server, serving

ADDRESS = "https://thumbnails-eastus.azurewebsites.net"


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport()) as used:
        yield used


@pytest.fixture
def services() -> Iterator[Azure]:
    with azure() as running:
        yield running


@pytest.fixture
def function(services: Azure) -> Iterator[Server]:
    """An Azure function that takes FISO's tokens for its own host."""
    with serving(lambda _path, headers, _body: services.run(server.url, headers)) as server:
        yield server


def tokens_of(services: Azure, transport: HttpTransport, stopwatch: Stopwatch | None = None) -> EntraTokens:
    sts = SignedService(
        endpoint=AwsEndpoint(service="sts", region=REGION, url=services.sts_url),
        credentials=CREDENTIALS,
        transport=transport,
        clock=lambda: datetime.now(UTC),
    )
    return EntraTokens(
        IDENTITY, word=of_aws(sts), transport=transport, stopwatch=stopwatch or Stopwatch(), login=services.login_url
    )


def protected(address: str = ADDRESS) -> Endpoint:
    return an_endpoint(Provider.AZURE, address=address, authentication=Authentication.ENTRA)


def calling(tokens: EntraTokens, transport: HttpTransport) -> HttpCaller:
    return HttpCaller(transport, clock=ManualClock(), allow_loopback=True, identities={Authentication.ENTRA: tokens})


def failure_of(tokens: EntraTokens, endpoint: Endpoint) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        tokens.headers(endpoint, timeout_s=2)
    return raised.value


def test_the_endpoint_gets_a_token_of_fisos_application_for_its_own_host(
    services: Azure, transport: HttpTransport, function: Server
) -> None:
    caller = calling(tokens_of(services, transport), transport)
    answers = [caller.call(protected(function.url), a_request(), timeout_ms=5_000) for _ in range(3)]
    with pytest.raises(ProviderError) as refused:
        caller.call(an_endpoint(Provider.AZURE, address=function.url), a_request(), timeout_ms=5_000)
    assert [answer.status for answer in answers] == [200] * 3
    assert services.called_by == [IDENTITY.client] * 3
    assert len(services.exchanges) == len(services.assertions) == 1, "one token serves them all"
    assert (refused.value.failure, refused.value.verdict) == (Failure.REFUSED, Fault.CONFIGURATION)


def test_what_is_asked_of_aws_is_what_its_own_sdk_asks(services: Azure, transport: HttpTransport) -> None:
    tokens_of(services, transport).headers(protected(), timeout_s=2)
    model: ServiceModel = get_session().get_service_model("sts")
    operation = model.operation_model("GetWebIdentityToken")
    asked = {"Audience": [FOR_ENTRA], "DurationSeconds": ASSERTION_S, "SigningAlgorithm": "RS256"}
    theirs = create_serializer("query").serialize_to_request(asked, operation)["body"]
    assert services.assertions == [{name: str(value) for name, value in theirs.items()}]
    limits = operation.input_shape.members["DurationSeconds"].metadata
    assert limits["min"] <= ASSERTION_S <= limits["max"]


class ToLoopback(RequestsTransport):  # type: ignore[misc]
    """Sends to a local Entra what Microsoft's own library sends to the real one."""

    def __init__(self, login_url: str) -> None:
        super().__init__()
        self._login_url = login_url

    def send(self, request: Any, **options: Any) -> Any:
        request.url = request.url.replace(LOGIN, self._login_url)
        return super().send(request, **options)


def test_the_exchange_is_the_one_that_microsofts_own_library_makes(services: Azure, transport: HttpTransport) -> None:
    tokens_of(services, transport).headers(protected(), timeout_s=2)
    (ours,) = services.exchanges
    services.exchanges.clear()
    with ClientAssertionCredential(
        IDENTITY.tenant,
        IDENTITY.client,
        lambda: ours["client_assertion"],
        transport=ToLoopback(services.login_url),
        disable_instance_discovery=True,
    ) as theirs:
        theirs.get_token(f"{entra_audience(IDENTITY.tenant, ADDRESS)}/.default")
    assert services.exchanges == [ours]


def test_aws_names_the_role_and_entra_the_host(services: Azure, transport: HttpTransport) -> None:
    endpoint = protected("https://Thumbnails-EastUS.azurewebsites.net/api")
    header = tokens_of(services, transport).headers(endpoint, timeout_s=2)["authorization"]
    (asked,) = services.exchanges
    options: Any = {"verify_signature": False}
    assertion = jwt.decode(asked["client_assertion"], options=options)
    assert (assertion["sub"], assertion["aud"]) == (ROLE, FOR_ENTRA)
    access = jwt.decode(header.removeprefix("Bearer "), options=options)
    assert access["aud"] == f"api://{IDENTITY.tenant}/thumbnails-eastus.azurewebsites.net"


def test_a_token_for_one_host_is_sent_to_no_other_and_good_at_no_other(
    services: Azure, transport: HttpTransport, function: Server
) -> None:
    tokens = tokens_of(services, transport)
    mine = tokens.headers(protected(function.url), timeout_s=2)
    assert tokens.headers(protected("https://evil.azurewebsites.net"), timeout_s=2) != mine
    assert services.run("https://evil.azurewebsites.net", dict(mine))[0] == 401


def test_an_application_whose_tokens_are_good_for_every_host_gets_none_sent(
    services: Azure, transport: HttpTransport
) -> None:
    services.token_version = 2
    error = failure_of(tokens_of(services, transport), protected())
    assert (error.failure, error.verdict) == (Failure.REFUSED, Fault.CONFIGURATION)
    assert "fiso trust azure --check" in error.detail


def test_a_host_that_nobody_entered_gets_no_token(services: Azure, transport: HttpTransport) -> None:
    services.knows_every_host = False
    error = failure_of(tokens_of(services, transport), protected())
    assert (error.failure, "AADSTS500011" in error.detail) == (Failure.REFUSED, True)


def test_a_revoked_token_is_replaced_once_and_the_request_answered(
    services: Azure, transport: HttpTransport, function: Server
) -> None:
    stopwatch = Stopwatch()
    tokens = tokens_of(services, transport, stopwatch)
    caller, endpoint = calling(tokens, transport), protected(function.url)
    caller.call(endpoint, a_request(), timeout_ms=5_000)
    for _ in range(2):
        stopwatch.now += RETRY_S
        services.revoked.add(tokens.headers(endpoint, timeout_s=2)["authorization"].removeprefix("Bearer "))
        assert caller.call(endpoint, a_request(), timeout_ms=5_000).status == 200
    assert len(services.exchanges) == 3


def test_an_app_that_takes_no_token_is_asked_twice_and_then_refused(services: Azure, transport: HttpTransport) -> None:
    calls: list[str] = []

    def refuse(_path: str, headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append(headers["authorization"])
        return services.run("https://another.example", headers)

    with serving(refuse) as server:
        caller = calling(tokens_of(services, transport), transport)
        for _ in range(3):
            with pytest.raises(ProviderError) as refused:
                caller.call(protected(server.url), a_request(), timeout_ms=5_000)
            assert refused.value.failure is Failure.REFUSED
    assert len(calls) == 4, "a second try of the first request, none of the others'"
    assert len(services.exchanges) == 2


def test_a_functions_own_401_is_its_answer(services: Azure, transport: HttpTransport) -> None:
    calls: list[str] = []

    def own(_path: str, headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append(headers["authorization"])
        return 401, {"content-type": "application/json"}, b'{"error": "who are you"}'

    with serving(own) as server:
        answer = calling(tokens_of(services, transport), transport).call(
            protected(server.url), a_request(), timeout_ms=5_000
        )
    assert (answer.status, len(calls)) == (401, 1)


def test_a_token_is_renewed_ahead_and_serves_while_entra_is_away(services: Azure, transport: HttpTransport) -> None:
    stopwatch, endpoint = Stopwatch(), protected()
    tokens = tokens_of(services, transport, stopwatch)
    first = tokens.headers(endpoint, timeout_s=2)
    stopwatch.now = services.lifetime_s - RENEWED_S - 1
    assert (tokens.headers(endpoint, timeout_s=2), tokens.due([endpoint])) == (first, [])
    services.entra_refusal = (503, {}, b"")
    stopwatch.now += 2
    assert len(tokens.due([endpoint])) == 1
    assert tokens.headers(endpoint, timeout_s=2) == first
    stopwatch.now = services.lifetime_s - LAST_S
    assert failure_of(tokens, endpoint).failure is Failure.UNREACHABLE
    services.entra_refusal = None
    stopwatch.now += 2
    assert tokens.headers(endpoint, timeout_s=2) != first
    assert len(services.assertions) == 3, "each that was shown was made in time"


@pytest.mark.parametrize("lifetime_s", [60, 300, 600, 3_599, 86_399])
def test_a_token_of_any_lifetime_serves_more_than_one_request(
    services: Azure, transport: HttpTransport, lifetime_s: int
) -> None:
    services.lifetime_s = lifetime_s
    stopwatch = Stopwatch()
    tokens = tokens_of(services, transport, stopwatch)
    first = tokens.headers(protected(), timeout_s=2)
    stopwatch.now = lifetime_s / 2 - 1
    assert tokens.headers(protected(), timeout_s=2) == first
    stopwatch.now = lifetime_s + 1
    assert tokens.headers(protected(), timeout_s=2) != first


def test_what_comes_first_is_fetched_before_anybody_asks_for_it(services: Azure, transport: HttpTransport) -> None:
    tokens = tokens_of(services, transport)
    for fetch in tokens.due(()):
        fetch()
    assert (len(services.assertions), tokens.due(())) == (1, [])
    tokens.headers(protected(), timeout_s=2)
    assert len(services.assertions) == 1
    assert tokens.due([an_endpoint(Provider.AZURE)]) == []
    tokens.forget()
    assert (len(tokens.due(())), len(tokens.due([protected()]))) == (1, 1)


def test_several_requests_at_once_make_one_exchange(services: Azure, transport: HttpTransport) -> None:
    tokens, got = tokens_of(services, transport), []
    threads = [
        threading.Thread(target=lambda: got.append(tokens.headers(protected(), timeout_s=5)["authorization"]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(set(got)), len(got), len(services.exchanges), len(services.assertions)) == (1, 8, 1, 1)


ENTRA_REFUSALS: list[tuple[Any, Failure, str]] = [
    (entra_error("invalid_client", 700213), Failure.REFUSED, "invalid_client AADSTS700213"),
    (entra_error("unauthorized_client", 700016), Failure.REFUSED, "AADSTS700016"),
    (entra_error("invalid_grant", 501051), Failure.REFUSED, "AADSTS501051"),
    (entra_error("temporarily_unavailable", 90033), Failure.UNREACHABLE, "AADSTS90033"),
    ((429, {"retry-after": "3"}, b""), Failure.UNREACHABLE, "429"),
    ((500, {}, b"<html>SECRET"), Failure.UNREACHABLE, "500"),
    ((302, {"location": "https://evil.example"}, b""), Failure.UNREACHABLE, "302"),
    ((200, {}, b"{}"), Failure.UNREACHABLE, "no access_token"),
    ((200, {}, b"[[["), Failure.UNREACHABLE, "no access_token"),
    ((200, {}, json.dumps({"access_token": "a\r\nb: c", "expires_in": 9}).encode()), Failure.UNREACHABLE, "no access"),
    ((200, {}, json.dumps({"access_token": "opaque", "expires_in": 9}).encode()), Failure.REFUSED, "not for api://"),
    (
        (200, {}, json.dumps({"access_token": "a.eyJhdWQiOlsieCJdfQ.c", "expires_in": 9}).encode()),
        Failure.REFUSED,
        "not for api://",
    ),
]
AWS_REFUSALS: list[tuple[Any, Failure, str]] = [
    (aws_error(403, "OutboundWebIdentityFederationDisabledException"), Failure.REFUSED, "run `fiso trust azure`"),
    (aws_error(403, "AccessDenied"), Failure.REFUSED, "AccessDenied"),
    (aws_error(403, "SignatureDoesNotMatch"), Failure.REFUSED, "SignatureDoesNotMatch"),
    (aws_error(400, "RequestExpired"), Failure.UNREACHABLE, "RequestExpired"),
    (aws_error(400, "ExpiredToken"), Failure.UNREACHABLE, "ExpiredToken"),
    (aws_error(400, "Throttling"), Failure.UNREACHABLE, "Throttling"),
    (aws_error(503, "ServiceUnavailable"), Failure.UNREACHABLE, "ServiceUnavailable"),
    ((200, {}, b"<html>SECRET</html>"), Failure.UNREACHABLE, "200"),
    ((200, {}, b"<WebIdentityToken>a b</WebIdentityToken>"), Failure.UNREACHABLE, "200"),
]


@pytest.mark.parametrize(
    ("where", "refusal", "failure", "said"),
    [*(("entra", *each) for each in ENTRA_REFUSALS), *(("aws", *each) for each in AWS_REFUSALS)],
)
def test_without_a_token_the_endpoint_is_not_called_and_the_reason_is_told(
    services: Azure, transport: HttpTransport, where: str, refusal: Any, failure: Failure, said: str
) -> None:
    if where == "entra":
        services.entra_refusal = refusal
    else:
        services.sts_refusal = refusal
    error = failure_of(tokens_of(services, transport), protected())
    assert error.failure is failure
    assert error.verdict is (Fault.CONFIGURATION if failure is Failure.REFUSED else Fault.NETWORK)
    assert said in error.detail
    assert "SECRET" not in error.detail


def test_services_that_are_away_make_the_endpoint_unreachable(services: Azure, transport: HttpTransport) -> None:
    with azure() as gone:
        pass
    assert failure_of(tokens_of(gone, transport), protected()).failure is Failure.UNREACHABLE
    services.login_url = gone.login_url
    assert failure_of(tokens_of(services, transport), protected()).failure is Failure.UNREACHABLE


def test_a_service_that_refuses_is_asked_once_a_second_and_not_once_a_request(
    services: Azure, transport: HttpTransport
) -> None:
    services.knows_every_host = False
    stopwatch = Stopwatch()
    tokens = tokens_of(services, transport, stopwatch)
    for _ in range(5):
        failure_of(tokens, protected())
    assert len(services.exchanges) == 1
    stopwatch.now += 1
    services.knows_every_host = True
    assert tokens.headers(protected(), timeout_s=2)


@pytest.mark.parametrize(
    ("tenant", "client"),
    [
        ("", IDENTITY.client),
        ("contoso.onmicrosoft.com", IDENTITY.client),
        ("common", IDENTITY.client),
        (IDENTITY.tenant, "../../evil"),
        (IDENTITY.tenant, IDENTITY.client + "\n"),
        (IDENTITY.tenant.replace("-", ""), IDENTITY.client),
    ],
)
def test_what_is_no_tenant_or_application_becomes_part_of_no_address(tenant: str, client: str) -> None:
    with pytest.raises(ValueError, match="must be an id"):
        EntraIdentity(tenant=tenant, client=client)


STAGE = {
    "FISO_STAGE": "prod",
    "FISO_LOG_TABLE": "log",
    "FISO_STATE_TABLE": "state",
    "FISO_BUCKET": "bucket",
    "FISO_GATEWAY_HASHES": "a" * 64,
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
    "FISO_AZURE_TENANT": IDENTITY.tenant.upper(),
    "FISO_AZURE_CLIENT": IDENTITY.client,
}


def test_a_stage_with_an_application_asks_its_own_region_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def send(_self: HttpTransport, _method: str, url: str, **sent: Any) -> None:
        asked.append((url, parse_qs(sent["body"].decode())["Action"]))
        raise TransportError(Failure.UNREACHABLE, "nobody is there")

    monkeypatch.setattr(HttpTransport, "send", send)
    ports = aws_ports(OrchestratorSettings.from_environ(STAGE), STAGE, InMemoryMetrics())
    with pytest.raises(ProviderError):
        ports.caller.call(protected(), a_request(), timeout_ms=1_000)
    assert asked == [("https://sts.eu-west-1.amazonaws.com/", ["GetWebIdentityToken"])]
    assert [len(each.due(())) for each in ports.tokens] == [1, 0]


def test_who_calls_by_a_lease_shows_a_token_of_its_own(services: Azure, function: Server) -> None:
    """A lease says that the copy asks for one, and holds none."""
    target = Target(id="azure", provider="azure", address=function.url, authentication=Authentication.ENTRA)
    token = services.access_token(entra_audience(IDENTITY.tenant, function.url))
    with closing(HttpTransport()) as used:
        own = LeasedCaller(used, lambda _: {"authorization": f"Bearer {token}"})
        assert own(target, LeasedRequest(body=b"{}"), timeout_s=2).status == 200
        with pytest.raises(ProviderError) as refused:
            LeasedCaller(used, lambda _: {})(target, LeasedRequest(body=b"{}"), timeout_s=2)
    assert refused.value.failure is Failure.REFUSED, "so the next target is tried"
