"""What a refusal says, whose record an invocation is, and what an issuer's loss does. Ways in: `tests/security`."""

import logging
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fiso.domain.access import AuthMode, SigningKey
from fiso.domain.errors import StoreUnavailable
from fiso.ports import IssuerKeys
from fiso.services.identity.access import KEYS_FRESH_S, KEYS_STALE_S, UNKNOWN_KEY_S, IssuerKeyCache
from fiso.settings import AccessSettings, OrchestratorSettings
from fiso.testing.clock import ManualClock
from fiso.testing.rig import SETTINGS, LambdaContext, Rig, http_event
from functions.orchestrator import handler
from functions.orchestrator.wiring import WITHOUT_ACCESS_LAYER
from localcloud.issuer.tokens import Signer
from tests import tokens
from tests.builders import NOW
from tests.edge import BY_IAM, problem_of, signed
from tests.security.attacks import CURVE, RSA
from tests.tokens import AUDIENCE, ISSUER, FixedKeys

BY_TOKEN = replace(SETTINGS, access=AccessSettings(mode=AuthMode.JWT, issuer=ISSUER, audiences=(AUDIENCE,)))


def a_rig(keys: IssuerKeys | None = None, settings: OrchestratorSettings = BY_TOKEN) -> Rig:
    return Rig(settings=settings, ports=lambda ports: replace(ports, issuer_keys=keys))


def test_a_missing_scope_is_named_with_the_challenge() -> None:
    rig = a_rig(FixedKeys.of(RSA))
    token = RSA.sign(tokens.payload(NOW, scope="fiso:read"))
    response = rig.send(http_event(authorization=f"Bearer {token}"))
    assert problem_of(response)["status"] == 403
    expected = 'Bearer realm="fiso", error="insufficient_scope", scope="fiso:invoke"'
    assert response["headers"]["www-authenticate"] == expected


@pytest.mark.parametrize(
    ("settings", "challenge"), [(BY_IAM, "AWS4-HMAC-SHA256"), (BY_TOKEN, 'Bearer realm="fiso"')], ids=["iam", "jwt"]
)
def test_a_401_says_how_to_authenticate(settings: OrchestratorSettings, challenge: str) -> None:
    rig = a_rig(FixedKeys.of(RSA), settings)
    response = rig.send(http_event())
    assert (response["statusCode"], response["headers"]["www-authenticate"]) == (401, challenge)
    assert ("CallersRefused", 1, {"status": "401"}) in rig.metrics.values


def test_the_tenant_of_a_signed_call_is_its_account() -> None:
    rig = Rig(settings=BY_IAM)
    rig.send(signed(http_event(x_tenant="mallory"), "123456789012"))
    assert rig.only_record.request.tenant == "123456789012"


def test_an_invocation_of_another_tenant_is_not_to_be_told_from_one_that_never_was() -> None:
    rig = Rig(settings=BY_IAM)
    id = rig.send(signed(http_event()))["headers"]["x-fiso-invocation-id"]
    mine, missing = (http_event(method="GET", path=f"/v1/invocations/{one}") for one in (id, "0" * 36))
    assert rig.send(signed(mine))["statusCode"] == 200
    other = problem_of(rig.send(signed(mine, "999988887777")))
    none = problem_of(rig.send(signed(missing, "999988887777")))
    assert other["status"] == none["status"] == 404
    assert other["detail"].replace(id, "") == none["detail"].replace("0" * 36, "")


class Issuer:
    """The port `IssuerKeys`: publishes what it is told to, counts its reads."""

    def __init__(self, *signers: Signer) -> None:
        self.published = FixedKeys.of(*signers).keys
        self.is_down = False
        self.reads = 0

    def read(self) -> Mapping[str, SigningKey]:
        self.reads += 1
        if self.is_down:
            raise StoreUnavailable("down")
        return self.published


def known_keys(issuer: Issuer, clock: ManualClock) -> IssuerKeyCache:
    return IssuerKeyCache(issuer, clock=clock, executor=ThreadPoolExecutor(max_workers=1))


def test_a_new_key_is_looked_for_once_a_minute_whoever_asks() -> None:
    issuer, clock = Issuer(RSA), ManualClock()
    keys = known_keys(issuer, clock)
    assert keys.find("k1") is not None
    clock.advance(2)
    assert [keys.find(f"made-up-{number}") for number in range(50)] == [None] * 50
    assert issuer.reads == 2
    issuer.published = FixedKeys.of(RSA, CURVE).keys
    clock.advance(UNKNOWN_KEY_S + 0.1)
    assert keys.find("k2") is not None
    assert issuer.reads == 3


def test_keys_are_refreshed_during_a_wait_and_served_stale_when_the_issuer_is_away() -> None:
    issuer, clock = Issuer(RSA), ManualClock()
    keys = known_keys(issuer, clock)
    assert keys.find("k1")
    issuer.published = FixedKeys.of(CURVE).keys
    clock.advance(KEYS_FRESH_S + 1)
    keys.refresh_in_background()
    keys.await_pending()
    assert keys.find("k1") is None  # withdrawn
    issuer.is_down = True
    clock.advance(100_000)
    assert keys.find("k2") is not None


def test_without_any_keys_nobody_is_let_in_and_it_is_said_that_this_is_not_the_callers_fault() -> None:
    issuer = Issuer(RSA)
    issuer.is_down = True
    rig = a_rig(issuer)
    response = rig.send(http_event(authorization=f"Bearer {RSA.sign(tokens.payload(NOW))}"))
    assert response["statusCode"] == 503
    assert rig.calls == []
    assert health_of_tokens(rig) == (503, "missing")
    issuer.is_down = False
    rig.clock.advance(2)
    response = rig.send(http_event(authorization=f"Bearer {RSA.sign(tokens.payload(NOW))}"))
    assert response["statusCode"] == 200
    assert health_of_tokens(rig) == (200, "ok")


def health_of_tokens(rig: Rig) -> tuple[int, str | None]:
    """The status of /healthz, and what it says of the checking of tokens."""
    answer = rig.request("GET", "/healthz")
    return answer.status, answer.document["parts"].get("tokens", {}).get("is")


def test_health_says_how_the_checking_of_tokens_is_where_there_is_any() -> None:
    issuer = Issuer(RSA)
    rig = a_rig(issuer)
    assert health_of_tokens(rig) == (200, "unread")
    shows = http_event(authorization=f"Bearer {RSA.sign(tokens.payload(NOW, exp=NOW.timestamp() + 1e5))}")
    assert rig.send(shows)["statusCode"] == 200
    issuer.is_down = True
    rig.clock.advance(KEYS_STALE_S + 1)
    assert rig.send(shows)["statusCode"] == 200
    assert health_of_tokens(rig) == (200, "stale")
    assert health_of_tokens(Rig(settings=BY_IAM)) == (200, None)


def test_without_what_checks_tokens_nobody_who_shows_one_is_let_in_and_the_log_says_once_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "fiso.adapters.identity.jwt_tokens", raising=False)
    rig = a_rig(Issuer(RSA))
    shows = http_event(authorization=f"Bearer {RSA.sign(tokens.payload(NOW))}")
    answers = [problem_of(rig.send(event)) for event in (shows, shows, http_event(authorization="Bearer x"))]
    assert [(answer["status"], answer["title"]) for answer in answers] == [(503, "Tokens not set up")] * 3
    assert rig.send(http_event())["statusCode"] == 401
    assert rig.calls == []
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "jwt" in line
    assert WITHOUT_ACCESS_LAYER in line
    assert health_of_tokens(rig) == (503, "missing")


@pytest.mark.parametrize("event", [[], "x", None, 7, {}, {"requestContext": [], "headers": 5, "rawPath": []}], ids=str)
def test_what_is_no_event_at_all_is_a_stranger(event: object, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(settings=BY_IAM)
    monkeypatch.setattr(handler, "application", lambda: rig.app)
    assert handler.lambda_handler(event, LambdaContext())["statusCode"] == 401
