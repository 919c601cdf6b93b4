"""Login: the console's pages around OpenID Connect's authorization code flow with PKCE (docs/decisions/0014).

Every address is made of the setting FISO_CONSOLE_URL; nothing that a request says (host, prefix, query) makes one.
"""

import hmac
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, g, redirect, render_template, request
from flask import session as cookie
from werkzeug.wrappers import Response as AnyResponse

from fiso.domain.access import Claims, Scope
from fiso.domain.errors import ForeignForm, LoginRefused, NotAllowed, NotAuthenticated
from fiso.ports import Clock, TokenVerifier
from functions.console import session
from functions.console.session import Person, SessionKeys

if TYPE_CHECKING:
    from functions.console.issuer import LoginIssuer

HOME = "/console"
LOGIN, CALLBACK, LOGOUT, LOGGED_OUT = (f"{HOME}/{name}" for name in ("login", "callback", "logout", "logged-out"))
OPEN = frozenset({LOGIN, CALLBACK, LOGOUT, LOGGED_OUT})
STATIC = f"{HOME}/static/"
SAFE = ("GET", "HEAD")
FORM_TOKEN = "form_token"  # nosec B105 # the field's name
ATTEMPT = timedelta(minutes=10)
"""How long a person may take at the issuer."""
LONGEST_NAME = 100
LONGEST_RETURN_TO = 500
_RETURN_TO = re.compile(r"/console(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?(\?[A-Za-z0-9._~=&%:+-]*)?")
_ATTEMPT, _STATES = "attempt", "_state_"
"""What the session holds of an attempt: our part, and the prefix of Authlib's."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserLogin:
    """A login at one address. `console_url` ends in /console and is https, but on the local stage. `issuer` and
    `verifier` (of access tokens, as at the API) are made on use."""

    issuer: "Callable[[], LoginIssuer]"
    verifier: Callable[[], TokenVerifier]
    keys: SessionKeys
    clock: Clock
    console_url: str

    def register(self, app: Flask) -> None:
        """Install the session and the pages."""
        session.register(app, self.keys, is_https=self.console_url.startswith("https://"))
        app.before_request(self._refuse_foreign_forms)
        app.after_request(_end_attempt)
        app.add_url_rule(LOGIN, "login", self._begin)
        app.add_url_rule(CALLBACK, "callback", self._finish)
        app.add_url_rule(LOGOUT, "logout", self._leave, methods=["POST"])
        app.add_url_rule(LOGGED_OUT, "logged_out", lambda: render_template("logged_out.html"))

    def is_open(self, path: str) -> bool:
        """Whether anybody may see it: the login's own pages and the style sheet they need."""
        return path in OPEN or path.startswith(STATIC)

    def address(self, path: str, **query: str) -> str:
        """The whole address of one of the console's own paths."""
        return self.console_url.removesuffix(HOME) + path + (f"?{urlencode(query)}" if query else "")

    def person(self) -> Person | None:
        """Who is logged in. `StoreUnavailable` for a browser that shows a session while no key can be read."""
        if session.is_shown():
            self.keys.current()
        return Person.present(self.clock())

    def _begin(self) -> AnyResponse:
        self.keys.current()
        _forget_attempts()
        answer = self.issuer().ask()
        ends_at = (self.clock() + ATTEMPT).timestamp()
        cookie[_ATTEMPT] = {"return_to": return_path(request.args.get("to")), "ends_at": ends_at}
        return answer

    def _finish(self) -> AnyResponse:
        try:
            return_to, person = self._attempted(), self._logged_in()
        except (LoginRefused, NotAllowed) as error:
            logger.warning("login refused: %s", getattr(error, "reason", error))
            raise
        person.remember(until=self.clock() + session.LIFETIME)
        return redirect(self.address(return_to))

    def _attempted(self) -> str:
        """Where the login that this browser began leads to, if the answer can be its. It reaches no issuer."""
        attempt, fields = cookie.get(_ATTEMPT), request.args
        if attempt is None:
            raise LoginRefused("this browser began no login")
        if attempt["ends_at"] <= self.clock().timestamp():
            raise LoginRefused("the login took too long")
        if any(len(fields.getlist(name)) > 1 for name in fields):
            raise LoginRefused("the answer says something twice")
        if fields.get("iss", self.issuer().name) != self.issuer().name:  # RFC 9207
            raise LoginRefused("the answer is another issuer's")
        if not fields.get("code") and "error" not in fields:
            raise LoginRefused("the answer holds no code")
        return str(attempt["return_to"])

    def _logged_in(self) -> Person:
        """Whose tokens the issuer gives. The issuer's own scopes are of no use here, and a cookie holds 4 KB."""
        tokens = self.issuer().redeem()
        caller = self._verified(tokens.access_token)
        caller.require(Scope.READ)
        name = "".join(letter for letter in str(tokens.name or "") if letter.isprintable())
        return Person(
            claims=replace(caller, scopes=caller.scopes & frozenset(Scope)),
            name=name[:LONGEST_NAME] or caller.subject,
            form_token=secrets.token_urlsafe(32),
        )

    def _verified(self, access_token: str) -> Claims:
        try:
            return self.verifier().verify(access_token)
        except NotAuthenticated as error:
            raise LoginRefused(f"access token: {error.reason}") from error

    def _leave(self) -> AnyResponse:
        cookie.clear()
        return redirect(self.address(LOGGED_OUT), code=303)

    def _refuse_foreign_forms(self) -> None:
        """What changes anything comes from a page of ours, sent by the person who is logged in."""
        if request.method in SAFE or "Authorization" in request.headers:
            return  # no form can show a token of its own, and with one the session does not count
        if request.headers.get("Origin") != origin_of(self.console_url):
            raise ForeignForm("this form was not sent from a page of the console")
        person = self.person()
        given = request.form.get(FORM_TOKEN, "")
        if person is not None and not hmac.compare_digest(given.encode(), person.form_token.encode()):
            raise ForeignForm("this form belongs to another session; load the page again")
        g.person = person


def return_path(wanted: str | None) -> str:
    """The console's page that was asked for; its first page instead of anything that is not plainly one of its own."""
    is_own = wanted and len(wanted) <= LONGEST_RETURN_TO and _RETURN_TO.fullmatch(wanted)
    return wanted if wanted and is_own else HOME


def origin_of(url: str) -> str:
    """Scheme, host and port, as browsers write an origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _end_attempt(response: Response) -> Response:
    """One attempt, one answer: whatever came of it, it cannot be used again."""
    if request.path == CALLBACK:
        _forget_attempts()
    return response


def _forget_attempts() -> None:
    for name in [name for name in cookie if name == _ATTEMPT or name.startswith(_STATES)]:
        cookie.pop(name)
