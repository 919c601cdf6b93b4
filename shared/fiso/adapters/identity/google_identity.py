"""Google's identity tokens: what identifies FISO to an endpoint with `authentication: id_token`. No key of Google's.

Lambda's own credentials prove who FISO is. A signed request for GetCallerIdentity, which Google's token service itself
sends to AWS, is exchanged for an access token (workload identity federation, google.aip.dev/auth/4117), with which a
service account signs an identity token for one audience: the endpoint's own address. Whoever registers an endpoint can
make no other use of what is sent there. Checked against Google's own library and a local host that speaks the wire
format, not against Google.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fiso.adapters.identity.credential_cache import CredentialCache, Expiring
from fiso.domain.endpoint import Authentication, Endpoint
from fiso.domain.identity import GoogleIdentity
from fiso.ports import Clock
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import AwsEndpoint, KeySource, public_url, sign
from fiso_client.core.stopwatch import Stopwatch
from fiso_client.core.transport import HttpTransport, TransportError

EXCHANGE_TIMEOUT_S = 2.0
"""Of each of the two exchanges; in the first one Google asks AWS in turn."""
RENEWED_S, LAST_S = 600.0, 60.0
"""A token is renewed so long before it ends, and not used in its last minute."""
LONGEST_S = 3_600.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_OAUTH = "urn:ietf:params:oauth"
_SIGNED_REQUEST = "urn:ietf:params:aws:token-type:aws4_request"
_ACCESS = "access token"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleUrls:
    tokens: str = "https://sts.googleapis.com"
    accounts: str = "https://iamcredentials.googleapis.com"


class GoogleIdTokens:
    """Identity tokens by audience, kept in memory until ten minutes before they end, an hour after they were made."""

    def __init__(
        self,
        identity: GoogleIdentity,
        *,
        credentials: KeySource,
        region: str,
        transport: HttpTransport,
        clock: Clock,
        stopwatch: Callable[[], float] | None = None,
        urls: GoogleUrls = GoogleUrls(),
    ) -> None:
        self._identity, self._credentials, self._region = identity, credentials, region
        self._transport, self._clock, self._stopwatch, self._urls = transport, clock, stopwatch or Stopwatch(), urls
        self._access: CredentialCache[str] = CredentialCache(stopwatch=self._stopwatch)
        self._tokens: CredentialCache[str] = CredentialCache(stopwatch=self._stopwatch)

    def headers(self, endpoint: Endpoint, *, timeout_s: float) -> Mapping[str, str]:
        """What to send along. Without its token an endpoint is as good as away: `ProviderError`, and it never ran."""
        if endpoint.authentication is not Authentication.ID_TOKEN:
            return {}
        audience, until_s = audience_of(endpoint.address), self._stopwatch() + timeout_s
        token = self._tokens.get(audience, lambda: self._identity_token(audience, until_s))
        return {"authorization": f"Bearer {token}"}

    def invalidate(self, endpoint: Endpoint) -> None:
        self._tokens.invalidate(audience_of(endpoint.address))

    def _identity_token(self, audience: str, until_s: float) -> Expiring[str]:
        access = self._access.get(_ACCESS, lambda: self._access_token(until_s))
        url = f"{self._urls.accounts}/v1/projects/-/serviceAccounts/{self._identity.service_account}:generateIdToken"
        headers = {"authorization": f"Bearer {access}", "content-type": "application/json"}
        body = json.dumps({"audience": audience, "includeEmail": True}).encode()
        token = _text(self._asked(url, headers, body, until_s), "token")
        return _expiring(token, _ends_at(token) - self._clock().timestamp())

    def _access_token(self, until_s: float) -> Expiring[str]:
        asked = {
            "grant_type": f"{_OAUTH}:grant-type:token-exchange",
            "audience": self._identity.resource,
            "scope": _SCOPE,
            "requested_token_type": f"{_OAUTH}:token-type:access_token",
            "subject_token": self._subject_token(),
            "subject_token_type": _SIGNED_REQUEST,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = self._asked(f"{self._urls.tokens}/v1/token", headers, urlencode(asked).encode(), until_s)
        return _expiring(_text(answer, "access_token"), _number(answer, "expires_in"))

    def _subject_token(self) -> str:
        """A request that says who signed it, for Google to send; good for this one provider of identities."""
        sts = AwsEndpoint(service="sts", region=self._region, url=public_url("sts", self._region))
        url = f"{sts.url}?Action=GetCallerIdentity&Version=2011-06-15"
        # Among the signed headers, so that nobody who sees the request can use it at another provider of identities
        # (docs/decisions/0016-who-fiso-is-to-google.md).
        for_whom = {"x-goog-cloud-target-resource": self._identity.resource}
        signed = sign("POST", url, for_whom, sha256(b"").hexdigest(), sts, self._credentials, self._clock())
        headers = [{"key": name, "value": value} for name, value in sorted(signed.items())]
        return quote(json.dumps({"url": url, "method": "POST", "headers": headers}, separators=(",", ":")))

    def _asked(self, url: str, headers: Mapping[str, str], body: bytes, until_s: float) -> dict[str, Any]:
        """A service's JSON object. What it said beside an error's code is not told on."""
        host, timeout_s = urlsplit(url).hostname, max(0.0, min(EXCHANGE_TIMEOUT_S, until_s - self._stopwatch()))
        try:
            answer = self._transport.send("POST", url, headers=headers, body=body, timeout_s=timeout_s)
        except TransportError as error:
            raise ProviderError(Failure.UNREACHABLE, f"{host} did not answer: {error.failure}") from error
        document = _object(answer.body)
        if answer.status == 200:
            return document
        if answer.status in (401, 403):
            self._access.invalidate(_ACCESS)
        is_refusal = 400 <= answer.status < 500 and answer.status != 429
        code = _code(document)
        raise ProviderError(
            Failure.REFUSED if is_refusal else Failure.UNREACHABLE,
            f"{host} gave no token: status {answer.status}" + (f" {code}" if code else ""),
        )


def audience_of(address: str) -> str:
    """Whom a token is for: a Cloud Run service by its URL, a function at cloudfunctions.net by its name as well."""
    parts = urlsplit(address)
    first = parts.path.strip("/").partition("/")[0]
    is_named = (parts.hostname or "").endswith(".cloudfunctions.net") and first
    return f"{parts.scheme}://{parts.netloc}" + (f"/{first}" if is_named else "")


def _expiring(token: str, left_s: float) -> Expiring[str]:
    left_s = min(left_s, LONGEST_S)
    return Expiring(token, fresh_s=left_s - RENEWED_S, usable_s=left_s - LAST_S)


def _ends_at(token: str) -> float:
    """When a token ends, by its own word; it comes from Google itself, and only Google's endpoints verify it."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = _object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        claims = {}
    return _number(claims, "exp")


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value or " " in value:
        raise ProviderError(Failure.UNREACHABLE, f"Google's answer holds no {name}")
    return value


def _number(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProviderError(Failure.UNREACHABLE, f"Google's answer holds no {name}")
    return float(value)


def _code(document: Mapping[str, Any]) -> str:
    """The error's code: a word in OAuth's form (RFC 6749), the status in Google's own."""
    error = document.get("error")
    code = error.get("status") if isinstance(error, dict) else error
    return code[:50] if isinstance(code, str) else ""
