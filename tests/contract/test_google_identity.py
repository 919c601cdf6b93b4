"""FISO's identity at Google: what is exchanged, what reaches the endpoint, and what happens when there is none."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from google.auth import _helpers as google_helpers
from google.auth import aws as google_aws
from google.auth.transport.requests import Request as GoogleRequest

from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.identity.credential_cache import RETRY_S
from fiso.adapters.identity.exchange import LAST_S, RENEWED_S
from fiso.adapters.identity.google_identity import GoogleIdTokens, audience_of, of_aws
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.settings import OrchestratorSettings
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryMetrics
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.transport import HttpTransport, TransportError
from functions.orchestrator.aws_ports import aws_ports
from tests.builders import a_request, an_endpoint
from tests.contract.google_services import (
    CREDENTIALS,
    IDENTITY,
    REGION,
    TARGET,
    Google,
    google,
    is_signed_by_the_role,
)
from tests.functional.lease_servers import serving


class Stopwatch:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport()) as used:
        yield used


@pytest.fixture
def services() -> Iterator[Google]:
    with google() as running:
        yield running


def now() -> datetime:
    return datetime.now(UTC)


def tokens_of(services: Google, transport: HttpTransport, stopwatch: Stopwatch | None = None) -> GoogleIdTokens:
    return GoogleIdTokens(
        IDENTITY,
        subject=of_aws(IDENTITY, CREDENTIALS, REGION, now),
        transport=transport,
        stopwatch=stopwatch or Stopwatch(),
        urls=services.urls,
    )


def protected(address: str = "https://thumbnails-abc-uk.a.run.app") -> Endpoint:
    return an_endpoint(Provider.GCP, address=address, authentication=Authentication.ID_TOKEN)


def failure_of(tokens: GoogleIdTokens, endpoint: Endpoint) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        tokens.headers(endpoint, timeout_s=2)
    return raised.value


def test_the_endpoint_gets_a_token_of_the_service_account_for_its_own_address(
    services: Google, transport: HttpTransport
) -> None:
    with serving(lambda _path, headers, _body: services.run(server.url, headers)) as server:
        caller = HttpCaller(
            transport,
            clock=ManualClock(),
            allow_loopback=True,
            identities={Authentication.ID_TOKEN: tokens_of(services, transport)},
        )
        answers = [caller.call(protected(server.url), a_request(), timeout_ms=5_000) for _ in range(3)]
        with pytest.raises(ProviderError) as refused:
            caller.call(an_endpoint(Provider.GCP, address=server.url), a_request(), timeout_ms=5_000)
    assert [answer.status for answer in answers] == [200] * 3
    assert services.called_by == [IDENTITY.service_account] * 3
    assert services.audiences == [server.url], "one token serves them all"
    assert refused.value.failure is Failure.REFUSED


def test_the_exchange_is_the_one_that_googles_own_library_makes(
    services: Google, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
        "AWS_SESSION_TOKEN": CREDENTIALS.token or "",
    }.items():
        monkeypatch.setenv(name, value)
    theirs = google_aws.Credentials(  # type: ignore[no-untyped-call]
        audience=IDENTITY.resource,
        subject_token_type="urn:ietf:params:aws:token-type:aws4_request",
        token_url=f"{services.urls.tokens}/v1/token",
        credential_source={
            "environment_id": "aws1",
            "regional_cred_verification_url": (
                "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
            ),
        },
        scopes=["https://www.googleapis.com/auth/cloud-platform"],
    )
    theirs.refresh(GoogleRequest())  # type: ignore[no-untyped-call]
    tokens_of(services, transport).headers(protected(), timeout_s=2)
    by_theirs, by_ours = services.exchanges
    subjects = [json.loads(unquote(asked.pop("subject_token"))) for asked in (by_theirs, by_ours)]
    assert by_ours == by_theirs
    assert [(subject["url"], subject["method"]) for subject in subjects] == [(subjects[0]["url"], "POST")] * 2
    assert len({frozenset(row["key"].lower() for row in subject["headers"]) for subject in subjects}) == 1


def test_the_signature_is_that_of_googles_own_library_with_the_target_signed_as_well(
    services: Google, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens_of(services, transport).headers(protected(), timeout_s=2)
    ours = json.loads(unquote(services.exchanges[0]["subject_token"]))
    headers = {row["key"]: row["value"] for row in ours["headers"]}
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 - the stamp is UTC by definition
    monkeypatch.setattr(google_helpers, "utcnow", lambda: at)
    theirs = google_aws.RequestSigner(REGION).get_request_options(  # type: ignore[no-untyped-call]
        google_aws.AwsSecurityCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.token),
        ours["url"],
        "POST",
        additional_headers={TARGET: IDENTITY.resource},
    )
    assert headers["authorization"] == theirs["headers"]["Authorization"]


def test_a_subject_token_for_one_provider_is_good_for_no_other(services: Google, transport: HttpTransport) -> None:
    tokens_of(services, transport).headers(protected(), timeout_s=2)
    (asked,) = services.exchanges
    assert is_signed_by_the_role(asked["subject_token"], IDENTITY.resource)
    other = asked["subject_token"].replace("fiso-prod", "somebody-elses")
    assert not is_signed_by_the_role(other, IDENTITY.resource.replace("fiso-prod", "somebody-elses"))


@pytest.mark.parametrize(
    ("address", "audience"),
    [
        ("https://thumbnails-abc-uk.a.run.app", "https://thumbnails-abc-uk.a.run.app"),
        ("https://thumbnails-abc-uk.a.run.app/small/", "https://thumbnails-abc-uk.a.run.app"),
        ("https://us-east4-p.cloudfunctions.net/thumbnails/", "https://us-east4-p.cloudfunctions.net/thumbnails"),
        ("https://us-east4-p.cloudfunctions.net/thumbnails/small", "https://us-east4-p.cloudfunctions.net/thumbnails"),
        ("https://us-east4-p.cloudfunctions.net", "https://us-east4-p.cloudfunctions.net"),
        ("https://cloudfunctions.net.example/thumbnails", "https://cloudfunctions.net.example"),
    ],
)
def test_a_token_is_for_the_function_it_is_sent_to(address: str, audience: str) -> None:
    assert audience_of(address) == audience


def test_a_token_is_renewed_before_it_ends_and_serves_while_google_is_away(
    services: Google, transport: HttpTransport
) -> None:
    stopwatch, endpoint = Stopwatch(), protected()
    tokens = tokens_of(services, transport, stopwatch)
    first = tokens.headers(endpoint, timeout_s=2)
    stopwatch.now = services.lifetime_s - RENEWED_S - 5
    assert tokens.headers(endpoint, timeout_s=2) == first
    services.refusal = (503, {}, b"")
    stopwatch.now += 10
    assert tokens.headers(endpoint, timeout_s=2) == first
    services.refusal = None
    assert tokens.headers(endpoint, timeout_s=2) == first, "a service that is away is not asked by every request"
    stopwatch.now += RETRY_S
    assert tokens.headers(endpoint, timeout_s=2) != first
    assert len(services.access_tokens) == 2


def test_no_token_is_used_in_its_last_minute(services: Google, transport: HttpTransport) -> None:
    stopwatch, endpoint = Stopwatch(), protected()
    tokens = tokens_of(services, transport, stopwatch)
    tokens.headers(endpoint, timeout_s=2)
    services.refusal = (503, {}, b"")
    stopwatch.now = services.lifetime_s - LAST_S
    assert failure_of(tokens, endpoint).failure is Failure.UNREACHABLE


def test_a_token_that_the_endpoint_does_not_take_is_made_again(services: Google, transport: HttpTransport) -> None:
    tokens, endpoint = tokens_of(services, transport), protected()
    first = tokens.headers(endpoint, timeout_s=2)
    second = tokens.replaced(endpoint, first, timeout_s=2)
    assert second not in (None, first)
    assert second is not None
    assert tokens.replaced(endpoint, second, timeout_s=2) is None, "once"
    assert tokens.replaced(endpoint, first, timeout_s=2) == second, "somebody was quicker"
    assert len(services.access_tokens) == 1, "the access token is none of the endpoint's business"


def test_an_access_token_that_is_not_taken_is_exchanged_again(services: Google, transport: HttpTransport) -> None:
    tokens = tokens_of(services, transport)
    tokens.headers(protected(), timeout_s=2)
    services.access_tokens.clear()
    assert tokens.headers(protected("https://other-abc-uk.a.run.app"), timeout_s=2)
    services.access_tokens.clear()
    assert failure_of(tokens, protected("https://third-abc-uk.a.run.app")).failure is Failure.REFUSED, "once"


@pytest.mark.parametrize(
    ("refusal", "failure", "said"),
    [
        ((400, {"error": "invalid_grant", "error_description": "SECRET"}), Failure.REFUSED, "400 invalid_grant"),
        ((403, {"error": {"status": "PERMISSION_DENIED", "message": "SECRET"}}), Failure.REFUSED, "PERMISSION_DENIED"),
        ((429, {}), Failure.UNREACHABLE, "429"),
        ((503, {}), Failure.UNREACHABLE, "503"),
        ((200, {}), Failure.UNREACHABLE, "no access_token"),
        ((200, {"access_token": "a b", "expires_in": 3600}), Failure.UNREACHABLE, "no access_token"),
        ((200, {"access_token": "a\r\nb: c", "expires_in": 3600}), Failure.UNREACHABLE, "no access_token"),
        ((200, {"access_token": "a", "expires_in": "soon"}), Failure.UNREACHABLE, "no expires_in"),
        ((200, []), Failure.UNREACHABLE, "no access_token"),
    ],
)
def test_without_a_token_the_endpoint_is_not_called_and_the_reason_is_told_without_what_google_said(
    services: Google, transport: HttpTransport, refusal: tuple[int, Any], failure: Failure, said: str
) -> None:
    status, document = refusal
    services.refusal = (status, {}, json.dumps(document).encode())
    error = failure_of(tokens_of(services, transport), protected())
    assert error.failure is failure
    assert said in error.detail
    assert "SECRET" not in error.detail


@pytest.mark.parametrize("token", ["", "one.two", "one.!.three", "a.bnVsbA.c", "a.e30.c", "a.é.c"])
def test_what_is_no_identity_token_is_not_sent(services: Google, transport: HttpTransport, token: str) -> None:
    def made_up(_path: str, _headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"token": token}).encode()

    with serving(made_up) as accounts:
        services.urls = type(services.urls)(tokens=services.urls.tokens, accounts=accounts.url)
        assert failure_of(tokens_of(services, transport), protected()).failure is Failure.UNREACHABLE


def test_a_google_that_is_away_makes_the_endpoint_unreachable(transport: HttpTransport) -> None:
    with google() as gone:
        pass
    assert failure_of(tokens_of(gone, transport), protected()).failure is Failure.UNREACHABLE


def test_a_stage_without_an_identity_does_not_call_who_asks_for_one(transport: HttpTransport) -> None:
    calls: list[str] = []

    def answer(path: str, _headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append(path)
        return 200, {}, b"ok"

    with serving(answer) as server:
        caller = HttpCaller(transport, clock=ManualClock(), allow_loopback=True)
        with pytest.raises(ProviderError) as refused:
            caller.call(protected(server.url), a_request(), timeout_ms=2_000)
    assert (refused.value.failure, calls) == (Failure.REFUSED, [])


STAGE = {
    "FISO_STAGE": "prod",
    "FISO_LOG_TABLE": "log",
    "FISO_STATE_TABLE": "state",
    "FISO_BUCKET": "bucket",
    "FISO_GATEWAY_HASHES": "a" * 64,
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
    "FISO_GOOGLE_PROVIDER": IDENTITY.provider,
    "FISO_GOOGLE_SERVICE_ACCOUNT": IDENTITY.service_account,
}


def test_a_stage_with_an_identity_asks_google_for_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def send(_self: HttpTransport, _method: str, url: str, **_: Any) -> None:
        asked.append(url)
        raise TransportError(Failure.UNREACHABLE, "nobody is there")

    monkeypatch.setattr(HttpTransport, "send", send)
    ports = aws_ports(OrchestratorSettings.from_environ(STAGE), STAGE, InMemoryMetrics())
    with pytest.raises(ProviderError):
        ports.caller.call(protected(), a_request(), timeout_ms=1_000)
    assert asked == ["https://sts.googleapis.com/v1/token"]
