"""Units and sizes as DynamoDB's own pages count them."""

from typing import Any

import pytest

from fiso_cli.cost.metered import MeteredTables, item_bytes


def item(id: str = "1", *, size: int = 0, **more: str) -> dict[str, Any]:
    given = {"id": id, "at": "now", **more} | ({"data": "x" * size} if size else {})
    return {name: {"S": value} for name, value in given.items()}


def tables() -> MeteredTables:
    return MeteredTables({"log": ("id", "at")})


def test_an_item_is_counted_as_dynamodb_does() -> None:
    assert item_bytes({"id": {"S": "abc"}, "n": {"N": "1234"}, "ok": {"BOOL": True}}) == 5 + 4 + 3
    assert item_bytes({"b": {"B": b"12345"}, "s": {"SS": ["ab", "c"]}}) == 6 + 4


@pytest.mark.parametrize(
    ("writes", "units"),
    [
        pytest.param([item()], 1, id="one-unit"),
        pytest.param([item(size=2_000)], 2, id="two-units"),
        pytest.param([item(size=3_000), item()], 3 + 3, id="over-a-larger-one"),
    ],
)
def test_what_writes_cost(writes: list[dict[str, Any]], units: int) -> None:
    counted = tables()
    for each in writes:
        counted.put_item(TableName="log", Item=each)
    assert counted.counted.table_units == units


def test_a_transaction_costs_twice_and_an_update_what_the_item_is() -> None:
    counted = tables()
    key = {"id": {"S": "1"}, "at": {"S": "now"}}
    counted.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "log", "Item": item(size=1_500)}},
            {"Update": {"TableName": "log", "Key": key, "ExpressionAttributeValues": {":n": {"N": "1"}}}},
            {"Delete": {"TableName": "log", "Key": key}},
        ]
    )
    assert counted.counted.table_units == 2 * (2 + 2 + 2)
    assert counted.items == {}


def test_what_reads_cost() -> None:
    counted = tables()
    counted.put_item(TableName="log", Item=item(size=5_000))
    key = {"id": {"S": "1"}, "at": {"S": "now"}}
    counted.get_item(TableName="log", Key=key)
    assert counted.counted.read_units == 1
    counted.get_item(TableName="log", Key=key, ConsistentRead=True)
    absent = {"id": {"S": "2"}, "at": {"S": "now"}}
    found = counted.batch_get_item(RequestItems={"log": {"Keys": [key, absent], "ConsistentRead": True}})
    assert counted.counted.read_units == 1 + 2 + 3
    assert len(found["Responses"]["log"]) == 1
    values = {":id": {"S": "1"}}
    found = counted.query(
        TableName="log", KeyConditionExpression="id = :id AND at = :at", ExpressionAttributeValues=values
    )
    assert len(found["Items"]) == 1
