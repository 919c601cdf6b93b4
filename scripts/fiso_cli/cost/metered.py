"""A DynamoDB and an S3 that count: what FISO's adapters ask of them, in the units in which AWS bills it.

Tables are those of the template, without indexes. Items are kept, so that what is written over or read has its size; no
condition fails. Rules: docs.aws.amazon.com/amazondynamodb, "DynamoDB read and write operations", "Item sizes and
formats".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil
from typing import Any, TypeAlias

Item: TypeAlias = Mapping[str, Mapping[str, Any]]

WRITE_UNIT_BYTES, READ_UNIT_BYTES = 1024, 4096
IN_TRANSACTION = 2
"""Of a transaction each write costs two units for one."""


@dataclass(slots=True)
class Counted:
    """Since it was last looked at."""

    table_units: float = 0.0
    read_units: float = 0.0
    puts: int = 0
    put_bytes: int = 0
    line_bytes: int = 0


@dataclass(slots=True)
class MeteredTables:
    """A boto3-shaped DynamoDB client over tables of these names."""

    keys: Mapping[str, tuple[str, ...]]
    """Of each table the attributes of its key, the partition's first."""
    counted: Counted = field(default_factory=Counted)
    items: dict[tuple[str, tuple[str, ...]], Item] = field(default_factory=dict)

    def put_item(self, *, TableName: str, Item: Item, **_: object) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._write(TableName, Item, times=1)
        return {}

    def update_item(self, *, TableName: str, Key: Item, **asked: Any) -> dict[str, Any]:  # noqa: N803
        self._write(TableName, self._updated(TableName, Key, asked), times=1)
        return {}

    def delete_item(self, *, TableName: str, Key: Item, **_: object) -> dict[str, Any]:  # noqa: N803
        self._write(TableName, None, times=1, key=Key)
        return {}

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]], **_: object) -> dict[str, Any]:  # noqa: N803
        for entry in TransactItems:
            ((kind, asked),) = entry.items()
            table = asked["TableName"]
            if kind == "Put":
                self._write(table, asked["Item"], times=IN_TRANSACTION)
            elif kind == "Update":
                self._write(table, self._updated(table, asked["Key"], asked), times=IN_TRANSACTION)
            else:
                self._write(table, None, times=IN_TRANSACTION, key=asked["Key"])
        return {}

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False, **_: object) -> dict[str, Any]:  # noqa: N803
        found = self.items.get(self._place(TableName, Key))
        self._read([item_bytes(found or {})], ConsistentRead)
        return {"Item": dict(found)} if found else {}

    def batch_get_item(self, *, RequestItems: Mapping[str, Mapping[str, Any]], **_: object) -> dict[str, Any]:  # noqa: N803
        found: dict[str, list[Item]] = {}
        for table, asked in RequestItems.items():
            items = [self.items.get(self._place(table, key)) for key in asked["Keys"]]
            self._read([item_bytes(item or {}) for item in items], asked.get("ConsistentRead", False))
            found[table] = [item for item in items if item]
        return {"Responses": found, "UnprocessedKeys": {}}

    def query(self, *, TableName: str, ConsistentRead: bool = False, **asked: Any) -> dict[str, Any]:  # noqa: N803
        """Everything of a partition of the table: as much as the adapters' own queries ask for."""
        partition = self.keys[TableName][0]
        _, _, variable = str(asked["KeyConditionExpression"]).partition(" AND ")[0].partition(" = ")
        wanted = asked["ExpressionAttributeValues"][variable.strip()]
        found = [item for (table, _), item in self.items.items() if table == TableName and item[partition] == wanted]
        self._read([sum(map(item_bytes, found))], ConsistentRead)
        return {"Items": found}

    def mean_bytes(self, table: str) -> float:
        """Of what is kept there, an item."""
        kept = [item for (name, _), item in self.items.items() if name == table]
        return sum(item_bytes(item) + ITEM_OVERHEAD_BYTES for item in kept) / len(kept)

    def _updated(self, table: str, key: Item, asked: Mapping[str, Any]) -> Item:
        """The item with what an update brings; an expression is not worked out, its values count under their names."""
        before = self.items.get(self._place(table, key), key)
        return {**before, **asked.get("ExpressionAttributeValues", {})}

    def _place(self, table: str, item: Item) -> tuple[str, tuple[str, ...]]:
        return table, tuple(str(item[key]["S"]) for key in self.keys[table])

    def _write(self, table: str, item: Item | None, *, times: int, key: Item | None = None) -> None:
        place = self._place(table, item if item is not None else key or {})
        before = self.items.pop(place, None)
        if item is not None:
            self.items[place] = item
        self.counted.table_units += times * _units(max(item_bytes(before or {}), item_bytes(item or {})))

    def _read(self, sizes: Sequence[int], is_consistent: bool) -> None:
        units = sum(max(1, ceil(size / READ_UNIT_BYTES)) for size in sizes)
        self.counted.read_units += units if is_consistent else units / 2


@dataclass(slots=True)
class MeteredBucket:
    """A boto3-shaped S3 client that takes objects and has them."""

    counted: Counted
    objects: dict[str, bytes] = field(default_factory=dict)

    def put_object(self, *, Key: str, Body: bytes, **_: object) -> dict[str, Any]:  # noqa: N803
        self.objects[Key] = Body
        self.counted.puts += 1
        self.counted.put_bytes += len(Body)
        return {"ETag": f'"{len(self.objects)}"'}

    def get_object(self, *, Key: str, **_: object) -> dict[str, Any]:  # noqa: N803
        return {"Body": BytesIO(self.objects[Key]), "ETag": '"1"'}


ITEM_OVERHEAD_BYTES = 100
"""Of each item and entry kept, beside its own bytes."""


def item_bytes(item: Item) -> int:
    """An item's size as DynamoDB counts it: names and values in UTF-8, a number about half a byte a digit plus one."""
    return sum(len(name.encode()) + _value_bytes(*next(iter(value.items()))) for name, value in item.items())


def _value_bytes(kind: str, value: Any) -> int:
    if kind == "S":
        return len(str(value).encode())
    if kind == "B":
        return len(value) if isinstance(value, bytes) else len(str(value)) * 3 // 4
    if kind in ("SS", "NS", "BS"):
        return sum(_value_bytes(kind[0], each) for each in value)
    return len(str(value)) // 2 + 1 if kind == "N" else 1


def _units(size: int) -> int:
    return max(1, ceil(size / WRITE_UNIT_BYTES))
