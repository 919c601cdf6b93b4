"""Spilled lines: a record as the text that goes to the orchestrator's own log, `fs1.<key id>.<mark>.<document>`.

The mark is HMAC-SHA256 over all the rest, byte by byte, by a key that is derived from the one that signs leases: only
orchestrator and keeper can read that. Whoever else may write the log group writes text. Without a key a document stands
alone, which is a line for a person to look at: no keeper writes it. docs/decisions/0021-what-has-a-record.md
"""

import hashlib
import hmac
import json

from fiso.codecs.lease_token import Keyring, LeaseKey
from fiso.codecs.record import from_document
from fiso.domain.errors import InvalidRecord, UnmarkedRecord
from fiso.domain.record import InvocationRecord, OpenRecord

VERSION = "fs1"
PURPOSE = "spilled records"


def written(document: object, keyring: Keyring | None) -> str:
    """The text of a record's document as it may be logged, marked by the newest key where there is one."""
    text = _json(document)
    if keyring is None:
        return text
    key = keyring.newest
    return f"{VERSION}.{key.id}.{_mark(key, text)}.{text}"


def read(written: object, keyring: Keyring | None) -> InvocationRecord | OpenRecord:
    """The record in a text. `UnmarkedRecord` unless a key of the ring marked exactly this text: nothing of it is parsed
    before. `InvalidRecord` when what was marked is no record: another version's."""
    text = _marked(written, keyring)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"a spilled line is not JSON: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise InvalidRecord(f"a spilled line carries an object, not {type(document).__name__}")
    return from_document(document)


def text_of(written: object) -> str:
    """The text of the document that is claimed to stand in a line, whatever it says of its mark."""
    if not isinstance(written, str):
        return _json(written)
    return written.split(".", 3)[3] if written.startswith(f"{VERSION}.") and written.count(".") >= 3 else written


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _marked(written: object, keyring: Keyring | None) -> str:
    parts = written.split(".", 3) if isinstance(written, str) and written.isascii() else []
    if len(parts) != 4 or parts[0] != VERSION:
        raise UnmarkedRecord("it carries no mark")
    _, key_id, mark, text = parts
    key = keyring.find(key_id) if keyring else None
    if key is None:
        raise UnmarkedRecord("its mark is of no key that is known (any more)")
    if not hmac.compare_digest(_mark(key, text), mark):
        raise UnmarkedRecord("its mark does not fit")
    return text


def _mark(key: LeaseKey, text: str) -> str:
    """In hexadecimal digits, which nothing that looks for secrets takes for one."""
    signed = f"{VERSION}.{key.id}.{text}".encode("ascii")
    return hmac.new(key.derived(PURPOSE), signed, hashlib.sha256).hexdigest()
