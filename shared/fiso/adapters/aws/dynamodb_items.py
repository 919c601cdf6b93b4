"""Items: records and states as DynamoDB attribute values and back.

The brief's fields are attributes of their own; nested ones are one compact JSON attribute.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zlib import crc32

from fiso.codecs.record import from_document, open_to_document, to_document
from fiso.codecs.typed import Codec, Document, Json, Shape
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.state import EndpointState, LoadLevel

Item = dict[str, dict[str, Any]]

SHARDS = 4
"""Index partitions per day (or of open records), so that no single one takes every write."""
KEEP_S = 35 * 86_400
NESTED = ("features", "candidates", "exclusions", "attempts")


def shard_of(invocation_id: str) -> int:
    """A stable number in [0, SHARDS)."""
    return crc32(invocation_id.encode()) % SHARDS


def open_item(record: OpenRecord) -> Item:
    """An intent; `open_shard` puts it into the sparse index until it is closed."""
    item = _attributes(open_to_document(record))
    item["open_shard"] = {"S": str(shard_of(record.invocation_id))}
    item["expires_at"] = _expiry(record.timestamp)
    return item


def closed_item(record: InvocationRecord) -> Item:
    """A finished record; `time_shard` puts it into the index by time."""
    document = to_document(record)
    nested = {name: document.pop(name) for name in NESTED}
    item = _attributes({name: value for name, value in document.items() if value is not None})
    item["detail"] = {"S": json.dumps(nested, separators=(",", ":"))}
    item["time_shard"] = {"S": time_shard(record.timestamp, shard_of(record.invocation_id))}
    item["expires_at"] = _expiry(record.timestamp)
    return item


def time_shard(moment: datetime, shard: int) -> str:
    """The partition of the index by time."""
    return f"{moment:%Y-%m-%d}#{shard}"


def record_from_item(item: Mapping[str, Mapping[str, Any]]) -> InvocationRecord | OpenRecord:
    """What `open_item` or `closed_item` made; also a stream's image. `InvalidRecord` when it does not parse."""
    try:
        document = {name: _value(attribute) for name, attribute in item.items()}
        detail = document.pop("detail", None)
        if isinstance(detail, str):
            document.update(json.loads(detail))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidRecord(f"item does not parse: {type(error).__name__}: {error}") from error
    return from_document(document)


def state_item(state: EndpointState) -> Item:
    """A folded state under its function and endpoint."""
    document = _STATES.to_document(state)
    function, endpoint, version, folded = (document.pop(name) for name in _OWN_ATTRIBUTES)
    return {
        "function_name": {"S": function},
        "item": {"S": f"endpoint#{endpoint}"},
        "version": {"N": str(version)},
        "folded": {"N": str(folded)},
        "state": {"S": json.dumps(document, separators=(",", ":"))},
    }


def state_from_item(item: Mapping[str, Mapping[str, Any]]) -> EndpointState:
    """What `state_item` made; fields of older code are left out, those it did not know get their defaults."""
    own = {
        "function": item["function_name"]["S"],
        "endpoint": item["item"]["S"].removeprefix("endpoint#"),
        "version": int(item["version"]["N"]),
        "folded": int(item["folded"]["N"]),
    }
    return _STATES.from_document(EndpointState, json.loads(item["state"]["S"]) | own)


_OWN_ATTRIBUTES = ("function", "endpoint", "version", "folded")
_STATES = Codec(shapes={EndpointState: Shape(omits_none=True), LoadLevel: Shape(omits_none=True)})


def _attributes(document: Document) -> Item:
    return {name: _attribute(value) for name, value in document.items()}


def _attribute(value: Json) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | float):
        return {"N": repr(value)}
    return {"NULL": True}


def _value(attribute: Mapping[str, Any]) -> Json:
    (kind, value), *others = attribute.items()
    if others:
        raise ValueError("an attribute has more than one type")
    if kind == "N":
        number = float(value)
        return int(number) if number.is_integer() and "." not in value and "e" not in value.lower() else number
    if kind == "BOOL":
        return bool(value)
    if kind == "S":
        return str(value)
    if kind == "NULL":
        return None
    raise ValueError(f"unexpected attribute type {kind}")


def _expiry(moment: datetime) -> dict[str, str]:
    return {"N": str(int(moment.timestamp()) + KEEP_S)}
