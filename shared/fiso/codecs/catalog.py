"""Catalog entries and snapshots as plain documents (JSON types only) and back.

A snapshot's bytes are canonical (sorted keys, no spaces, ASCII) and carry the sha256 of everything else in them, so
equal snapshots have equal bytes and a damaged one is never read. Raises `InvalidCatalog` only. Standard library only,
and written by hand: this runs while the orchestrator starts.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

from fiso.codecs.json_values import mapping, maybe_text, sequence, text, whole
from fiso.codecs.policy import policy_from_document, policy_to_document
from fiso.codecs.record import Document, Json
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Authentication, Endpoint, EndpointId, FunctionName, Payload, Provider
from fiso.domain.errors import InvalidCatalog

SCHEMA = 1
"""Readers ignore keys they do not know: raise this with any new field that must not be ignored (a new denial, say).
A policy's later keys did not raise it: a reader that ignores them routes as it did before they were written."""

_Read = TypeVar("_Read")
_DAMAGE = (KeyError, ValueError, TypeError, OverflowError, RecursionError)


def snapshot_to_json(snapshot: Snapshot) -> bytes:
    """The canonical bytes of a snapshot, checksum included."""
    entries = sorted(snapshot.functions.values(), key=lambda entry: entry.name)
    document: Document = {
        "schema": SCHEMA,
        "version": snapshot.version,
        "published_at": snapshot.published_at.astimezone(UTC).isoformat(),
        "functions": [entry_to_document(entry) for entry in entries],
    }
    document["sha256"] = _checksum(document)
    return _canonical(document)


def snapshot_from_json(data: bytes) -> Snapshot:
    """What `snapshot_to_json` wrote; `InvalidCatalog` with the reason for anything else."""
    document = _verified(data)
    return _read("snapshot", _snapshot_from, document)


def entry_to_document(entry: CatalogEntry) -> Document:
    """One function as a document."""
    return {
        "name": entry.name,
        "function_type": entry.function_type,
        "endpoints": [endpoint_to_document(endpoint) for endpoint in entry.endpoints],
        "policy": policy_to_document(entry.policy),
    }


def entry_from_document(document: Mapping[str, Json]) -> CatalogEntry:
    """What `entry_to_document` made; unknown keys are ignored."""
    return _read(f"function {document.get('name')!r}", _entry_from, document)


def _verified(data: bytes) -> Document:
    document = _read("snapshot", _parsed, data)
    claimed, found = (document.pop("sha256", None), _read("snapshot", _checksum, document))
    if claimed != found:
        raise InvalidCatalog(f"snapshot is damaged: its sha256 says {claimed!r}, its content gives {found!r}")
    if document.get("schema") != SCHEMA:
        raise InvalidCatalog(f"snapshot has schema {document.get('schema')!r}, this code reads {SCHEMA}")
    return document


def _parsed(data: bytes) -> Document:
    return mapping(json.loads(data))


def _canonical(document: Document) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _checksum(document: Document) -> str:
    return sha256(_canonical(document)).hexdigest()


def _read(what: str, read: Callable[..., _Read], source: object) -> _Read:
    """Run one reader; whatever damage it meets becomes `InvalidCatalog`."""
    try:
        return read(source)
    except _DAMAGE as error:
        raise InvalidCatalog(f"{what} does not parse: {type(error).__name__}: {error}") from error


def _snapshot_from(document: Mapping[str, Json]) -> Snapshot:
    entries = [entry_from_document(mapping(item)) for item in sequence(document["functions"])]
    published_at = datetime.fromisoformat(text(document["published_at"]))
    if published_at.tzinfo is None:
        raise ValueError("published_at names no time zone")
    functions = {entry.name: entry for entry in entries}
    if len(functions) != len(entries):
        raise ValueError("a function stands in it twice")
    return Snapshot(version=whole(document["version"]), published_at=published_at.astimezone(UTC), functions=functions)


def _entry_from(d: Mapping[str, Json]) -> CatalogEntry:
    return CatalogEntry(
        name=FunctionName(text(d["name"])),
        function_type=text(d["function_type"]),
        endpoints=tuple(_endpoint_from(mapping(item)) for item in sequence(d["endpoints"])),
        policy=policy_from_document(mapping(d["policy"])),
    )


def endpoint_to_document(endpoint: Endpoint) -> Document:
    """One endpoint as a document, part of its function's."""
    return {
        "id": endpoint.id,
        "provider": endpoint.provider.value,
        "region": endpoint.region,
        "memory_mb": endpoint.memory_mb,
        "address": endpoint.address,
        "path": endpoint.path,
        "payload": endpoint.payload.value,
        "authentication": endpoint.authentication.value,
        "secret_ref": endpoint.secret_ref,
        "concurrency_limit": endpoint.concurrency_limit,
    }


def _endpoint_from(d: Mapping[str, Json]) -> Endpoint:
    return Endpoint(
        id=EndpointId(text(d["id"])),
        provider=Provider(text(d["provider"])),
        region=text(d["region"]),
        memory_mb=whole(d["memory_mb"]),
        address=text(d["address"]),
        path=text(d["path"]),
        payload=Payload(text(d["payload"])),
        authentication=Authentication(text(d["authentication"])),
        secret_ref=maybe_text(d["secret_ref"]),
        concurrency_limit=whole(d["concurrency_limit"]),
    )
