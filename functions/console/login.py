"""Login: the console's three pages around `fiso.services.identity.login`, and the two cookies that carry it.

Every address is made of the setting FISO_CONSOLE_URL; nothing that a request says (host, prefix, query) makes one.
"""

import hmac
import logging
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, g, redirect, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from fiso.domain.errors import ForeignForm, LoginRefused, NotAllowed
from fiso.domain.login import Session
from fiso.services.identity.login import ATTEMPT_S, SESSION_S, Callback, Login

LOGIN, CALLBACK, LOGOUT, LOGGED_OUT = (f"/console/{name}" for name in ("login", "callback", "logout", "logged-out"))
OPEN = frozenset({LOGIN, CALLBACK, LOGOUT, LOGGED_OUT})
STATIC = "/console/static/"
SAFE = ("GET", "HEAD")
FORM_TOKEN = "form_token"  # nosec B105 # the field's name

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserLogin:
    """A login at one address. `console_url` ends in /console and is https, but on the local stage."""

    login: Login
    console_url: str

    def register(self, app: Flask) -> None:
        """Install the pages."""
        app.before_request(self._refuse_foreign_forms)
        app.after_request(self._end_attempt)
        app.add_url_rule(LOGIN, "login", self._begin)
        app.add_url_rule(CALLBACK, "callback", self._finish)
        app.add_url_rule(LOGOUT, "logout", self._leave, methods=["POST"])
        app.add_url_rule(LOGGED_OUT, "logged_out", lambda: render_template("logged_out.html"))

    def is_open(self, path: str) -> bool:
        """Whether anybody may see it: the login's own pages and the style sheet they need."""
        return path in OPEN or path.startswith(STATIC)

    def address(self, path: str, **query: str) -> str:
        """The whole address of one of the console's own paths."""
        return self.console_url.removesuffix("/console") + path + (f"?{urlencode(query)}" if query else "")

    def session(self) -> Session | None:
        """The session of the present request."""
        return self.login.session(request.cookies.get(self._cookie("session")))

    def _begin(self) -> AnyResponse:
        begun = self.login.begin(_only(request.args, "to"))
        response = redirect(begun.address)
        self._set(response, "login", begun.sealed_attempt, max_age=int(ATTEMPT_S))
        return response

    def _finish(self) -> AnyResponse:
        callback = Callback(
            state=_only(request.args, "state"),
            code=_only(request.args, "code"),
            error=_only(request.args, "error"),
            issuer=_only(request.args, "iss"),
            sealed_attempt=request.cookies.get(self._cookie("login")),
        )
        try:
            finished = self.login.finish(callback)
        except (LoginRefused, NotAllowed) as error:
            logger.warning("login refused: %s", getattr(error, "reason", error))
            raise
        response = redirect(self.address(finished.return_to))
        self._set(response, "session", finished.sealed_session, max_age=int(SESSION_S))
        return response

    def _leave(self) -> AnyResponse:
        response = redirect(self.address(LOGGED_OUT), code=303)
        self._set(response, "session", "", max_age=0)
        return response

    def _refuse_foreign_forms(self) -> None:
        """What changes anything comes from a page of ours, sent by the person who is logged in."""
        if request.method in SAFE:
            return
        if request.headers.get("Origin") != origin_of(self.console_url):
            raise ForeignForm("this form was not sent from a page of the console")
        session = self.session()
        given = _only(request.form, FORM_TOKEN) or ""
        if session is not None and not hmac.compare_digest(given.encode(), session.form_token.encode()):
            raise ForeignForm("this form belongs to another session; load the page again")
        g.session = session

    def _end_attempt(self, response: Response) -> Response:
        """One attempt, one answer: whatever came of it, it cannot be used again."""
        if request.path == CALLBACK:
            self._set(response, "login", "", max_age=0)
        return response

    def _cookie(self, name: str) -> str:
        """The prefix makes browsers insist on https, this host and the whole site; plain http on loopback has none."""
        return f"__Host-fiso-{name}" if self._is_https else f"fiso-{name}"

    def _set(self, response: AnyResponse, name: str, value: str, *, max_age: int) -> None:
        response.set_cookie(
            self._cookie(name), value, max_age=max_age, path="/", secure=self._is_https, httponly=True, samesite="Lax"
        )

    @property
    def _is_https(self) -> bool:
        return self.console_url.startswith("https://")


def origin_of(url: str) -> str:
    """Scheme, host and port, as browsers write an origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _only(fields: "MultiDict[str, str]", name: str) -> str | None:
    """The field's value when it is there once; one that is there twice means different things to different readers."""
    values = fields.getlist(name)
    return values[0] if len(values) == 1 else None
