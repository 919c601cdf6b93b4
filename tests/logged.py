"""The log's table under items of a test's own, damaged ones too, as the genuine adapter reads them."""

from collections.abc import Mapping
from typing import Any

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, key_of_item
from fiso.ports import Clock, RecordKey
from fiso.testing.clock import ManualClock


class Table:
    """DynamoDB's client, of which only items are read by key. `asked` are the keys, request by request; `stale` what is
    read there while nobody asks to read consistently."""

    def __init__(self, *items: Mapping[str, Any]) -> None:
        keyed = ((key_of_item(item), item) for item in items)
        self.items = {key: item for key, item in keyed if key is not None}
        self.asked: list[list[RecordKey]] = []
        self.stale: dict[RecordKey, Mapping[str, Any]] = {}

    def batch_get_item(self, **request: Any) -> Mapping[str, Any]:
        ((table, asked),) = request["RequestItems"].items()
        keys = [RecordKey(key["invocation_id"]["S"], key["timestamp"]["S"]) for key in asked["Keys"]]
        assert len(set(keys)) == len(keys) <= 100, "DynamoDB refuses a key twice, and more than a hundred"
        self.asked.append(keys)
        items = self.items if asked["ConsistentRead"] else {**self.items, **self.stale}
        return {"Responses": {table: [items[key] for key in keys if items.get(key)]}}


def log_of(*items: Mapping[str, Any], clock: Clock | None = None) -> DynamoDBInvocationLog:
    """The log that holds these items."""
    return DynamoDBInvocationLog(Table(*items), "log", clock=clock or ManualClock())
