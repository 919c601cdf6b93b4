"""Leases as compact documents and back: rows instead of objects, short keys, instants as milliseconds since the epoch.

They travel in tokens, which must stay short (docs/decisions/0006-the-lease.md). What does not parse raises `Malformed`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from fiso.codecs.typed import Codec, Document, Form, Json, Malformed, Shape
from fiso.domain.decision import Exclusion
from fiso.domain.lease import Lease, LeasedEndpoint
from fiso.domain.record import CandidateSummary

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
