"""Redaction: text that others wrote, made fit to be logged, stored and shown.

What is known to be a secret by its name (`token=…`, `authorization: …`) or by its looks (a JWT, a private key, a
cloud's access key) is taken out, and what would command a terminal or begin a line of its own is spelled out. A secret
of no known looks is not found here: what providers and callers send is therefore not repeated in the first place.
"""

import re
from collections.abc import Mapping, Sequence

GONE = "[redacted]"
LONGEST_DETAIL = 300
LONGEST_TEXT = 20_000

_SECRET_NAMES = ("authorization", "cookie", "token", "secret", "passw", "pwd", "credential", "signature", "key")
_HINTS = (
    *(
        "authorization",
        "cookie",
        "token",
        "secret",
        "passw",
        "pwd",
        "credential",
        "signature",
        "key",
        "bearer",
        "basic",
    ),
    *("code=", "code:", 'code"', "code'", "sig=", "sig:", "://", "-----begin"),
    *("eyj", "akia", "asia", "aiza", "ya29.", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "azfu"),
)
"""In lower case. A text without any of these has nothing to take out; most have none."""

_VALUE = r"""(?:(?P<quote>\\{0,4}["']).*?(?:(?P=quote)|$)|(?!\[redacted)[^\s,;&"'<>(){}\[\]\\]+)"""
_LOOKS = re.compile(
    r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)"  # a private key, whole or cut
    r"|eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}"  # a JWT
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"  # AWS
    r"|\bAIza[A-Za-z0-9_-]{20,}|\bya29\.[A-Za-z0-9._-]+"  # Google
    r"|\b[A-Za-z0-9_-]{20,}AzFu[A-Za-z0-9_-]*={0,2}"  # an Azure function key
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bxox[abprs]-[A-Za-z0-9-]{8,}",
    re.DOTALL,
)
_SCHEMES = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE)
_HEADERS = re.compile(
    r"(authorization|cookie)(\\{0,4}[\"']?\s*[=:]\s*)(?:(?P<quote>\\{0,4}[\"']).*?(?:(?P=quote)|$)|[^\r\n\"'}]+)", re.I
)
_NAMED = re.compile(
    r"(token|(?<!:)secret|passw(?:or)?d|pwd|credentials?|signature|\bsig|\bcode)([\w-]{0,40}\\{0,4}[\"']?\s*[=:]\s*)"
    + _VALUE,
    re.IGNORECASE,
)
_KEYS = re.compile(r"(keys?)((?:[_-][\w-]{0,40})?\\{0,4}[\"']?\s*[=:]\s*)" + _VALUE, re.IGNORECASE)
_IN_URL = re.compile(r"://[^/\s@]+@")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str, *, limit: int = LONGEST_DETAIL, keep_lines: bool = False) -> str:
    """At most `limit` characters of a text, without secrets, on one line unless `keep_lines` (a traceback's)."""
    text = text[:limit]
    lowered = text.lower()
    if any(hint in lowered for hint in _HINTS):
        text = _without_secrets(text)
    if text.isprintable():
        return text
    return (_CONTROL_BUT_LINES if keep_lines else _CONTROL).sub(_spelled, text)


def cleaned(value: object, *, limit: int = LONGEST_TEXT) -> object:
    """A document with the same done to every text in it; values under a secret's name are gone whole."""
    if isinstance(value, str):
        return shown(value, limit=limit)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            shown(str(name)): GONE if is_secret_name(str(name)) else cleaned(item, limit=limit)
            for name, item in value.items()
        }
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
        return [cleaned(item, limit=limit) for item in value]
    return GONE if isinstance(value, bytes | bytearray) else shown(str(value), limit=limit)


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is secret: a header's, a parameter's, a field's."""
    lowered = name.lower()
    return any(part in lowered for part in _SECRET_NAMES) or lowered in ("code", "sig")


def _without_secrets(text: str) -> str:
    text = _LOOKS.sub(GONE, text)
    text = _IN_URL.sub(f"://{GONE}@", text)
    text = _HEADERS.sub(rf"\1\2{GONE}", text)
    text = _SCHEMES.sub(rf"\1 {GONE}", text)
    text = _NAMED.sub(rf"\1\2{GONE}", text)
    return _KEYS.sub(rf"\1\2{GONE}", text)


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
