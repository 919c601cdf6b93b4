"""DynamoDB: the endpoint states, and which records are folded into them.

One item per function and endpoint, written over the version that it was made from. Beside them each commit leaves, for
every PERIOD_S in which its records began, one entry with eight bytes a record. What is folded is found by the record's
own function and time, so it does not matter by which shard, batch or replay a record comes.
docs/decisions/0002-folding-exactly-once.md
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Any, TypeVar

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.dynamodb import KEEP_S, Item, batch_get, query
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.typed import Codec, Form, Shape
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId
from fiso.domain.state import EndpointState, LoadLevel, MonthUse, Totals
from fiso.ports import Clock
from fiso_client.core.sequential import Proportions, Ranks

T = TypeVar("T")

PERIOD_S = 5
"""Shorter, and a batch leaves more entries; longer, and each batch reads more of what others left."""
MARK_BYTES = 8
"""Of 15,000 records in a period (3,000 a second) one in 10^15 is taken for another, which is then not folded."""
FOLDED_KEEP_S = KEEP_S + 86_400
"""Longer than the table keeps a record, so that none can be folded again after its entry is gone, whoever asks."""
OLDER_FORM_AFTER = timedelta(hours=1)
"""Older records may have been folded by code that left a marker for each (docs/decisions/0002)."""


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
_STATES = Codec(
    forms={Proportions: Form(list, lambda row: Proportions(*row)), Ranks: Form(list, lambda row: Ranks(*row))},
    shapes={
        EndpointState: Shape(omits_none=True),
        LoadLevel: Shape(omits_none=True),
        Totals: Shape(is_row=True),
        MonthUse: Shape(is_row=True),
    },
)


class DynamoDBEndpointStates:
    """The table `fiso-endpoint-state`. `marks_as_before`: code of before may fold the same records meanwhile, so its
    markers are looked up for all of them, and left for it."""

    def __init__(self, client: Any, table: str, *, clock: Clock, marks_as_before: bool = False) -> None:
        self._client, self._table, self._clock, self._marks_as_before = client, table, clock, marks_as_before

    def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
        """One consistent query, of all pages."""
        states = self._query(f"states of {function}", function, state_from_item)
        return {state.endpoint: state for state in states}

    def folded_among(self, function: FunctionName, records: Sequence[InvocationRecord]) -> frozenset[InvocationId]:
        periods = {period_of(record) for record in records}
        known = {mark for period in sorted(periods) for mark in self._marks(function, period)}
        found = [record.invocation_id for record in records if mark_of(record.invocation_id) in known]
        before = self._clock() - OLDER_FORM_AFTER
        older = [record.invocation_id for record in records if self._marks_as_before or record.timestamp < before]
        return frozenset([*found, *self._marked_as_before(older)])

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        """One transaction: each state over its previous version, each entry for the first time."""
        items = [*self._entries(function, records), *self._markers_as_before(records)]
        writes = [self._state_write(state) for state in states]
        writes.extend(
            {
                "Put": {
                    "TableName": self._table,
                    "Item": item,
                    "ConditionExpression": "attribute_not_exists(function_name)",
                }
            }
            for item in items
        )
        # All or nothing: a state that moved meanwhile refuses the whole, and the caller folds again on what is there
        # now. Whoever folds a record writes the state that counts it, so no two fold it over the same version.
        with store_errors("commit folded states"):
            self._client.transact_write_items(TransactItems=writes)

    def items_of(self, record: InvocationRecord) -> frozenset[str]:
        marker = [f"folded#{record.invocation_id}"] if self._marks_as_before else []
        return frozenset([str(period_of(record)), *marker])

    def _entries(self, function: FunctionName, records: Sequence[InvocationRecord]) -> Iterator[Item]:
        periods: dict[int, list[bytes]] = {}
        for record in records:
            periods.setdefault(period_of(record), []).append(mark_of(record.invocation_id))
        for period, marks in periods.items():
            packed = b"".join(sorted(marks))
            yield {
                "function_name": {"S": _entries_key(function, period)},
                "item": {"S": f"batch#{blake2b(packed, digest_size=MARK_BYTES).hexdigest()}"},
                "marks": {"B": packed},
                "expires_at": self._expires_at(),
            }

    def _marks(self, function: FunctionName, period: int) -> Iterator[bytes]:
        entries = self._query("read what is folded", _entries_key(function, period), _marks_in)
        return (mark for marks in entries for mark in marks)

    def _query(self, what: str, partition: str, read: Callable[[Item], T]) -> Iterator[T]:
        return query(
            self._client,
            what,
            read,
            TableName=self._table,
            KeyConditionExpression="function_name = :function",
            ExpressionAttributeValues={":function": {"S": partition}},
            ConsistentRead=True,
        )

    def _marked_as_before(self, ids: Iterable[InvocationId]) -> Iterator[InvocationId]:
        return batch_get(
            self._client,
            "read fold markers",
            lambda item: InvocationId(item["function_name"]["S"].removeprefix("folded#")),
            self._table,
            [_marker_key(id) for id in sorted(set(ids))],
            ConsistentRead=True,
            ProjectionExpression="function_name",
        )

    def _markers_as_before(self, records: Sequence[InvocationRecord]) -> list[Item]:
        marked = records if self._marks_as_before else ()
        return [{**_marker_key(record.invocation_id), "expires_at": self._expires_at()} for record in marked]

    def _expires_at(self) -> dict[str, str]:
        return {"N": str(int(self._clock().timestamp()) + FOLDED_KEEP_S)}

    def _state_write(self, state: EndpointState) -> dict[str, Any]:
        put: dict[str, Any] = {"TableName": self._table, "Item": state_item(state)}
        if state.version == 1:
            put["ConditionExpression"] = "attribute_not_exists(function_name)"
        else:
            put["ConditionExpression"] = "version = :before"
            put["ExpressionAttributeValues"] = {":before": {"N": str(state.version - 1)}}
        return {"Put": put}


def period_of(record: InvocationRecord) -> int:
    """Which PERIOD_S a record began in."""
    return int(record.timestamp.timestamp()) // PERIOD_S


def mark_of(invocation_id: InvocationId) -> bytes:
    """The eight bytes that stand for a record among those of its function and period."""
    return blake2b(invocation_id.encode(), digest_size=MARK_BYTES).digest()


def _marks_in(item: Item) -> list[bytes]:
    packed = binary(item["marks"]["B"])
    return [packed[start : start + MARK_BYTES] for start in range(0, len(packed), MARK_BYTES)]


def _entries_key(function: FunctionName, period: int) -> str:
    return f"folded#{function}#{period}"


def _marker_key(invocation_id: InvocationId) -> dict[str, Any]:
    return {"function_name": {"S": f"folded#{invocation_id}"}, "item": {"S": "marker"}}
