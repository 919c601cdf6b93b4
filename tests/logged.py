"""The log's table under items of a test's own, damaged ones too, as the genuine adapter reads them."""

from collections.abc import Mapping
from typing import Any

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, key_of_item
from fiso.ports import Clock, RecordKey
from fiso.testing.clock import ManualClock


class Table:
    """DynamoDB's client, of which only items are read by key. `asked` are the keys, request by request."""

    def __init__(self, *items: Mapping[str, Any]) -> None:
        keyed = ((key_of_item(item), item) for item in items)
        self.items = {key: item for key, item in keyed if key is not None}
        self.asked: list[list[RecordKey]] = []

    def batch_get_item(self, **request: Any) -> Mapping[str, Any]:
        ((table, asked),) = request["RequestItems"].items()
        assert asked["ConsistentRead"] is True
        keys = [RecordKey(key["invocation_id"]["S"], key["timestamp"]["S"]) for key in asked["Keys"]]
        assert len(set(keys)) == len(keys) <= 100, "DynamoDB refuses a key twice, and more than a hundred"
        self.asked.append(keys)
        return {"Responses": {table: [self.items[key] for key in keys if key in self.items]}}


def log_of(*items: Mapping[str, Any], clock: Clock | None = None) -> DynamoDBInvocationLog:
    """The log that holds these items."""
    return DynamoDBInvocationLog(Table(*items), "log", clock=clock or ManualClock())
