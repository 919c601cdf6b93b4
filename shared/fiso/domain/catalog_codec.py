"""Catalog entries and snapshots as plain documents (JSON types only) and back.

A snapshot's bytes are canonical (sorted keys, no spaces, ASCII) and carry the sha256 of everything else in them, so
equal snapshots have equal bytes and a damaged one is never read. Raises `InvalidCatalog` only. Standard library only,
and written by hand: this runs while the orchestrator starts.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Authentication, Endpoint, EndpointId, FunctionName, Payload, Provider
from fiso.domain.errors import InvalidCatalog
from fiso.domain.policy import CostSource, Idempotent, Mode, Policy, Scoring, Weights
from fiso.domain.record_codec import Document, Json

SCHEMA = 1
"""Readers ignore keys they do not know: raise this with any new field that must not be ignored (a new denial, say)."""

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
    return _mapping(json.loads(data))


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
    entries = [entry_from_document(_mapping(item)) for item in _sequence(document["functions"])]
    published_at = datetime.fromisoformat(_text(document["published_at"]))
    if published_at.tzinfo is None:
        raise ValueError("published_at names no time zone")
    functions = {entry.name: entry for entry in entries}
    if len(functions) != len(entries):
        raise ValueError("a function stands in it twice")
    return Snapshot(version=_whole(document["version"]), published_at=published_at.astimezone(UTC), functions=functions)


def _entry_from(d: Mapping[str, Json]) -> CatalogEntry:
    return CatalogEntry(
        name=FunctionName(_text(d["name"])),
        function_type=_text(d["function_type"]),
        endpoints=tuple(_endpoint_from(_mapping(item)) for item in _sequence(d["endpoints"])),
        policy=_policy_from(_mapping(d["policy"])),
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
        id=EndpointId(_text(d["id"])),
        provider=Provider(_text(d["provider"])),
        region=_text(d["region"]),
        memory_mb=_whole(d["memory_mb"]),
        address=_text(d["address"]),
        path=_text(d["path"]),
        payload=Payload(_text(d["payload"])),
        authentication=Authentication(_text(d["authentication"])),
        secret_ref=_maybe_text(d["secret_ref"]),
        concurrency_limit=_whole(d["concurrency_limit"]),
    )


def policy_to_document(policy: Policy) -> Document:
    """A policy as a document, part of its function's; sets as sorted lists."""
    weights = policy.weights
    return {
        "version": policy.version,
        "weights": {
            "latency": float(weights.latency),
            "cost": float(weights.cost),
            "reliability": float(weights.reliability),
            "region_affinity": float(weights.region_affinity),
        },
        "scoring": policy.scoring.value,
        "allowed_providers": _listed(policy.allowed_providers),
        "denied_providers": _listed(policy.denied_providers),
        "allowed_regions": _listed(policy.allowed_regions),
        "denied_regions": _listed(policy.denied_regions),
        "residency": _listed(policy.residency),
        "mode": policy.mode.value,
        "home": policy.home,
        "pinned": policy.pinned,
        "idempotent": policy.idempotent.value,
        "timeout_ms": policy.timeout_ms,
        "max_attempts": policy.max_attempts,
        "exploration": float(policy.exploration),
        "cost_source": policy.cost_source.value,
    }


def _policy_from(d: Mapping[str, Json]) -> Policy:
    return Policy(
        version=_whole(d["version"]),
        weights=_weights_from(_mapping(d["weights"])),
        scoring=Scoring(_text(d["scoring"])),
        allowed_providers=_providers(d["allowed_providers"]),
        denied_providers=_providers(d["denied_providers"]),
        allowed_regions=_texts(d["allowed_regions"]),
        denied_regions=_texts(d["denied_regions"]),
        residency=_texts(d["residency"]),
        mode=Mode(_text(d["mode"])),
        home=_maybe_endpoint_id(d["home"]),
        pinned=_maybe_endpoint_id(d["pinned"]),
        idempotent=Idempotent(_text(d["idempotent"])),
        timeout_ms=_whole(d["timeout_ms"]),
        max_attempts=_whole(d["max_attempts"]),
        exploration=_number(d["exploration"]),
        cost_source=CostSource(_text(d["cost_source"])),
    )


def _weights_from(d: Mapping[str, Json]) -> Weights:
    return Weights(
        latency=_number(d["latency"]),
        cost=_number(d["cost"]),
        reliability=_number(d["reliability"]),
        region_affinity=_number(d["region_affinity"]),
    )


def _listed(values: Iterable[str | StrEnum]) -> list[Json]:
    return [*sorted(str(value) for value in values)]


def _texts(value: Json) -> frozenset[str]:
    return frozenset(_text(item) for item in _sequence(value))


def _providers(value: Json) -> frozenset[Provider]:
    return frozenset(Provider(item) for item in _texts(value))


def _maybe_endpoint_id(value: Json) -> EndpointId | None:
    return None if value is None else EndpointId(_text(value))


def _maybe_text(value: Json) -> str | None:
    return None if value is None else _text(value)


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {value!r}")
    return value


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)


def _whole(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, not {value!r}")
    return value


def _mapping(value: Json) -> Document:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {value!r:.80}")
    return value


def _sequence(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, not {value!r:.80}")
    return value
