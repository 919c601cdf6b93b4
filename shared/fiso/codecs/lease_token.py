"""Tokens: a lease as signed text, `fl1.<key id>.<payload>.<signature>`, that only FISO can have written.

The payload is canonical JSON in base64url without padding; the signature is HMAC-SHA256 (RFC 2104) over everything
before it, compared as text in constant time, so that no other spelling of it passes. The token is readable by whoever
holds it: it holds no secret and no address. Nothing of a token is parsed before its signature was verified.

Tokens must stay short, so a lease is written compactly: rows instead of objects, short keys, instants as milliseconds
since the epoch. docs/decisions/0006-the-lease.md
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fiso.codecs.typed import Codec, Document, Form, Json, Malformed, Shape
from fiso.domain.decision import Exclusion
from fiso.domain.errors import LeaseRefused, LeaseTooLarge
from fiso.domain.lease import Lease, LeasedEndpoint
from fiso.domain.record import CandidateSummary

VERSION = "fl1"
LARGEST_TOKEN = 8192
"""Characters: some 40 candidates with long names."""
SHORTEST_SECRET = 32
MOST_KEYS = 8
_KEY_ID = re.compile(r"[a-z0-9-]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseKey:
    """One key. Its secret shows in no representation."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _KEY_ID.fullmatch(self.id):
            raise ValueError("a lease key's id must be 1 to 16 lower-case letters, digits or -")
        if len(self.secret) < SHORTEST_SECRET:
            raise ValueError(f"lease key {self.id}: a secret must have at least {SHORTEST_SECRET} characters")

    def derived(self, purpose: str) -> bytes:
        """The key for another purpose, which tells nothing of this one or of the others. No token begins like what is
        signed for it."""
        return hmac.new(self.secret, f"fiso: {purpose}".encode(), hashlib.sha256).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys that verify, newest first; the newest signs."""

    keys: tuple[LeaseKey, ...]

    def __post_init__(self) -> None:
        if not 1 <= len({key.id for key in self.keys}) == len(self.keys) <= MOST_KEYS:
            raise ValueError(f"a keyring needs 1 to {MOST_KEYS} keys with ids of their own")

    @classmethod
    def parsed(cls, text: str) -> "Keyring":
        """From `id:secret` words, newest first. The `ValueError` for anything else names no secret."""
        return cls(keys=tuple(_keys(text)))

    @property
    def newest(self) -> LeaseKey:
        return self.keys[0]

    def find(self, key_id: str) -> LeaseKey | None:
        return next((key for key in self.keys if key.id == key_id), None)


def seal(lease: Lease, keyring: Keyring) -> str:
    """The signed token of a lease. `LeaseTooLarge` above LARGEST_TOKEN."""
    document = json.dumps(to_document(lease), sort_keys=True, separators=(",", ":"), allow_nan=False)
    signed = f"{VERSION}.{keyring.newest.id}.{_encoded(document.encode('ascii'))}"
    token = f"{signed}.{_signature(signed, keyring.newest)}"
    if len(token) > LARGEST_TOKEN:
        count = len(lease.candidates)
        raise LeaseTooLarge(f"{lease.function} has {count} candidates, more than a lease can carry; invoke it instead")
    return token


def unseal(token: str, keyring: Keyring) -> Lease:
    """The lease in a token. `LeaseRefused` unless a key of the ring signed exactly this text.

    Codes: `malformed` (also truncated or too long), `unknown_key`, `bad_signature`, `unreadable` (signed by us, but of
    another version's shape).
    """
    if len(token) > LARGEST_TOKEN:
        raise LeaseRefused("malformed", f"a token has at most {LARGEST_TOKEN} characters")
    parts = token.split(".")
    if len(parts) != 4 or parts[0] != VERSION or not token.isascii():
        raise LeaseRefused("malformed", f"not a token of the form {VERSION}.key.payload.signature")
    _, key_id, payload, signature = parts
    key = keyring.find(key_id)
    if key is None:
        raise LeaseRefused("unknown_key", "signed with a key that is not known (any more)")
    if not hmac.compare_digest(_signature(f"{VERSION}.{key_id}.{payload}", key), signature):
        raise LeaseRefused("bad_signature", "the signature does not fit the token")
    try:
        return from_document(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (ValueError, RecursionError) as error:
        raise LeaseRefused("unreadable", "the token is of another version of FISO") from error


def _keys(text: str) -> Iterator[LeaseKey]:
    for position, word in enumerate(text.split()):
        key_id, separator, secret = word.partition(":")
        if not separator:
            raise ValueError(f"word {position + 1} of the lease keys is not id:secret")
        yield LeaseKey(id=key_id, secret=secret.encode())


def _signature(signed: str, key: LeaseKey) -> str:
    return _encoded(hmac.new(key.secret, signed.encode("ascii"), hashlib.sha256).digest())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_VERSIONS = "policy_version snapshot_version model_version tariff_version".split()
_KEYS = {
    "function": "fn",
    "issued_at": "from",
    "expires_at": "to",
    "endpoints": "ends",
    "exclusions": "out",
    "reason": "why",
    "request_size_bytes": "size",
    "user_region": "user",
}


def _moment(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed(f"must be whole milliseconds, not {value!r:.80}")
    return _EPOCH + value * _MILLISECOND


_CODEC = Codec(
    forms={datetime: Form(lambda moment: (moment - _EPOCH) // _MILLISECOND, _moment)},
    shapes={
        Lease: Shape(keys=_KEYS),
        LeasedEndpoint: Shape(is_row=True),
        CandidateSummary: Shape(is_row=True),
        Exclusion: Shape(is_row=True),
    },
)


def to_document(lease: Lease) -> Document:
    document = _CODEC.to_document(lease)
    return document | {"versions": [document.pop(name) for name in _VERSIONS]}


def from_document(document: Mapping[str, Json]) -> Lease:
    """What `to_document` made; `Malformed` for anything else."""
    versions = document.get("versions") if isinstance(document, dict) else None
    if not isinstance(versions, list) or len(versions) != len(_VERSIONS):
        raise Malformed(f"must be a list of {len(_VERSIONS)} values", "versions")
    return _CODEC.from_document(Lease, {**document, **dict(zip(_VERSIONS, versions, strict=True))})
