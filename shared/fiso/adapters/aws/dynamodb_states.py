"""DynamoDB: the endpoint states, and which records are folded into them.

One item per function and endpoint, written over the version that it was made from. It carries the marks of the records
that were folded into it last; where these become too many, or several states change at once, a transaction leaves them
beside the states: for every PERIOD_S in which records began, one entry with eight bytes a record. What is folded is
found by the record's own function, time and id, so it does not matter by which shard, batch or replay a record comes.
docs/decisions/0002-folding-exactly-once.md
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Any, TypeAlias, TypeVar

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.dynamodb import KEEP_S, Item, batch_get, query
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.packed import STATES, pack, unpack
from fiso.codecs.typed import Codec, Form, Shape
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId
from fiso.domain.state import EndpointState, LoadLevel, MonthSent, MonthUse, Totals
from fiso.ports import Clock
from fiso_client.core.sequential import Proportions, Ranks

T = TypeVar("T")

MOST_CARRIED = 16
"""Marks that a state's item carries: with them it is still within a write unit, and a commit of a few records is one
write of one unit where a transaction with an entry is four and more."""
MOST_ITEMS = 100
"""DynamoDB's limit of one transaction."""
PERIOD_S = 5
"""Shorter, and a batch leaves more entries; longer, and each batch reads more of what others left."""
PERIOD_BYTES, MARK_BYTES = 4, 8
"""Of 15,000 records in a period (3,000 a second) one in 10^15 is taken for another, which is then not folded."""
FOLDED_KEEP_S = KEEP_S + 86_400
"""Longer than the table keeps a record, so that none can be folded again after its entry is gone, whoever asks."""
OLDER_FORM_AFTER = timedelta(hours=1)
"""Older records may have been folded by code that left a marker for each (docs/decisions/0002)."""


Carried: TypeAlias = tuple[tuple[int, bytes], ...]
"""Period and mark of records whose marks a state's item has with it, the oldest first."""


def state_item(state: EndpointState, carried: Carried = (), *, packs: bool = True) -> Item:
    """A folded state under its function and endpoint; code of before reads it where it is not packed."""
    document = _STATES.to_document(state)
    function, endpoint, version, folded = (document.pop(name) for name in _OWN_ATTRIBUTES)
    text = json.dumps(document, separators=(",", ":"))
    item: Item = {
        "function_name": {"S": function},
        "item": {"S": f"endpoint#{endpoint}"},
        "version": {"N": str(version)},
        "folded": {"N": str(folded)},
        "state": {"B": pack(text, STATES)} if packs else {"S": text},
    }
    if carried:
        item["marks"] = {"B": b"".join(period.to_bytes(PERIOD_BYTES, "big") + mark for period, mark in carried)}
    return item


def state_from_item(item: Mapping[str, Mapping[str, Any]]) -> EndpointState:
    """What `state_item` made; fields of older code are left out, those it did not know get their defaults."""
    own = {
        "function": item["function_name"]["S"],
        "endpoint": item["item"]["S"].removeprefix("endpoint#"),
        "version": int(item["version"]["N"]),
        "folded": int(item["folded"]["N"]),
    }
    kept = item["state"]
    return _STATES.from_document(
        EndpointState, (unpack(binary(kept["B"])) if "B" in kept else json.loads(kept["S"])) | own
    )


def carried_in(item: Mapping[str, Mapping[str, Any]]) -> Carried:
    packed, whole = binary(item["marks"]["B"]) if "marks" in item else b"", PERIOD_BYTES + MARK_BYTES
    each = (packed[start : start + whole] for start in range(0, len(packed), whole))
    return tuple((int.from_bytes(one[:PERIOD_BYTES], "big"), one[PERIOD_BYTES:]) for one in each)


_OWN_ATTRIBUTES = ("function", "endpoint", "version", "folded")
_STATES = Codec(
    forms={Proportions: Form(list, lambda row: Proportions(*row)), Ranks: Form(list, lambda row: Ranks(*row))},
    shapes={
        EndpointState: Shape(omits_none=True),
        LoadLevel: Shape(omits_none=True),
        Totals: Shape(is_row=True),
        MonthUse: Shape(is_row=True),
        MonthSent: Shape(is_row=True),
    },
)


class DynamoDBEndpointStates:
    """The table `fiso-endpoint-state`. `marks_as_before`: code of before may fold the same records meanwhile, so its
    markers are looked up for all of them, and left for it."""

    def __init__(self, client: Any, table: str, *, clock: Clock, marks_as_before: bool = False) -> None:
        self._client, self._table, self._clock, self._marks_as_before = client, table, clock, marks_as_before
        self._carried: dict[FunctionName, dict[tuple[EndpointId, int], Carried]] = {}
        """By endpoint and version, of the function's states as they were last read."""

    def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
        """One consistent query, of all pages."""
        read = list(self._query(f"states of {function}", function, lambda i: (state_from_item(i), carried_in(i))))
        self._carried[function] = {(state.endpoint, state.version): carried for state, carried in read}
        return {state.endpoint: state for state, _ in read}

    def folded_among(self, function: FunctionName, records: Sequence[InvocationRecord]) -> frozenset[InvocationId]:
        if function not in self._carried:
            self.of_function(function)
        periods = {period_of(record) for record in records}
        known = {mark for period in sorted(periods) for mark in self._marks(function, period)}
        known.update(mark for carried in self._carried.get(function, {}).values() for _, mark in carried)
        found = [record.invocation_id for record in records if mark_of(record.invocation_id) in known]
        before = self._clock() - OLDER_FORM_AFTER
        older = [record.invocation_id for record in records if self._marks_as_before or record.timestamp < before]
        return frozenset([*found, *self._marked_as_before(older)])

    def commit(
        self, function: FunctionName, states: Sequence[EndpointState], records: Sequence[InvocationRecord]
    ) -> None:
        """Each state over its previous version, each entry for the first time: one transaction, or one state that
        carries the marks of its records itself."""
        carried = {state.endpoint: self._carried_by(state) for state in states}
        fresh = tuple((period_of(record), mark_of(record.invocation_id)) for record in records)
        if len(states) == 1 and not self._marks_as_before:
            (state,) = states
            kept = (*carried[state.endpoint], *fresh)
            if len(kept) <= MOST_CARRIED:
                with store_errors("commit a folded state"):
                    self._client.put_item(**self._state_write(state, kept)["Put"])
                return
        taken = len(states) + (len(records) if self._marks_as_before else 0)
        filed, left = _filed(fresh, carried, MOST_ITEMS - taken)
        items = [*self._entries(function, filed), *self._markers_as_before(records)]
        writes = [self._state_write(state, left[state.endpoint]) for state in states]
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

    def _carried_by(self, state: EndpointState) -> Carried:
        """By the version that it is made from, whose marks may not be lost with it."""
        made_from = (state.endpoint, state.version - 1)
        if state.version > 1 and made_from not in self._carried.get(state.function, {}):
            self.of_function(state.function)
        return self._carried.get(state.function, {}).get(made_from, ())

    def items_of(self, record: InvocationRecord) -> frozenset[str]:
        marker = [f"folded#{record.invocation_id}"] if self._marks_as_before else []
        return frozenset([str(period_of(record)), *marker])

    def _entries(self, function: FunctionName, filed: Carried) -> Iterator[Item]:
        periods: dict[int, set[bytes]] = {}
        for period, mark in filed:
            periods.setdefault(period, set()).add(mark)
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

    def _state_write(self, state: EndpointState, carried: Carried) -> dict[str, Any]:
        item = state_item(state, carried, packs=not self._marks_as_before)
        put: dict[str, Any] = {"TableName": self._table, "Item": item}
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


def _filed(
    fresh: Carried, carried: Mapping[EndpointId, Carried], room: int
) -> tuple[Carried, Mapping[EndpointId, Carried]]:
    """What entries take in, and what states go on carrying since a transaction has no room for more periods."""
    periods, filed = {period for period, _ in fresh}, list(fresh)
    left: dict[EndpointId, Carried] = {}
    for endpoint, marks in carried.items():
        stay = []
        for period, mark in marks:
            if period in periods or len(periods) < room:
                periods.add(period)
                filed.append((period, mark))
            else:
                stay.append((period, mark))
        left[endpoint] = tuple(stay)
    return tuple(filed), left


def _marks_in(item: Item) -> list[bytes]:
    packed = binary(item["marks"]["B"])
    return [packed[start : start + MARK_BYTES] for start in range(0, len(packed), MARK_BYTES)]


def _entries_key(function: FunctionName, period: int) -> str:
    return f"folded#{function}#{period}"


def _marker_key(invocation_id: InvocationId) -> dict[str, Any]:
    return {"function_name": {"S": f"folded#{invocation_id}"}, "item": {"S": "marker"}}
