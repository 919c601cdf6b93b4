"""The issuer that persons log in at: Authlib's Flask client, over FISO's own transport and bounds.

Importing this loads Authlib and requests, so it is imported at the first login and by no other page. Authlib keeps
state, nonce and PKCE's verifier in the session meanwhile, and checks the identity token.
"""

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.flask_client import FlaskIntegration, FlaskOAuth2App
from authlib.integrations.requests_client import OAuth2Session
from joserfc.errors import JoseError
from requests import PreparedRequest, RequestException, Response
from requests.adapters import BaseAdapter
from werkzeug.wrappers import Response as AnyResponse

from fiso.adapters.identity.jwt_tokens import ALGORITHMS, TOLERANCE_S
from fiso.adapters.identity.oidc import LARGEST_BYTES, OidcIssuerKeys, refuse_address
from fiso.domain.errors import LoginRefused, StoreUnavailable
from fiso_client.core.transport import HttpTransport, TransportError

REDEEM_TIMEOUT_S = 5.0
_REFUSALS = (AuthlibBaseError, JoseError, RequestException, ValueError, TypeError, RecursionError)
"""What Authlib raises of an answer that is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a code was good for. The identity token is verified; the access token is not, yet."""

    name: object
    access_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginIssuer:
    """One issuer, to one client. `read_secret` is for confidential clients only; PKCE protects the code either way."""

    published: OidcIssuerKeys
    name: str
    client_id: str
    redirect_uri: str
    scope: str
    read_secret: Callable[[], str] | None = None
    allow_loopback: bool = False

    def ask(self) -> AnyResponse:
        """Send the browser to the issuer. `StoreUnavailable` when the issuer does not say where."""
        answer: AnyResponse = self._client(self.published.configuration()).authorize_redirect(self.redirect_uri)
        return answer

    def redeem(self) -> Tokens:
        """The tokens for the request's code, once. `LoginRefused` when the issuer gives none or they are not this
        attempt's, `StoreUnavailable` when it is unavailable."""
        configuration = self.published.configuration()
        keys = [json.loads(key.document) for key in self.published.keys_of(configuration).values()]
        secret = self.read_secret() if self.read_secret else None
        claims = {"iss": {"essential": True, "value": self.name}, "aud": {"essential": True, "value": self.client_id}}
        client = self._client(configuration, client_secret=secret, jwks={"keys": keys})
        try:
            tokens = client.authorize_access_token(claims_options=claims, leeway=TOLERANCE_S)
        except _REFUSALS as error:
            raise LoginRefused(f"{type(error).__name__}: {str(error)[:200]!r}") from error
        access_token = tokens.get("access_token")
        if "id_token" not in tokens or not isinstance(access_token, str):
            raise LoginRefused("the issuer did not give both tokens")
        return Tokens(name=tokens["userinfo"].get("name"), access_token=access_token)

    def _client(self, configuration: Mapping[str, Any], **more: Any) -> "_Client":
        return _Client(
            FlaskIntegration("issuer"),
            name="issuer",
            client_id=self.client_id,
            authorize_url=self._address(configuration, "authorization_endpoint"),
            access_token_url=self._address(configuration, "token_endpoint"),
            # without openid, Authlib would take this for no login, and check no identity token
            client_kwargs={
                "scope": " ".join(dict.fromkeys(["openid", *self.scope.split()])),
                "code_challenge_method": "S256",
            },
            client_auth_methods=[("client_secret_basic", _show_secret)],
            id_token_signing_alg_values_supported=ALGORITHMS,
            **more,
        )

    def _address(self, configuration: Mapping[str, Any], name: str) -> str:
        url = str(configuration.get(name))
        refuse_address(url, allow_loopback=self.allow_loopback)
        return url


class _Bounded(BaseAdapter):
    """requests' way to the token endpoint, FISO's transport: bounded in time and size, no redirect, no proxy."""

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        """One exchange. `StoreUnavailable` when it fails, so that no code is sent twice."""
        url, body, headers = str(request.url), request.body or b"", dict(request.headers)
        body = body.encode() if isinstance(body, str) else body
        try:
            answer = HttpTransport().send("POST", url, headers=headers, body=body, timeout_s=REDEEM_TIMEOUT_S)
        except TransportError as error:
            raise StoreUnavailable(f"{url} does not answer: {error}") from error
        if answer.status >= 500 or len(answer.body) > LARGEST_BYTES:
            raise StoreUnavailable(f"{url} answered {answer.status} with {len(answer.body)} bytes")
        response = Response()
        # without its headers: requests sees no Location, and follows none
        response.status_code, response.url, response.raw = answer.status, url, io.BytesIO(answer.body)
        return response

    def close(self) -> None:
        """Nothing is kept open."""


class _Session(OAuth2Session):  # type: ignore[misc]
    def __init__(self, **options: Any) -> None:
        super().__init__(trust_env=False, **options)  # or requests would look for a password in ~/.netrc
        self.mount("https://", _Bounded())
        self.mount("http://", _Bounded())


class _Client(FlaskOAuth2App):  # type: ignore[misc]
    client_cls = _Session

    def fetch_jwk_set(self, force: bool = False) -> Any:
        """FISO's own reading of the issuer's keys; it was made for this login, so no key is newer."""
        return self.server_metadata["jwks"]


def _show_secret(client: Any, _method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    """RFC 6749, section 2.3.1: both are form-encoded first, which Authlib's own `client_secret_basic` leaves out."""
    pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
    headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return uri, headers, body
