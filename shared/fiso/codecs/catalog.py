"""Catalog entries and snapshots as plain documents (JSON types only) and back.

A snapshot's bytes are canonical (sorted keys, no spaces, ASCII) and carry the sha256 of everything else in them, so
equal snapshots have equal bytes and a damaged one is never read. Raises `InvalidCatalog` only.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from fiso.codecs.policy import POLICY_FORM
from fiso.codecs.typed import Codec, Document, Form, Json, Malformed, Shape
from fiso.domain.address import without_misspelled
from fiso.domain.catalog import Ahead, CatalogEntry, Damage, Snapshot
from fiso.domain.endpoint import Architecture, Endpoint, FunctionName, Plan
from fiso.domain.errors import InvalidCatalog
from fiso.domain.policy import Policy
from fiso.domain.stage_rules import NO_RULES, StageRules
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
    document: Document = {
        "schema": WITH_DENIALS if denies else SCHEMA,
        **_ENTRIES.to_document(
            _Envelope(
                version=snapshot.version,
                published_at=snapshot.published_at,
                base=snapshot.base,
                ahead=dict(snapshot.ahead) or None,
                rules=snapshot.rules or None,
            )
        ),
        "functions": [entry_to_document(snapshot.functions[name]) for name in sorted(snapshot.functions)],
    }
    document["sha256"] = _checksum(document)
    return _canonical(document)


def snapshot_from_json(data: bytes) -> Snapshot:
    """What `snapshot_to_json` wrote; `InvalidCatalog` with the reason for anything else.

    A damaged row costs only itself: an endpoint with a name, region, path or secret that is none by the grammar is read
    as `refused`, one that does not parse is left out, and a function that does not is `damaged`.
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
        envelope = _ENTRIES.from_document(_Envelope, document)
        functions, damaged = _functions_in(document.get("functions"))
    except Malformed as error:
        raise InvalidCatalog(f"snapshot does not parse: {error}") from error
    read = Snapshot(
        version=envelope.version,
        published_at=envelope.published_at,
        functions=functions,
        damaged=damaged,
        base=envelope.base,
        ahead=envelope.ahead or {},
        rules=envelope.rules or NO_RULES,
    )
    return without_misspelled(read)


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


def rules_to_document(rules: StageRules) -> Document:
    return _ENTRIES.to_document(rules)


def rules_from_document(document: object) -> StageRules:
    """What `rules_to_document` made; `Malformed` for anything else."""
    return _ENTRIES.from_document(StageRules, document)


def terms_to_document(terms: Terms) -> Document:
    return _ENTRIES.to_document(terms)


def _canonical(document: Document) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _checksum(document: Document) -> str:
    return sha256(_canonical(document)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    """What a snapshot is beside its functions."""

    version: int
    published_at: datetime
    base: int | None = None
    ahead: Mapping[FunctionName, Ahead] | None = None
    rules: StageRules | None = None


_Functions = dict[FunctionName, CatalogEntry]


def _functions_in(rows: object) -> tuple[_Functions, dict[str, Damage]]:
    if not isinstance(rows, list):
        raise Malformed("must be a list", "functions")
    functions, damaged = _Functions(), dict[str, Damage]()
    for number, row in enumerate(rows):
        name = _name_in(row, number)
        if name in functions or name in damaged:  # nobody can tell which of them is meant
            functions.pop(FunctionName(name), None)
            damaged[name] = Damage(reason="it stands in the catalog twice", tenants=_tenants_in(row))
            continue
        try:
            entry, left_out = _entry_in(row)
        except Malformed as error:
            damaged[name] = Damage(reason=str(error), tenants=_tenants_in(row))
            continue
        functions[entry.name] = entry
        damaged |= {f"{name}/{copy}": Damage(reason=why, is_endpoint=True) for copy, why in left_out.items()}
    return functions, damaged


def _entry_in(row: object) -> tuple[CatalogEntry, dict[str, str]]:
    """A function without the endpoints that cannot be read, and why not. A policy that names one of them is no policy
    of what is left: then the function cannot be read."""
    try:
        return _ENTRIES.from_document(CatalogEntry, row), {}
    except Malformed:
        endpoints = row.get("endpoints") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(endpoints, list):
            raise
        left_out = dict(_flaws_of(endpoints))
        whole = [endpoint for number, endpoint in enumerate(endpoints) if number not in left_out]
        if not left_out or not whole:
            raise
    entry = _ENTRIES.from_document(CatalogEntry, {**row, "endpoints": whole})
    return entry, {_name_in(endpoints[number], number, key="id"): why for number, why in left_out.items()}


def _flaws_of(endpoints: list[object]) -> Iterator[tuple[int, str]]:
    for number, endpoint in enumerate(endpoints):
        try:
            _ENTRIES.from_document(Endpoint, endpoint)
        except Malformed as error:
            yield number, str(error)


def _name_in(row: object, number: int, key: str = "name") -> str:
    """What a row is called; its number where it has no name."""
    name = row.get(key) if isinstance(row, dict) else None
    return name if isinstance(name, str) else f"#{number}"


def _tenants_in(row: object) -> frozenset[str]:
    policy = row.get("policy") if isinstance(row, dict) else None
    tenants = policy.get("tenants") if isinstance(policy, dict) else None
    return frozenset(str(tenant) for tenant in tenants) if isinstance(tenants, list) else frozenset()


def _known_word(kind: type[StrEnum]) -> Form:
    """A word of later code, which a store may hold when functions go back to this, means what is not said: a price that
    is not known must not take the catalog away. A file's words are the schema's."""
    known = {word.value: word for word in kind}

    def read(value: object) -> StrEnum | None:
        if not isinstance(value, str):
            raise Malformed(f"must be text, not {value!r:.80}")
        return known.get(value)

    return Form(lambda word: word.value, read)


_LATER = frozenset({"plan", "architecture", "vcpu"})
"""What endpoints did not have at first: absent means the provider's own, and it is written so."""
_ENTRIES = Codec(
    forms={Policy: POLICY_FORM},
    shapes={
        CatalogEntry: Shape(left_out=frozenset({"refused", "quarantined"}), omits_none=frozenset({"prices"})),
        Endpoint: Shape(
            required=frozenset(each.name for each in fields(Endpoint)) - _LATER,
            omits_none=_LATER,
            forms={"plan": _known_word(Plan), "architecture": _known_word(Architecture)},
        ),
        Terms: Shape(omits_none=True),
        _Envelope: Shape(omits_none=True),
        StageRules: Shape(omits_none=frozenset({"identities"})),
    },
)
