"""DynamoDB: the invocation log and the endpoint states. Every write is conditional, so repeating it changes nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fiso.adapters.aws.dynamodb_items import (
    SHARDS,
    closed_item,
    open_item,
    record_from_item,
    state_from_item,
    state_item,
    time_shard,
)
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.record import instant
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus
from fiso.domain.request import InvocationId
from fiso.domain.state import EndpointState
from fiso.ports import Clock

MARKER_KEEP_S = 3 * 86_400
"""Longer than a stream keeps a record (24 h), so no record can come again after its marker is gone."""
BATCH_GET_LIMIT = 100
LATEST_DAYS = 7
_REPLACED_BY = {
    RecordStatus.FINAL: (RecordStatus.OPEN, RecordStatus.UNKNOWN),
    RecordStatus.UNKNOWN: (RecordStatus.OPEN,),
}


class DynamoDBInvocationLog:
    """The table `fiso-invocation-logs`. `client` is boto3's DynamoDB client, or `aws_client.DynamoDBClient`."""

    def __init__(self, client: Any, table: str, *, clock: Clock) -> None:
        self._client, self._table, self._clock = client, table, clock

    def open(self, record: OpenRecord) -> None:
        """Write the intent unless the invocation is known already."""
        try:
            with store_errors(f"open record {record.invocation_id}"):
                self._client.put_item(
                    TableName=self._table,
                    Item=open_item(record),
                    ConditionExpression="attribute_not_exists(invocation_id)",
                )
        except WriteConflict:
            return

    def close(self, record: InvocationRecord) -> bool:
        """Put the whole record over what it may replace. `WriteConflict` when another closed record stands there."""
        item = closed_item(record)
        replaced = _REPLACED_BY[record.status]
        try:
            with store_errors(f"close record {record.invocation_id}"):
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=" OR ".join(
                        ["attribute_not_exists(invocation_id)", *(f"#status = :{status}" for status in replaced)]
                    ),
                    ExpressionAttributeNames={"#status": "status"},
                    ExpressionAttributeValues={f":{status}": {"S": status.value} for status in replaced},
                )
        except WriteConflict:
            if self.find(record.invocation_id) != record_from_item(item):
                raise
            return False
        return True

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        """One record, read consistently."""
        item = self._stored(invocation_id)
        return record_from_item(item) if item else None

    def latest(self, limit: int, *, after: datetime | None = None) -> Sequence[InvocationRecord]:
        """The newest closed records of the last days, newest first."""
        found: list[InvocationRecord] = []
        today = self._clock()
        for day in (today - timedelta(days=back) for back in range(LATEST_DAYS)):
            if after is not None and day.date() < after.date():
                break
            for shard in range(SHARDS):
                found.extend(self._of_shard(time_shard(day, shard), limit, after))
            if len(found) >= limit:
                break
        found.sort(key=lambda record: (record.timestamp, record.invocation_id), reverse=True)
        return found[:limit]

    def overdue(self, before: datetime, limit: int) -> Sequence[OpenRecord]:
        """Open records by the sparse index (which lags a little), then read whole and consistently."""
        found: list[OpenRecord] = []
        for invocation_id in self._overdue_ids(before):
            record = self.find(invocation_id)
            if isinstance(record, OpenRecord):
                found.append(record)
            if len(found) >= limit:
                break
        return found

    def _overdue_ids(self, before: datetime) -> Iterator[InvocationId]:
        for shard in range(SHARDS):
            start: dict[str, Any] = {}
            while True:
                with store_errors("query open records"):
                    page = self._client.query(
                        TableName=self._table,
                        IndexName="open-records",
                        KeyConditionExpression="open_shard = :shard AND deadline_at < :before",
                        ExpressionAttributeValues={":shard": {"S": str(shard)}, ":before": {"S": instant(before)}},
                        **start,
                    )
                yield from (InvocationId(item["invocation_id"]["S"]) for item in page["Items"])
                if "LastEvaluatedKey" not in page:
                    break
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _stored(self, invocation_id: InvocationId) -> dict[str, Any] | None:
        with store_errors(f"find record {invocation_id}"):
            page = self._client.query(
                TableName=self._table,
                KeyConditionExpression="invocation_id = :id",
                ExpressionAttributeValues={":id": {"S": invocation_id}},
                ConsistentRead=True,
                Limit=1,
            )
        items: list[dict[str, Any]] = page["Items"]
        return items[0] if items else None

    def _of_shard(self, shard: str, limit: int, after: datetime | None) -> list[InvocationRecord]:
        condition, values = "time_shard = :shard", {":shard": {"S": shard}}
        if after is not None:
            condition += " AND #timestamp > :after"
            values[":after"] = {"S": instant(after)}
        names = {"ExpressionAttributeNames": {"#timestamp": "timestamp"}} if after is not None else {}
        items: list[dict[str, Any]] = []
        start: dict[str, Any] = {}
        while True:
            with store_errors("query latest records"):
                page = self._client.query(
                    TableName=self._table,
                    IndexName="by-time",
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ScanIndexForward=False,
                    Limit=limit - len(items),
                    **names,
                    **start,
                )
            items.extend(page["Items"])
            if len(items) >= limit or "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        records = [record_from_item(item) for item in items]
        return [record for record in records if isinstance(record, InvocationRecord)]


class DynamoDBEndpointStates:
    """The table `fiso-endpoint-state`: one item per function and endpoint, and a marker per folded record."""

    def __init__(self, client: Any, table: str, *, clock: Clock) -> None:
        self._client, self._table, self._clock = client, table, clock

    def of_function(self, function: FunctionName) -> Mapping[EndpointId, EndpointState]:
        """One consistent query."""
        with store_errors(f"states of {function}"):
            page = self._client.query(
                TableName=self._table,
                KeyConditionExpression="function_name = :function",
                ExpressionAttributeValues={":function": {"S": function}},
                ConsistentRead=True,
            )
        states = [state_from_item(item) for item in page["Items"]]
        return {state.endpoint: state for state in states}

    def folded_among(self, ids: Iterable[InvocationId]) -> frozenset[InvocationId]:
        """The ids whose markers exist, read consistently."""
        wanted = sorted(set(ids))
        found: set[InvocationId] = set()
        for start in range(0, len(wanted), BATCH_GET_LIMIT):
            pending: Any = {
                self._table: {
                    "Keys": [_marker_key(id) for id in wanted[start : start + BATCH_GET_LIMIT]],
                    "ConsistentRead": True,
                    "ProjectionExpression": "function_name",
                }
            }
            while pending:
                with store_errors("read fold markers"):
                    page = self._client.batch_get_item(RequestItems=pending)
                items = page["Responses"].get(self._table, [])
                found.update(InvocationId(item["function_name"]["S"].removeprefix("folded#")) for item in items)
                pending = page.get("UnprocessedKeys")
        return frozenset(found)

    def commit(self, states: Sequence[EndpointState], folded: Sequence[InvocationId]) -> None:
        """One transaction: each state over its previous version, each marker for the first time."""
        expires_at = {"N": str(int(self._clock().timestamp()) + MARKER_KEEP_S)}
        writes = [self._state_write(state) for state in states]
        writes.extend(
            {
                "Put": {
                    "TableName": self._table,
                    "Item": {**_marker_key(id), "expires_at": expires_at},
                    "ConditionExpression": "attribute_not_exists(function_name)",
                }
            }
            for id in folded
        )
        with store_errors("commit folded states"):
            self._client.transact_write_items(TransactItems=writes)

    def _state_write(self, state: EndpointState) -> dict[str, Any]:
        put: dict[str, Any] = {"TableName": self._table, "Item": state_item(state)}
        if state.version == 1:
            put["ConditionExpression"] = "attribute_not_exists(function_name)"
        else:
            put["ConditionExpression"] = "version = :before"
            put["ExpressionAttributeValues"] = {":before": {"N": str(state.version - 1)}}
        return {"Put": put}


def _marker_key(invocation_id: InvocationId) -> dict[str, Any]:
    return {"function_name": {"S": f"folded#{invocation_id}"}, "item": {"S": "marker"}}
