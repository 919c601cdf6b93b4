"""The local issuer over HTTP: discovery, keys, a page that asks for a name, codes for tokens. Loopback only."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, jsonify, redirect, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from localcloud.issuer.tokens import CLIENT_ID, SCOPES, CodeRefused, Codes, Person, Redemption, Request, TokenMaker

LOOPBACK = ("127.0.0.1", "localhost")
TOKEN_LIFETIME = timedelta(hours=1)
KNOWN_SCOPES = ("openid", "profile", *SCOPES)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # with no-referrer a page's own form says that it comes from nowhere (Fetch, "append a request Origin header")
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# The page's form leads to the console, another origin, so there is no form-action: browsers hold redirects to it too.


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One method per address. Codes go to loopback at `console_port` only, to a path that ends in /console/callback."""

    maker: TokenMaker
    codes: Codes
    console_port: int
    clock: Callable[[], datetime]

    def discovery(self) -> Response:
        """OpenID Connect Discovery 1.0, section 3."""
        base = self.maker.issuer
        return jsonify(
            {
                "issuer": base,
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token",
                "jwks_uri": f"{base}/jwks",
                "scopes_supported": list(KNOWN_SCOPES),
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [self.maker.signer.algorithm],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    def keys(self) -> Response:
        """RFC 7517."""
        return jsonify({"keys": [self.maker.signer.jwk]})

    def ask(self) -> str:
        """The page. What is wrong with the request is told here: nothing is sent to an address that was not checked."""
        return render_template("authorize.html", wanted=self._request(request.args), fields=request.args)

    def grant(self) -> AnyResponse:
        """Somebody said a name: back to the console with a code."""
        wanted = self._request(request.form)
        person = Person(name=_name(request.form, "name"), tenant=_name(request.form, "tenant"))
        code = self.codes.give(wanted, person)
        query = urlencode({"code": code, "state": wanted.state, "iss": self.maker.issuer})
        return redirect(f"{wanted.redirect_uri}?{query}", code=303)

    def redeem(self) -> tuple[Response, int]:
        """RFC 6749, section 4.1.3."""
        form = request.form
        if form.get("grant_type") != "authorization_code":
            return jsonify({"error": "unsupported_grant_type"}), 400
        try:
            names = ("code", "client_id", "redirect_uri", "code_verifier")
            grant = self.codes.redeem(Redemption(**{name: form.get(name, "") for name in names}))
        except CodeRefused as error:
            return jsonify({"error": "invalid_grant", "error_description": str(error)}), 400
        now, wanted = self.clock(), grant.request
        answer = {
            "access_token": self.maker.access_token(grant.person, wanted.scope, now=now, lifetime=TOKEN_LIFETIME),
            "id_token": self.maker.identity_token(grant.person, wanted.nonce, now=now, lifetime=TOKEN_LIFETIME),
            "token_type": "Bearer",  # nosec B105
            "expires_in": int(TOKEN_LIFETIME.total_seconds()),
            "scope": wanted.scope,
        }
        return jsonify(answer), 200

    def _request(self, fields: "MultiDict[str, str]") -> Request:
        if fields.get("client_id") != CLIENT_ID or fields.get("response_type") != "code":
            raise BadRequest(f"only the client {CLIENT_ID} is known here, and only response_type=code")
        redirect_uri = fields.get("redirect_uri", "")
        if not self._is_console(redirect_uri):
            raise BadRequest(f"redirect_uri must be /console/callback on loopback at port {self.console_port}")
        challenge = fields.get("code_challenge", "")
        if fields.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
            raise BadRequest("code_challenge is missing: PKCE with S256 is required (RFC 7636)")
        scope = " ".join(word for word in fields.get("scope", "").split() if word in KNOWN_SCOPES)
        return Request(
            client_id=CLIENT_ID,
            redirect_uri=redirect_uri,
            scope=scope,
            state=fields.get("state", "")[:500],
            nonce=fields.get("nonce", "")[:500],
            code_challenge=challenge,
        )

    def _is_console(self, redirect_uri: str) -> bool:
        try:
            parts = urlsplit(redirect_uri)
            is_here = parts.scheme == "http" and parts.hostname in LOOPBACK and parts.port == self.console_port
        except ValueError:
            return False
        is_plain = redirect_uri.isprintable() and not (parts.query or parts.fragment or "@" in parts.netloc)
        return is_here and is_plain and parts.path.endswith("/console/callback")


def create(issuer: Issuer) -> Flask:
    """The issuer as an app. It answers to loopback's names only: no site can lead a browser to it under its own."""
    app = Flask(__name__)
    app.config.update(TRUSTED_HOSTS=list(LOOPBACK), MAX_CONTENT_LENGTH=16_384)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.add_url_rule("/.well-known/openid-configuration", "discovery", issuer.discovery)
    app.add_url_rule("/jwks", "keys", issuer.keys)
    app.add_url_rule("/authorize", "ask", issuer.ask)
    app.add_url_rule("/authorize", "grant", issuer.grant, methods=["POST"])
    app.add_url_rule("/token", "redeem", issuer.redeem, methods=["POST"])
    app.add_url_rule("/healthz", "healthz", lambda: jsonify({"status": "ok"}))

    @app.after_request
    def _secured(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    return app


def _name(fields: Mapping[str, str], field: str) -> str:
    value = fields.get(field, "").strip()
    if not _NAME.fullmatch(value):
        raise BadRequest(f"{field}: up to 64 letters, digits, spaces and . _ @ -, please")
    return value
