"""Authorization codes: each redeemed once, soon, by the client it was given to, which shows the challenge's origin."""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from localcloud.issuer.tokens import Person

LIFETIME = timedelta(seconds=60)
MOST_KEPT = 1_000
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks an authorization for, after it was checked."""

    client_id: str
    redirect_uri: str
    scope: str
    state: str
    nonce: str
    code_challenge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A request that a person agreed to."""

    request: Request
    person: Person
    expires_at: datetime


class CodeRefused(Exception):
    """A code that gives nothing. The message is for a developer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """Who redeems a code, and with what."""

    code: str
    client_id: str
    redirect_uri: str
    code_verifier: str


@dataclass(kw_only=True)
class Codes:
    """The codes of one issuer, kept in its memory."""

    clock: Callable[[], datetime]
    _grants: dict[str, Grant] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def give(self, request: Request, person: Person) -> str:
        """A new code."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._grants) >= MOST_KEPT:
                self._grants.pop(next(iter(self._grants)))
            self._grants[code] = Grant(request=request, person=person, expires_at=self.clock() + LIFETIME)
        return code

    def redeem(self, shown: Redemption) -> Grant:
        """What was granted. `CodeRefused` for anything but the first, complete, timely redemption."""
        with self._lock:
            grant = self._grants.pop(shown.code, None)
        if grant is None:
            raise CodeRefused("there is no such code, or it was redeemed before")
        if grant.expires_at <= self.clock():
            raise CodeRefused("the code has expired")
        if (shown.client_id, shown.redirect_uri) != (grant.request.client_id, grant.request.redirect_uri):
            raise CodeRefused("the code was given to another client or address")
        if not _VERIFIER.fullmatch(shown.code_verifier):
            raise CodeRefused("code_verifier is missing or malformed (PKCE, RFC 7636)")
        if not hmac.compare_digest(_challenge(shown.code_verifier), grant.request.code_challenge):
            raise CodeRefused("code_verifier does not belong to the challenge")
        return grant


def _challenge(code_verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(code_verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")
