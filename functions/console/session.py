"""Sessions: who has logged in, in Flask's signed cookie. The browser can read it, and nothing in it is secret.

The console may write to no store, so nothing here can call a session back: it lasts an hour (docs/decisions/0014).
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Flask, Request, current_app, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer

from fiso.domain.access import Claims
from fiso.domain.errors import StoreUnavailable
from fiso.domain.request import TenantId
from fiso.ports import Clock

LIFETIME = timedelta(hours=1)
KEYS_FRESH = timedelta(minutes=1)
"""So much later a rotation reaches an environment that is already up."""
SHORTEST_KEY = 32
_PERSON = "person"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who has logged in, as a caller. `form_token` must come back with every form that the person sends."""

    claims: Claims
    name: str
    form_token: str

    def remember(self, until: datetime) -> None:
        """Begin a session. What the browser's cookie held before is gone."""
        session.clear()
        session.permanent = True
        session[_PERSON] = {
            "subject": self.claims.subject,
            "tenant": self.claims.tenant,
            "scopes": sorted(self.claims.scopes),
            "name": self.name,
            "form_token": self.form_token,
            "expires_at": until.timestamp(),
        }

    @classmethod
    def present(cls, now: datetime) -> "Person | None":
        """The person of the request's session; None when there is none, or its hour is over."""
        held = session.get(_PERSON)
        if held is None or held["expires_at"] <= now.timestamp():
            return None
        tenant, scopes = TenantId(held["tenant"]), frozenset(held["scopes"])
        claims = Claims(subject=held["subject"], tenant=tenant, scopes=scopes)
        return cls(claims=claims, name=held["name"], form_token=held["form_token"])


class SessionKeys:
    """The keys that sign sessions, newest first: read at the first use, then after KEYS_FRESH."""

    def __init__(self, read: Callable[[], Sequence[str]], *, clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._known: Sequence[str] = ()
        self._asked_at = datetime.min.replace(tzinfo=UTC)

    def current(self) -> Sequence[str]:
        """`StoreUnavailable` while none could ever be read."""
        now = self._clock()
        if not self._known or now - self._asked_at >= KEYS_FRESH:
            self._asked_at = now
            self._known = self._usable() or self._known
        if not self._known:
            raise StoreUnavailable("the keys of the console's sessions cannot be read")
        return self._known

    def _usable(self) -> Sequence[str]:
        """Nothing when they are not to be had now: whoever is logged in must not suffer from it."""
        try:
            keys = self._read()
        except StoreUnavailable as error:
            logger.warning("the keys of the console's sessions were not read: %s", error)
            return ()
        if any(len(key) < SHORTEST_KEY for key in keys):
            logger.warning("the keys of the console's sessions were not taken: one is too short")
            return ()
        return keys


class SignedSessions(SecureCookieSessionInterface):
    """Flask's sessions under keys that rotate; they are asked for only when a cookie is shown or made."""

    digest_method = staticmethod(hashlib.sha256)

    def __init__(self, keys: SessionKeys) -> None:
        self._keys = keys

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session in the cookie; an empty one for none or a forged one; Flask's null session without keys."""
        if not request.cookies.get(self.get_cookie_name(app)):
            return self.session_class()
        return super().open_session(app, request)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """With Flask's own reading of its two settings. An exception here would be nobody's to answer, so None."""
        try:
            newest, *older = self._keys.current()
        except StoreUnavailable:
            return None
        app.config.update(SECRET_KEY=newest, SECRET_KEY_FALLBACKS=older[::-1])
        return super().get_signing_serializer(app)


def is_shown() -> bool:
    """Whether the request holds a session's cookie, of whatever value."""
    return current_app.config["SESSION_COOKIE_NAME"] in request.cookies


def register(app: Flask, keys: SessionKeys, *, is_https: bool) -> None:
    """Give the app sessions. The prefix makes browsers insist on https, this host and the whole site."""
    app.session_interface = SignedSessions(keys)
    app.config.update(
        SESSION_COOKIE_NAME="__Host-fiso-session" if is_https else "fiso-session",
        SESSION_COOKIE_SECURE=is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
    )
