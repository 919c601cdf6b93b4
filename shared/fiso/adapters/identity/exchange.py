"""Exchanges: what services that give tokens are asked, and what of their answers is believed and told on."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso.domain.endpoint import Authentication, Endpoint
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.stopwatch import Stopwatch
from fiso_client.core.transport import HttpTransport, TransportError

EXCHANGE_TIMEOUT_S = 2.0
"""Of each exchange; in Google's first one it asks AWS in turn."""
AHEAD_TIMEOUT_S = 5.0
"""Of what is fetched beside a request, which waits no longer for it than it may."""
RENEWED_S, LAST_S = 600.0, 60.0
"""A token is renewed so long before it ends, and not used in its last minute; of a short one half, a quarter."""
LONGEST_S = 86_400.0
FAILED_S = 1.0
"""A service that gave no token is not asked again sooner: it would be asked for each request."""


class TokensByAudience:
    """Tokens for endpoints with one way of `authentication`, each good for one audience: what an endpoint is sent is of
    no use to whoever registered it.

    Kept in memory, renewed ahead, and replaced once where one is not taken.
    """

    authentication: Authentication
    header = "authorization"

    def __init__(self, *, transport: HttpTransport, stopwatch: Callable[[], float] | None) -> None:
        self._transport, self._stopwatch = transport, stopwatch or Stopwatch()
        self._tokens: CredentialCache[str] = CredentialCache(stopwatch=self._stopwatch, failed_s=FAILED_S)
        self._first: CredentialCache[str] = CredentialCache(stopwatch=self._stopwatch, failed_s=FAILED_S)
        """What comes before every token, whoever it is for."""

    def headers(self, endpoint: Endpoint, *, timeout_s: float) -> Mapping[str, str]:
        """What to send along. Without its token an endpoint is as good as away: `ProviderError`, and it never ran."""
        return {self.header: f"Bearer {self._get(self._audience_of(endpoint.address), timeout_s)}"}

    def replaced(self, endpoint: Endpoint, refused: Mapping[str, str], *, timeout_s: float) -> Mapping[str, str] | None:
        """What to send in place of what the endpoint did not take, once; None where that would be no other."""
        token = refused.get(self.header, "").removeprefix("Bearer ")
        if not self._tokens.replace(self._audience_of(endpoint.address), token):
            return None
        return self.headers(endpoint, timeout_s=timeout_s)

    def due(self, endpoints: Iterable[Endpoint]) -> Sequence[Callable[[], object]]:
        """What to fetch now for these endpoints, each beside the others. Without endpoints, what comes before any."""
        asking = [each for each in endpoints if each.authentication is self.authentication]
        audiences = {self._audience_of(each.address) for each in asking}
        if not audiences:
            is_due = self._tokens.is_empty and self._first.is_due(self._first_name)
            return [lambda: self._before(self._stopwatch() + AHEAD_TIMEOUT_S)] if is_due else []
        return [self._getting(audience) for audience in audiences if self._tokens.is_due(audience)]

    def forget(self) -> None:
        """Keep nothing: a snapshot of this process must hold no token."""
        self._tokens.forget()
        self._first.forget()

    _first_name = ""

    def _audience_of(self, address: str) -> str:
        raise NotImplementedError

    def _before(self, until_s: float) -> str:
        """What comes before every token, kept or fetched."""
        raise NotImplementedError

    def _token(self, audience: str, until_s: float) -> Expiring[str]:
        raise NotImplementedError

    def _get(self, audience: str, timeout_s: float) -> str:
        until_s = self._stopwatch() + timeout_s
        return self._tokens.get(audience, lambda: self._token(audience, until_s), within_s=timeout_s)

    def _getting(self, audience: str) -> Callable[[], object]:
        return lambda: self._get(audience, AHEAD_TIMEOUT_S)

    def _asked(self, url: str, headers: Mapping[str, str], body: bytes, until_s: float) -> dict[str, Any]:
        """A service's JSON object. What it said beside an error's code is not told on."""
        host, timeout_s = urlsplit(url).hostname, max(0.0, min(EXCHANGE_TIMEOUT_S, until_s - self._stopwatch()))
        try:
            answer = self._transport.send("POST", url, headers=headers, body=body, timeout_s=timeout_s)
        except TransportError as error:
            raise ProviderError(Failure.UNREACHABLE, f"{host} did not answer: {error.failure}") from error
        document = json_object(answer.body)
        if answer.status == 200:
            return document
        code = _code(document)
        raise ProviderError(
            failure_of(answer.status, code),
            f"{host} gave no token: status {answer.status}" + (f" {code}" if code else ""),
            status=answer.status,
        )


def failure_of(status: int, code: str = "") -> Failure:
    """Configuration, or somebody who cannot answer now (RFC 6749, 4.1.2.1 has a word for that)."""
    is_refusal = 400 <= status < 500 and status not in (408, 429) and "temporarily_unavailable" not in code
    return Failure.REFUSED if is_refusal else Failure.UNREACHABLE


def expiring(token: str, left_s: float) -> Expiring[str]:
    """A token that ends in `left_s`."""
    left_s = min(left_s, LONGEST_S)
    return Expiring(
        token, fresh_s=left_s - min(RENEWED_S, left_s / 2), usable_s=left_s - min(LAST_S, max(left_s, 0.0) / 4)
    )


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself; it comes from its issuer, and only who it is for has to verify it."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        return json_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}


def json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def text_in(document: Mapping[str, Any], name: str, whose: str) -> str:
    """What can stand in a header."""
    value = document.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value or " " in value:
        raise ProviderError(Failure.UNREACHABLE, f"{whose} answer holds no {name}")
    return value


def number_in(document: Mapping[str, Any], name: str, whose: str) -> float:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProviderError(Failure.UNREACHABLE, f"{whose} answer holds no {name}")
    return float(value)


def _code(document: Mapping[str, Any]) -> str:
    """The error's code: a word in OAuth's form (RFC 6749), the status in Google's own; of Entra's numbers the first."""
    error, numbers = document.get("error"), document.get("error_codes")
    code = error.get("status") if isinstance(error, dict) else error
    number = numbers[0] if isinstance(numbers, list) and numbers and isinstance(numbers[0], int) else None
    return (code[:50] if isinstance(code, str) else "") + ("" if number is None else f" AADSTS{number:d}")
