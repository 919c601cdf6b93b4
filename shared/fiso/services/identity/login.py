"""Login: OpenID Connect's authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9207, RFC 9700).

    begin ── to the issuer and back, a sealed attempt in a cookie ──> finish ── a sealed session in another ──> session

Our own because it is this short: the library that the field keeps well for it (Authlib) brings a second JWT library and
an HTTP client to a function that has both already. Signatures and claims of tokens stay with the one `TokenVerifier`.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlencode

from fiso.access_ports import LoginIssuer, Seal, TokenVerifier
from fiso.domain.access import Claims, Scope
from fiso.domain.errors import LoginRefused, NotAuthenticated
from fiso.domain.login import LoginAttempt, Session
from fiso.ports import Clock

ATTEMPT_S = 600.0
"""How long a person may take at the issuer."""
SESSION_S = 3_600.0
"""A sealed session cannot be called back, so it ends soon; most issuers then let the person through unasked."""
HOME = "/console"
LONGEST_CODE = 2_048
_RETURN_TO = re.compile(r"/console(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?(\?[A-Za-z0-9._~=&%:+-]*)?")
LONGEST_RETURN_TO = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What the console is to the issuer. `redirect_uri` is the one address to which codes may be sent."""

    id: str
    redirect_uri: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifiers:
    """The tokens of a login: the identity token is for the client, the access token for FISO's own API. Made on use."""

    identity: Callable[[], TokenVerifier]
    access: Callable[[], TokenVerifier]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Where the browser is sent, and what it must bring back."""

    address: str
    sealed_attempt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What the browser brings back from the issuer. None for what is missing or stands there twice."""

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None
    sealed_attempt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Who logged in, and the console's page that was asked for first."""

    session: Session
    sealed_session: str
    return_to: str


def _random_word() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Persons in front of the console, through one issuer."""

    client: Client
    issuer: LoginIssuer
    verifiers: Verifiers
    seal: Seal
    clock: Clock
    random_word: Callable[[], str] = _random_word

    def begin(self, wanted: str | None) -> Begun:
        """Send a browser to the issuer. `StoreUnavailable` while the issuer cannot be read."""
        attempt = LoginAttempt(
            state=self.random_word(),
            nonce=self.random_word(),
            code_verifier=self.random_word(),
            return_to=return_path(wanted),
            expires_at=self.clock() + timedelta(seconds=ATTEMPT_S),
        )
        query = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.client.redirect_uri,
            "scope": self.client.scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": code_challenge(attempt.code_verifier),
            "code_challenge_method": "S256",
        }
        address = self.issuer.authorization_address()
        return Begun(
            address=f"{address}{'&' if '?' in address else '?'}{urlencode(query)}",
            sealed_attempt=self.seal.close(attempt.text()),
        )

    def finish(self, callback: Callback) -> Finished:
        """Take what the issuer sent. `LoginRefused` unless all of it belongs to this browser's attempt; `NotAllowed`
        for a person without the scope to read; `StoreUnavailable` while the issuer does not answer."""
        attempt = self._attempt(callback)
        tokens = self.issuer.redeem(self._code(callback), code_verifier=attempt.code_verifier)
        identity = self._verified(self.verifiers.identity, tokens.identity_token, "identity token")
        if not _same(identity.others.get("nonce"), attempt.nonce):
            raise LoginRefused("the identity token belongs to another attempt")
        if identity.others.get("azp", self.client.id) != self.client.id:
            raise LoginRefused("the identity token was made for another client")
        caller = self._verified(self.verifiers.access, tokens.access_token, "access token")
        caller.require(Scope.READ)
        session = self._session(caller, _shown(identity.others.get("name")) or identity.subject)
        return Finished(session=session, sealed_session=self.seal.close(session.text()), return_to=attempt.return_to)

    def session(self, sealed: str | None) -> Session | None:
        """The session in a cookie; None for none, a forged one, one that has ended."""
        session = self._opened(sealed, Session.parsed)
        return session if session and session.expires_at > self.clock() else None

    def _attempt(self, callback: Callback) -> LoginAttempt:
        attempt = self._opened(callback.sealed_attempt, LoginAttempt.parsed)
        if attempt is None:
            raise LoginRefused("this browser began no login")
        if attempt.expires_at <= self.clock():
            raise LoginRefused("the login took too long")
        if not _same(callback.state, attempt.state):
            raise LoginRefused("the answer belongs to another attempt")
        if callback.issuer not in (None, self.issuer.name):
            raise LoginRefused("the answer is another issuer's")
        return attempt

    def _code(self, callback: Callback) -> str:
        if callback.error is not None:
            raise LoginRefused(f"the issuer said {callback.error[:80]!r}")
        if not callback.code or len(callback.code) > LONGEST_CODE:
            raise LoginRefused("the answer holds no code")
        return callback.code

    def _verified(self, verifier: Callable[[], TokenVerifier], token: str, what: str) -> Claims:
        try:
            return verifier().verify(token)
        except NotAuthenticated as error:
            raise LoginRefused(f"{what}: {error.reason}") from error

    def _session(self, caller: Claims, name: str) -> Session:
        """The issuer's own scopes are of no use here, and a cookie holds 4 KB."""
        return Session(
            subject=caller.subject,
            name=name[:100],
            tenant=caller.tenant,
            scopes=caller.scopes & frozenset(Scope),
            form_token=self.random_word(),
            expires_at=self.clock() + timedelta(seconds=SESSION_S),
        )

    def _opened(self, sealed: str | None, parse: Callable[[str], T]) -> T | None:
        text = self.seal.open(sealed) if sealed else None
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError:
            return None


def code_challenge(code_verifier: str) -> str:
    """S256 of RFC 7636, section 4.2."""
    return urlsafe_b64encode(hashlib.sha256(code_verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def return_path(wanted: str | None) -> str:
    """The console's page that was asked for; its first page instead of anything that is not plainly one of its own."""
    is_own = wanted and len(wanted) <= LONGEST_RETURN_TO and _RETURN_TO.fullmatch(wanted)
    return wanted if wanted and is_own else HOME


def _shown(name: object) -> str:
    """What can be written on a page of what an issuer calls somebody."""
    return "".join(letter for letter in str(name or "") if letter.isprintable())


def _same(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())
