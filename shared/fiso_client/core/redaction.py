"""Redaction: text that others wrote, made fit to be logged, stored and shown.

What is known to be a secret by its name (`token=…`, `authorization: …`) or by its looks (a JWT, a private key, a
cloud's access key) is taken out, and what would command a terminal or begin a line of its own is spelled out. A secret
of no known looks is not found here: what providers and callers send is therefore not repeated in the first place.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache

GONE = "[redacted]"
LONGEST_DETAIL = 300
LONGEST_TEXT = 20_000

_SECRET_NAMES = ("authorization", "cookie", "token", "secret", "passw", "pwd", "credential", "signature", "key")
_HINTS = (
    *(*_SECRET_NAMES, "bearer", "basic", "code=", "code:", 'code"', "code'", "sig=", "sig:", "://", "-----begin"),
    *("eyj", "akia", "asia", "aiza", "ya29.", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "azfu"),
)
"""In lower case. A text without any of these has nothing to take out; most have none."""

_LOOKS = (
    r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)"  # a private key, whole or cut
    r"|eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}"  # a JWT
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"  # AWS
    r"|\bAIza[A-Za-z0-9_-]{20,}|\bya29\.[A-Za-z0-9._-]+"  # Google
    r"|\b[A-Za-z0-9_-]{20,}AzFu[A-Za-z0-9_-]*={0,2}"  # an Azure function key
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bxox[abprs]-[A-Za-z0-9-]{8,}"
)
_IS = r"""\\{0,4}["']?\s*[=:]\s*"""
_QUOTED = r"""(?P<quote>\\{0,4}["']).*?(?:(?P=quote)|$)"""
_VALUE = rf"""(?:{_QUOTED}|(?!\[redacted)[^\s,;&"'<>(){{}}\[\]\\]+)"""
_HEADERS = rf"""(authorization|cookie)({_IS})(?:{_QUOTED}|[^\r\n"'}}]+)"""
_NAMED = rf"(token|(?<!:)secret|passw(?:or)?d|pwd|credentials?|signature|\bsig|\bcode)([\w-]{{0,40}}{_IS}){_VALUE}"
_KEYS = rf"(keys?)((?:[_-][\w-]{{0,40}})?{_IS}){_VALUE}"


def redact(text: str, *, limit: int = LONGEST_DETAIL, keep_lines: bool = False) -> str:
    """At most `limit` characters of a text, without secrets, on one line unless `keep_lines` (a traceback's)."""
    text = text[:limit]
    if _is_suspect(text.lower()):
        text = _without_secrets(text)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or (keep_lines and character == "\n") else _spelled(character)
        for character in text
    )


def redact_document(value: object, *, limit: int = LONGEST_TEXT) -> object:
    """A document with the same done to every text in it; values under a secret's name are gone whole."""
    if isinstance(value, str):
        return redact(value, limit=limit)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            redact(str(name)): GONE if is_secret_name(str(name)) else redact_document(item, limit=limit)
            for name, item in value.items()
        }
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
        return [redact_document(item, limit=limit) for item in value]
    return GONE if isinstance(value, bytes | bytearray) else redact(str(value), limit=limit)


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is secret: a header's, a parameter's, a field's."""
    lowered = name.lower()
    return any(part in lowered for part in _SECRET_NAMES) or lowered in ("code", "sig")


@cache
def _rules() -> tuple[tuple[re.Pattern[str], str], ...]:
    """What is looked for, in this order, and what stands there then. Made when first needed, not at a cold start."""
    return (
        (re.compile(_LOOKS, re.DOTALL), GONE),
        (re.compile(r"://[^/\s@]+@"), f"://{GONE}@"),
        (re.compile(_HEADERS, re.IGNORECASE), rf"\1\2{GONE}"),
        (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE), rf"\1 {GONE}"),
        (re.compile(_NAMED, re.IGNORECASE), rf"\1\2{GONE}"),
        (re.compile(_KEYS, re.IGNORECASE), rf"\1\2{GONE}"),
    )


def _is_suspect(lowered: str) -> bool:
    for hint in _HINTS:  # noqa: SIM110 # `any` with a generator takes twice as long, for each field of each log line
        if hint in lowered:
            return True
    return False


def _without_secrets(text: str) -> str:
    for pattern, instead in _rules():
        text = pattern.sub(instead, text)
    return text


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
