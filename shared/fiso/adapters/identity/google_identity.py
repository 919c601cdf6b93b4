"""Google's identity tokens: what identifies FISO to an endpoint with `authentication: id_token`. No key of Google's.

FISO's own cloud proves who it is: on Lambda a signed request for GetCallerIdentity, which Google's token service itself
sends to AWS; on Azure the token of a managed identity (`container_identity`). It is exchanged for an access token
(workload identity federation, google.aip.dev/auth/4117), with which a service account signs an identity token for one
audience: the endpoint's own address. Whoever registers an endpoint can make no other use of what is sent there. Checked
against Google's own library and a local host that speaks the wire format, not against Google.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urlencode, urlsplit

from fiso.adapters.identity.credential_cache import Expiring
from fiso.adapters.identity.exchange import (
    EXCHANGE_TIMEOUT_S,
    TokensByAudience,
    claims_of,
    expiring,
    number_in,
    text_in,
)
from fiso.domain.endpoint import Authentication
from fiso.domain.identity import GoogleIdentity
from fiso.ports import Clock
from fiso_client.core.failures import ProviderError
from fiso_client.core.signing import AwsEndpoint, KeySource, public_url, sign
from fiso_client.core.transport import HttpTransport

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_OAUTH = "urn:ietf:params:oauth"
_SIGNED_REQUEST = "urn:ietf:params:aws:token-type:aws4_request"
SIGNED_TOKEN = f"{_OAUTH}:token-type:jwt"
_GOOGLES = "Google's"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleUrls:
    tokens: str = "https://sts.googleapis.com"
    accounts: str = "https://iamcredentials.googleapis.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What proves to Google who FISO is: its `kind` as Google names it, and where it comes from, within seconds."""

    kind: str
    token: Callable[[float], str]


def urls_at(local: str) -> GoogleUrls:
    """Google's own, or below the address of a server that stands in for all of its hosts."""
    if not local:
        return GoogleUrls()
    return GoogleUrls(tokens=f"{local}/sts.googleapis.com", accounts=f"{local}/iamcredentials.googleapis.com")


class GoogleIdTokens(TokensByAudience):
    """Identity tokens of one service account, by audience."""

    authentication = Authentication.ID_TOKEN
    _first_name = "Google's access token"

    def __init__(
        self,
        identity: GoogleIdentity,
        *,
        subject: Subject,
        transport: HttpTransport,
        stopwatch: Callable[[], float] | None = None,
        urls: GoogleUrls = GoogleUrls(),
    ) -> None:
        super().__init__(transport=transport, stopwatch=stopwatch)
        self._identity, self._subject, self._urls = identity, subject, urls

    def _audience_of(self, address: str) -> str:
        return audience_of(address)

    def _before(self, until_s: float) -> str:
        left_s = until_s - self._stopwatch()
        return self._first.get(self._first_name, lambda: self._access_token(until_s), within_s=left_s)

    def bearer(self) -> str:
        """An access token for Google's own services. `ProviderError` when there is none."""
        return self._before(self._stopwatch() + EXCHANGE_TIMEOUT_S)

    def _token(self, audience: str, until_s: float) -> Expiring[str]:
        access = self._before(until_s)
        try:
            return self._identity_token(audience, access, until_s)
        except ProviderError as error:
            if error.status != 401 or not self._first.replace(self._first_name, access):
                raise
        return self._identity_token(audience, self._before(until_s), until_s)

    def _identity_token(self, audience: str, access: str, until_s: float) -> Expiring[str]:
        url = f"{self._urls.accounts}/v1/projects/-/serviceAccounts/{self._identity.service_account}:generateIdToken"
        headers = {"authorization": f"Bearer {access}", "content-type": "application/json"}
        body = json.dumps({"audience": audience, "includeEmail": True}).encode()
        token = text_in(self._asked(url, headers, body, until_s), "token", _GOOGLES)
        return expiring(token, lifetime_of(token))

    def _access_token(self, until_s: float) -> Expiring[str]:
        asked = {
            "grant_type": f"{_OAUTH}:grant-type:token-exchange",
            "audience": self._identity.resource,
            "scope": _SCOPE,
            "requested_token_type": f"{_OAUTH}:token-type:access_token",
            "subject_token": self._subject.token(until_s - self._stopwatch()),
            "subject_token_type": self._subject.kind,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = self._asked(f"{self._urls.tokens}/v1/token", headers, urlencode(asked).encode(), until_s)
        return expiring(text_in(answer, "access_token", _GOOGLES), number_in(answer, "expires_in", _GOOGLES))


def of_aws(identity: GoogleIdentity, credentials: KeySource, region: str, clock: Clock) -> Subject:
    """A request that says who signed it, for Google to send; good for this one provider of identities."""

    def token(_: float) -> str:
        sts = AwsEndpoint(service="sts", region=region, url=public_url("sts", region))
        url = f"{sts.url}?Action=GetCallerIdentity&Version=2011-06-15"
        # Among the signed headers, so that nobody who sees the request can use it at another provider of identities
        # (docs/decisions/0016-who-fiso-is-to-google.md).
        for_whom = {"x-goog-cloud-target-resource": identity.resource}
        signed = sign("POST", url, for_whom, sha256(b"").hexdigest(), sts, credentials, clock())
        headers = [{"key": name, "value": value} for name, value in sorted(signed.items())]
        return quote(json.dumps({"url": url, "method": "POST", "headers": headers}, separators=(",", ":")))

    return Subject(kind=_SIGNED_REQUEST, token=token)


def lifetime_of(token: str) -> float:
    """Seconds from its making to its end, by its issuer's clock: what it is good for does not depend on whether this
    one is right. A token that does not say when it was made was made now."""
    claims = claims_of(token)
    begins_at = number_in(claims, "iat", _GOOGLES) if "iat" in claims else time.time()
    return number_in(claims, "exp", _GOOGLES) - begins_at


def audience_of(address: str) -> str:
    """Whom a token is for: a Cloud Run service by its URL, a function at cloudfunctions.net by its name as well."""
    parts = urlsplit(address)
    first = parts.path.strip("/").partition("/")[0]
    is_named = (parts.hostname or "").endswith(".cloudfunctions.net") and first
    return f"{parts.scheme}://{parts.netloc}" + (f"/{first}" if is_named else "")
