"""The state table in memory, as DynamoDB's client: transactions with the conditions that FISO asks for, no others."""

from collections.abc import Callable, Mapping
from typing import Any

from fiso.adapters.aws.client import AwsError

Key = tuple[str, str]
MOST_ITEMS = 100


class StateTable:
    """`before` is called with an operation's name ahead of it; what it does meanwhile, others did."""

    def __init__(self) -> None:
        self.items: dict[Key, Mapping[str, Any]] = {}
        self.before: Callable[[str], None] = lambda _: None

    def query(self, **asked: Any) -> dict[str, Any]:
        self.before("query")
        assert asked["ConsistentRead"] is True
        (partition,) = asked["ExpressionAttributeValues"].values()
        return {"Items": [item for (key, _), item in sorted(self.items.items()) if key == partition["S"]]}

    def batch_get_item(self, **asked: Any) -> dict[str, Any]:
        self.before("batch_get_item")
        ((table, wanted),) = asked["RequestItems"].items()
        assert wanted["ConsistentRead"] is True
        found = [self.items[key] for key in map(_key, wanted["Keys"]) if key in self.items]
        return {"Responses": {table: found}}

    def put_item(self, **put: Any) -> dict[str, Any]:
        self.before("put_item")
        if not self._holds(put):
            raise AwsError("ConditionalCheckFailedException", "the condition failed", {})
        self.items[_key(put["Item"])] = put["Item"]
        return {}

    def transact_write_items(self, **asked: Any) -> dict[str, Any]:
        self.before("transact_write_items")
        puts = [write["Put"] for write in asked["TransactItems"]]
        assert 0 < len(puts) <= MOST_ITEMS, "DynamoDB takes no more in one transaction"
        assert len({_key(put["Item"]) for put in puts}) == len(puts), "DynamoDB refuses an item twice"
        reasons = [{"Code": "None" if self._holds(put) else "ConditionalCheckFailed"} for put in puts]
        if any(reason["Code"] != "None" for reason in reasons):
            raise AwsError("TransactionCanceledException", "a condition failed", {"CancellationReasons": reasons})
        self.items.update({_key(put["Item"]): put["Item"] for put in puts})
        return {}

    def _holds(self, put: Mapping[str, Any]) -> bool:
        stands, condition = self.items.get(_key(put["Item"])), put["ConditionExpression"]
        if condition == "attribute_not_exists(function_name)":
            return stands is None
        assert condition == "version = :before"
        return stands is not None and stands["version"] == put["ExpressionAttributeValues"][":before"]


def _key(item: Mapping[str, Any]) -> Key:
    return item["function_name"]["S"], item["item"]["S"]
