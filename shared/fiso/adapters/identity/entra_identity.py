"""Entra's access tokens: what identifies FISO to an endpoint with `authentication: entra`. No secret of Azure's.

FISO's own cloud says who it is, in a token that it signs for Entra: AWS for a role (`sts:GetWebIdentityToken`), Google
or Azure for a container (`container_identity`). Entra, where FISO's application trusts that (a federated credential),
takes it in place of a client secret and gives an access token
for one host. Checked against `azure-identity`, the SDK's model of AWS, and local hosts that speak the wire format, not
against Entra. docs/decisions/0029-who-fiso-is-to-azure.md
"""

import re
from collections.abc import Callable
from urllib.parse import urlencode

from fiso.adapters.identity.credential_cache import Expiring
from fiso.adapters.identity.exchange import (
    EXCHANGE_TIMEOUT_S,
    TokensByAudience,
    claims_of,
    expiring,
    failure_of,
    number_in,
    text_in,
)
from fiso.domain.endpoint import Authentication
from fiso.domain.identity import EntraIdentity
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import SignedService
from fiso_client.core.transport import HttpTransport, TransportError

LOGIN = "https://login.microsoftonline.com"
FOR_ENTRA = "api://AzureADTokenExchange"
"""The audience that a federated credential of Entra's asks for."""
ASSERTION_S = 300
"""Shown within seconds as a rule; the role lets it live no longer (scripts/serverless/roles.yml)."""
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ENTRAS = "Entra's"
_TOKEN = re.compile(rb"<WebIdentityToken>([A-Za-z0-9._-]+)</WebIdentityToken>")
_CODE = re.compile(rb"<Code>([A-Za-z.]{1,80})</Code>")
_ROLE_OUT_OF_TIME = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "Throttling"})


class EntraTokens(TokensByAudience):
    """Access tokens of FISO's application, by audience. `word` is its own cloud's, within so many seconds."""

    authentication = Authentication.ENTRA
    _first_name = "its own cloud's token for Entra"

    def __init__(
        self,
        identity: EntraIdentity,
        *,
        word: Callable[[float], Expiring[str]],
        transport: HttpTransport,
        stopwatch: Callable[[], float] | None = None,
        login: str = "",
    ) -> None:
        super().__init__(transport=transport, stopwatch=stopwatch)
        self._identity, self._word = identity, word
        self._url = f"{login or identity.login}/{identity.tenant}/oauth2/v2.0/token"

    def _audience_of(self, address: str) -> str:
        return self._identity.audience_of(address)

    def _before(self, until_s: float) -> str:
        left_s = until_s - self._stopwatch()
        return self._first.get(self._first_name, lambda: self._word(until_s - self._stopwatch()), within_s=left_s)

    def bearer(self, audience: str) -> str:
        """An access token for a service of Azure's own. `ProviderError` when there is none."""
        return self._get(audience, EXCHANGE_TIMEOUT_S)

    def _token(self, audience: str, until_s: float) -> Expiring[str]:
        form = {
            "client_id": self._identity.client,
            "scope": f"{audience}/.default",
            "grant_type": "client_credentials",
            "client_assertion_type": _JWT_BEARER,
            "client_assertion": self._before(until_s),
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        answer = self._asked(self._url, headers, urlencode(form).encode(), until_s)
        token = text_in(answer, "access_token", _ENTRAS)
        # An application that gives tokens of version 2 names itself as their audience, so that each host could use what
        # it is sent at all the others.
        if str(claims_of(token).get("aud")).rstrip("/") != audience:  # storage names itself with a slash
            raise ProviderError(
                Failure.REFUSED, f"Entra's token is not for {audience} alone: see `fiso trust azure --check`"
            )
        return expiring(token, number_in(answer, "expires_in", _ENTRAS))


def of_aws(sts: SignedService, audience: str = FOR_ENTRA) -> Callable[[float], Expiring[str]]:
    """Tokens in which AWS says who this role is. In the role's own region, with the query protocol."""

    def word(timeout_s: float) -> Expiring[str]:
        asked = {
            "Action": "GetWebIdentityToken",
            "Version": "2011-06-15",
            "Audience.member.1": audience,
            "DurationSeconds": str(ASSERTION_S),
            "SigningAlgorithm": "RS256",
        }
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        timeout_s = max(0.0, min(EXCHANGE_TIMEOUT_S, timeout_s))
        try:
            answer = sts.send("POST", "/", headers=headers, body=urlencode(asked).encode(), timeout_s=timeout_s)
        except TransportError as error:
            raise ProviderError(Failure.UNREACHABLE, f"AWS's sts did not answer: {error.failure}") from error
        found = _TOKEN.search(answer.body) if answer.status == 200 else None
        if found is None:
            raise _refusal(answer)
        return expiring(found[1].decode(), ASSERTION_S)

    return word


def _refusal(answer: HttpAnswer) -> ProviderError:
    said = _CODE.search(answer.body)
    code = said[1].decode() if said else ""
    is_refusal = code not in _ROLE_OUT_OF_TIME and answer.status != 200
    return ProviderError(
        failure_of(answer.status, code) if is_refusal else Failure.UNREACHABLE,
        f"AWS's sts gave no token for Entra: status {answer.status}"
        + (f" {code}" if code else "")
        + (": run `fiso trust azure`" if code.startswith("OutboundWebIdentityFederation") else ""),
    )
