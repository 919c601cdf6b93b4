"""Catalog entries and snapshots as plain documents (JSON types only) and back.

A snapshot's bytes are canonical (sorted keys, no spaces, ASCII) and carry the sha256 of everything else in them, so
equal snapshots have equal bytes and a damaged one is never read. Raises `InvalidCatalog` only.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256

from fiso.codecs.policy import POLICY_FORM
from fiso.codecs.typed import Codec, Document, Form, Json, Malformed, Shape
from fiso.domain.address import without_misspelled
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.domain.errors import InvalidCatalog
from fiso.domain.policy import Policy
from fiso.domain.terms import Terms

SCHEMA = 1
"""Readers ignore keys they do not know: raise this with any new field that must not be ignored (a new denial, say).
A policy's later keys did not raise it: a reader that ignores them routes as it did before they were written."""
WITH_DENIALS = 2
"""Of a catalog with functions for some tenants only, or that are not leased: code that would serve them to all, or tell
where they are, must not read it."""


def snapshot_to_json(snapshot: Snapshot) -> bytes:
    """The canonical bytes of a snapshot, checksum included."""
    denies = any(entry.policy.tenants or not entry.policy.leases for entry in snapshot.functions.values())
    document: Document = {"schema": WITH_DENIALS if denies else SCHEMA, **_SNAPSHOTS.to_document(snapshot)}
    document["sha256"] = _checksum(document)
    return _canonical(document)


def snapshot_from_json(data: bytes) -> Snapshot:
    """What `snapshot_to_json` wrote; `InvalidCatalog` with the reason for anything else.

    An endpoint with a name, region, path or secret that is none by the grammar is read as `refused`: one of them must
    not stop the whole catalog.
    """
    try:
        document = json.loads(data)
        if not isinstance(document, dict):
            raise Malformed("must be an object")
        claimed, found = document.pop("sha256", None), _checksum(document)
    except (ValueError, RecursionError) as error:
        raise InvalidCatalog(f"snapshot does not parse: {error}") from error
    if claimed != found:
        raise InvalidCatalog(f"snapshot is damaged: its sha256 says {claimed!r}, its content gives {found!r}")
    if document.get("schema") not in (SCHEMA, WITH_DENIALS):
        raise InvalidCatalog(
            f"snapshot has schema {document.get('schema')!r}, this code reads {SCHEMA} and {WITH_DENIALS}"
        )
    try:
        return without_misspelled(_SNAPSHOTS.from_document(Snapshot, document))
    except Malformed as error:
        raise InvalidCatalog(f"snapshot does not parse: {error}") from error


def entry_to_document(entry: CatalogEntry) -> Document:
    return _ENTRIES.to_document(entry)


def entry_from_document(document: Mapping[str, Json]) -> CatalogEntry:
    """What `entry_to_document` made; unknown keys are ignored."""
    try:
        return _ENTRIES.from_document(CatalogEntry, document)
    except Malformed as error:
        raise InvalidCatalog(f"function {document.get('name')!r} does not parse: {error}") from error


def endpoint_to_document(endpoint: Endpoint) -> Document:
    return _ENTRIES.to_document(endpoint)


def endpoint_from_document(document: Mapping[str, Json]) -> Endpoint:
    """What `endpoint_to_document` made; `Malformed` for anything else."""
    return _ENTRIES.from_document(Endpoint, document)


def terms_to_document(terms: Terms) -> Document:
    return _ENTRIES.to_document(terms)


def _canonical(document: Document) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _checksum(document: Document) -> str:
    return sha256(_canonical(document)).hexdigest()


def _functions_to_document(functions: Mapping[FunctionName, CatalogEntry]) -> list[Json]:
    return [entry_to_document(functions[name]) for name in sorted(functions)]


def _functions_from_document(document: object) -> Mapping[FunctionName, CatalogEntry]:
    found = _LISTED.read(document)
    functions = {entry.name: entry for entry in found} if isinstance(found, tuple) else {}
    if len(functions) != len(document if isinstance(document, list) else ()):
        raise Malformed("a function stands in it twice")
    return functions


_LATER = frozenset({"plan", "architecture", "vcpu"})
"""What endpoints did not have at first: absent means the provider's own, and it is written so."""
_ENTRIES = Codec(
    forms={Policy: POLICY_FORM},
    shapes={
        CatalogEntry: Shape(left_out=frozenset({"refused", "quarantined"}), omits_none=frozenset({"prices"})),
        Endpoint: Shape(required=frozenset(each.name for each in fields(Endpoint)) - _LATER, omits_none=_LATER),
        Terms: Shape(omits_none=True),
    },
)
_LISTED = _ENTRIES.form(tuple[CatalogEntry, ...])
_SNAPSHOTS = Codec(
    shapes={
        Snapshot: Shape(
            forms={"functions": Form(_functions_to_document, _functions_from_document)},
            left_out=frozenset({"_unpinned"}),
        )
    }
)
