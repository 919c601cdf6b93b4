"""Login: a person who comes with a browser. What is remembered while the issuer asks who it is, and then of whom.

Both are kept by the browser itself, sealed, so that the console needs no store to write to.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from fiso.domain.access import Claims
from fiso.domain.request import TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt:
    """One way to the issuer and back. `state` ties the answer to this browser, `nonce` the identity token to this
    attempt, `code_verifier` the code to whoever asked for it (PKCE, RFC 7636). `return_to` is a path of the console."""

    state: str
    nonce: str
    code_verifier: str
    return_to: str
    expires_at: datetime

    def text(self) -> str:
        """As JSON; `parsed` reads it back."""
        return json.dumps(
            {
                "kind": "attempt",
                "state": self.state,
                "nonce": self.nonce,
                "code_verifier": self.code_verifier,
                "return_to": self.return_to,
                "expires_at": self.expires_at.timestamp(),
            }
        )

    @classmethod
    def parsed(cls, text: str) -> Self:
        """`ValueError` for anything but an attempt's own text."""
        document = _document(text, "attempt")
        return cls(
            state=_word(document, "state"),
            nonce=_word(document, "nonce"),
            code_verifier=_word(document, "code_verifier"),
            return_to=_word(document, "return_to"),
            expires_at=_instant(document),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who has logged in, until when. `form_token` must come back with every form that the person sends."""

    subject: str
    name: str
    tenant: TenantId
    scopes: frozenset[str]
    form_token: str
    expires_at: datetime

    @property
    def claims(self) -> Claims:
        """The person as a caller."""
        return Claims(subject=self.subject, tenant=self.tenant, scopes=self.scopes, expires_at=self.expires_at)

    def text(self) -> str:
        """As JSON; `parsed` reads it back."""
        return json.dumps(
            {
                "kind": "session",
                "subject": self.subject,
                "name": self.name,
                "tenant": self.tenant,
                "scopes": sorted(self.scopes),
                "form_token": self.form_token,
                "expires_at": self.expires_at.timestamp(),
            }
        )

    @classmethod
    def parsed(cls, text: str) -> Self:
        """`ValueError` for anything but a session's own text."""
        document = _document(text, "session")
        scopes = document.get("scopes")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise ValueError("scopes is not a list of words")
        return cls(
            subject=_word(document, "subject"),
            name=_word(document, "name"),
            tenant=TenantId(_word(document, "tenant")),
            scopes=frozenset(scopes),
            form_token=_word(document, "form_token"),
            expires_at=_instant(document),
        )


def _document(text: str, kind: str) -> Mapping[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict) or document.get("kind") != kind:
        raise ValueError(f"this is not a {kind}")
    return document


def _word(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing")
    return value


def _instant(document: Mapping[str, Any]) -> datetime:
    value = document.get("expires_at")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expires_at is not a time")
    return datetime.fromtimestamp(value, UTC)
