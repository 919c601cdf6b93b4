"""An issuer as a browser's login needs it: where to send the browser, and who redeems the code it comes back with."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from fiso.access_ports import LoginTokens
from fiso.adapters.identity.oidc import read_document, refuse_address
from fiso.domain.errors import LoginRefused, StoreUnavailable
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.transport import HttpTransport, TransportError

REDEEM_TIMEOUT_S = 5.0
LARGEST_BYTES = 150_000
CONFIGURATION = "/.well-known/openid-configuration"


@dataclass(kw_only=True)  # not frozen, no slots: the configuration is read once and kept
class OidcLoginIssuer:
    """The port `LoginIssuer`. `read_secret` is for confidential clients only; PKCE protects the code either way."""

    transport: HttpTransport
    name: str
    client_id: str
    redirect_uri: str
    read_secret: Callable[[], str] | None = None
    allow_loopback: bool = False

    def authorization_address(self) -> str:
        """As the issuer publishes it."""
        return self._address("authorization_endpoint")

    def redeem(self, code: str, *, code_verifier: str) -> LoginTokens:
        """Exchange a code for the tokens (RFC 6749, section 4.1.3). Never repeated: a code counts once."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": code_verifier,
        }
        document = self._answered(self._post(urlencode(fields).encode("ascii")))
        return LoginTokens(identity_token=_token(document, "id_token"), access_token=_token(document, "access_token"))

    def _post(self, body: bytes) -> HttpAnswer:
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if self.read_secret is not None:
            pair = f"{quote(self.client_id, safe='')}:{quote(self.read_secret(), safe='')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")
        url = self._address("token_endpoint")
        try:
            return self.transport.send("POST", url, headers=headers, body=body, timeout_s=REDEEM_TIMEOUT_S)
        except TransportError as error:
            raise StoreUnavailable(f"{self.name} does not answer: {error}") from error

    def _answered(self, answer: HttpAnswer) -> dict[str, Any]:
        if answer.status >= 500:
            raise StoreUnavailable(f"{self.name} answered {answer.status}")
        try:
            document = json.loads(answer.body) if len(answer.body) <= LARGEST_BYTES else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise LoginRefused(f"the issuer answered {answer.status} without a JSON object")
        if answer.status != 200:
            raise LoginRefused(f"the issuer refused the code: {str(document.get('error'))[:80]!r}")
        return document

    def _address(self, name: str) -> str:
        url = str(self._configuration.get(name))
        refuse_address(url, allow_loopback=self.allow_loopback)
        return url

    @cached_property
    def _configuration(self) -> dict[str, Any]:
        url = self.name.rstrip("/") + CONFIGURATION
        document = read_document(self.transport, url, allow_loopback=self.allow_loopback)
        if document.get("issuer") != self.name:
            raise StoreUnavailable(f"{self.name} publishes the configuration of another issuer")
        return document


def _token(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise LoginRefused(f"the issuer gave no {name}")
    return value
