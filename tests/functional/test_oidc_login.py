"""The issuer of a login over a transport that answers by a script: what is sent, and what each wrong answer becomes."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest

from fiso.adapters.identity.oidc_login import OidcLoginIssuer
from fiso.domain.errors import LoginRefused, StoreUnavailable
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure
from fiso_client.core.transport import HttpTransport, TransportError

NAME = "https://issuer.example"
CONFIGURATION = {
    "issuer": NAME,
    "authorization_endpoint": f"{NAME}/authorize",
    "token_endpoint": f"{NAME}/token",
    "jwks_uri": f"{NAME}/jwks",
}
TOKENS = {"id_token": "i", "access_token": "a"}


class ScriptedTransport(HttpTransport):
    """Answers discovery and the token endpoint, and keeps what was posted."""

    def __init__(self, token: HttpAnswer | TransportError, configuration: Mapping[str, Any] = CONFIGURATION) -> None:
        super().__init__()
        self._token, self._configuration = token, configuration
        self.posts: list[tuple[str, Mapping[str, str], bytes]] = []

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float) -> HttpAnswer:
        """One exchange."""
        if method == "GET":
            return answer(200, self._configuration)
        self.posts.append((url, headers, body))
        if isinstance(self._token, TransportError):
            raise self._token
        return self._token


def answer(status: int, document: object) -> HttpAnswer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HttpAnswer(status=status, headers={}, body=body)


def issuer(transport: HttpTransport, read_secret: Callable[[], str] | None = None) -> OidcLoginIssuer:
    return OidcLoginIssuer(
        transport=transport,
        name=NAME,
        client_id="c:1",
        redirect_uri="https://x/console/callback",
        read_secret=read_secret,
    )


def test_a_code_is_redeemed_with_its_verifier_and_the_same_address() -> None:
    transport = ScriptedTransport(answer(200, TOKENS))
    tokens = issuer(transport).redeem("code&1", code_verifier="v")
    assert (tokens.identity_token, tokens.access_token) == ("i", "a")
    ((url, headers, body),) = transport.posts
    assert url == f"{NAME}/token"
    assert "authorization" not in headers
    assert parse_qs(body.decode()) == {
        "grant_type": ["authorization_code"],
        "code": ["code&1"],
        "redirect_uri": ["https://x/console/callback"],
        "client_id": ["c:1"],
        "code_verifier": ["v"],
    }


def test_a_confidential_client_shows_its_secret_in_the_header_only() -> None:
    transport = ScriptedTransport(answer(200, TOKENS))
    issuer(transport, lambda: "s3:cret").redeem("code", code_verifier="v")
    ((_, headers, body),) = transport.posts
    shown = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
    assert shown == "c%3A1:s3%3Acret"
    assert b"cret" not in body


@pytest.mark.parametrize(
    "told",
    [
        answer(400, {"error": "invalid_grant"}),
        answer(401, {"error": "invalid_client"}),
        answer(200, {"access_token": "a"}),
        answer(200, {"id_token": "i"}),
        answer(200, {"id_token": 1, "access_token": "a"}),
        answer(200, {"id_token": "", "access_token": "a"}),
        answer(200, []),
        answer(200, b"<html>"),
        answer(200, b"[" * 100_000),
        answer(200, b"\xff"),
        answer(200, b'"' + b"x" * 200_000 + b'"'),
        answer(302, b""),
    ],
)
def test_an_answer_without_tokens_is_a_refusal(told: HttpAnswer) -> None:
    with pytest.raises(LoginRefused):
        issuer(ScriptedTransport(told)).redeem("code", code_verifier="v")


@pytest.mark.parametrize(
    "told", [answer(500, b""), answer(503, TOKENS), TransportError(Failure.TIMED_OUT, "no answer")]
)
def test_an_issuer_that_fails_is_away_and_the_code_is_not_sent_twice(told: HttpAnswer | TransportError) -> None:
    transport = ScriptedTransport(told)
    with pytest.raises(StoreUnavailable):
        issuer(transport).redeem("code", code_verifier="v")
    assert len(transport.posts) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"authorization_endpoint": "http://issuer.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "https://a@b.example/"},
    ],
)
def test_a_browser_is_sent_to_https_addresses_of_this_issuer_only(changes: Mapping[str, Any]) -> None:
    transport = ScriptedTransport(answer(200, TOKENS), {**CONFIGURATION, **changes})
    with pytest.raises(StoreUnavailable):
        issuer(transport).authorization_address()


def test_a_code_is_sent_over_https_only() -> None:
    transport = ScriptedTransport(answer(200, TOKENS), {**CONFIGURATION, "token_endpoint": "http://issuer.example/t"})
    with pytest.raises(StoreUnavailable):
        issuer(transport).redeem("code", code_verifier="v")
    assert transport.posts == []
