"""DynamoDB: the invocation log. Every write is conditional, so repeating it changes nothing."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.packed import pack, unpack
from fiso.codecs.record import LONGEST_NAME, from_document, instant, open_to_document, to_document
from fiso.codecs.typed import Document, Json
from fiso.domain.errors import InvalidRecord, StoreUnavailable, WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus, Trouble
from fiso.domain.request import InvocationId, TenantId
from fiso.ports import Clock, RecordKey

if TYPE_CHECKING:
    from fiso.adapters.aws.dynamodb_lists import DynamoDBLists

Item = dict[str, dict[str, Any]]

SHARDS = 64
"""Of the indexes of before, a day."""
SHARDS_OF_BEFORE = 4
"""Partitions of the indexes that are gone, of which all code of before reads these."""
PACKED_FROM = 300
"""Bytes of nested detail from which a record would be more than a write unit."""
KEEP_S = 35 * 86_400
NESTED = ("features", "candidates", "exclusions", "attempts", "canary", "shadow", "traced", "written_before")


def shard_of(invocation_id: str, shards: int = SHARDS) -> int:
    """A stable number in [0, shards)."""
    return crc32(invocation_id.encode()) % shards


def open_item(record: OpenRecord, *, is_indexed: bool = False) -> Item:
    """An intent. `is_indexed`: as code of before finds it, by an index that is gone."""
    item = _attributes(open_to_document(record))
    if is_indexed:
        item["open_shard"] = {"S": str(shard_of(record.invocation_id, SHARDS_OF_BEFORE))}
    item["expires_at"] = expiry(record.timestamp)
    return item


def closed_item(record: InvocationRecord, *, packs: bool = False, is_indexed: bool = False) -> Item:
    """A finished record. `packs`: its detail is packed where that may save a write unit. `is_indexed`: as code of
    before finds it, by two indexes that are gone (docs/decisions/0030)."""
    document = to_document(record)
    nested = {name: document.pop(name) for name in NESTED if name in document}
    item = _attributes({name: value for name, value in document.items() if value is not None})
    detail = json.dumps(nested, separators=(",", ":"))
    item["detail"] = {"B": pack(detail)} if packs and len(detail) >= PACKED_FROM else {"S": detail}
    if is_indexed:
        time = f"{record.timestamp:%Y-%m-%d}#{shard_of(record.invocation_id, SHARDS_OF_BEFORE)}"
        item["time_shard"], item["open_shard"] = {"S": time}, {"S": f"{time}#{record.request.tenant}"}
        item["deadline_at"] = {"S": instant(record.timestamp)}
    item["expires_at"] = expiry(record.timestamp)
    return item


def record_from_item(item: Mapping[str, Mapping[str, Any]]) -> InvocationRecord | OpenRecord:
    """What `open_item` or `closed_item` made; also a stream's image. `InvalidRecord` when it does not parse."""
    try:
        document = {name: _value(attribute) for name, attribute in item.items() if name != "detail"}
        document.update(_detail_of(item.get("detail", {"S": "{}"})))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidRecord(f"item does not parse: {type(error).__name__}: {error}") from error
    return from_document(document)


def key_of_item(item: object) -> RecordKey | None:
    """Where an item says that it is; None for what no item of this table can say."""
    try:
        key = RecordKey(item["invocation_id"]["S"], item["timestamp"]["S"])  # type: ignore[index]
        is_key = all(len(part) <= LONGEST_NAME and part.isprintable() for part in key) and all(key)
    except (KeyError, TypeError, AttributeError):
        return None
    return key if is_key else None


def _detail_of(attribute: Mapping[str, Any]) -> Mapping[str, Json]:
    """Packed, or as JSON: of older code, and where packing saves nothing."""
    if attribute.keys() == {"B"}:
        return unpack(binary(attribute["B"]))
    text = _value(attribute)
    return dict(json.loads(text)) if isinstance(text, str) else {}


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


def expiry(moment: datetime) -> dict[str, str]:
    return {"N": str(int(moment.timestamp()) + KEEP_S)}


logger = logging.getLogger(__name__)
T = TypeVar("T")

BATCH_GET_LIMIT = 100
# A record only moves up: docs/decisions/0015-a-record-only-moves-up.md
_REPLACED_BY = {
    RecordStatus.FINAL: (RecordStatus.OPEN, RecordStatus.UNKNOWN),
    RecordStatus.UNKNOWN: (RecordStatus.OPEN,),
}


class DynamoDBInvocationLog:
    """The table `fiso-invocation-logs`. `client` is boto3's DynamoDB client, or `aws_client.DynamoDBClient`. `lists`
    knows which records are the newest and which may be overdue: only who asks for those needs it. `writes_as_before`:
    code of before reads what is written meanwhile."""

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        clock: Clock,
        lists: "DynamoDBLists | None" = None,
        writes_as_before: bool = False,
    ) -> None:
        self._client, self._table, self._clock, self._lists = client, table, clock, lists
        self._writes_as_before = writes_as_before

    def open(self, record: OpenRecord) -> None:
        try:
            with store_errors(f"open record {record.invocation_id}"):
                self._client.put_item(
                    TableName=self._table,
                    Item=open_item(record, is_indexed=self._writes_as_before),
                    ConditionExpression="attribute_not_exists(invocation_id)",
                )
        except WriteConflict:
            return

    def close(self, record: InvocationRecord) -> bool:
        """Put the whole record over what it may replace. `WriteConflict` when another closed record stands there."""
        item = closed_item(record, packs=not self._writes_as_before, is_indexed=self._writes_as_before)
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
        except WriteConflict:  # also our own first try, whose answer was lost: then the same record stands there
            if self.find(record.invocation_id) != record_from_item(item):
                raise
            return False
        return True

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        return next(self._stored(invocation_id, record_from_item), None)

    def recorded(self, keys: Iterable[RecordKey]) -> Mapping[RecordKey, InvocationRecord | OpenRecord | InvalidRecord]:
        """A final record stays as it is, so it may be read at half the price; all else is read consistently."""
        asked = list(dict.fromkeys(keys))
        found = dict(self._read(asked, is_consistent=False))
        unsettled = [key for key in asked if not _is_final(found.get(key))]
        found.update(self._read(unsettled, is_consistent=True))
        return found

    def _read(
        self, keys: Iterable[RecordKey], *, is_consistent: bool
    ) -> Iterator[tuple[RecordKey, InvocationRecord | OpenRecord | InvalidRecord]]:
        now_s = self._clock().timestamp()
        items = batch_get(
            self._client,
            "read records",
            lambda item: (RecordKey(str(item["invocation_id"]["S"]), str(item["timestamp"]["S"])), item),
            self._table,
            [_item_of(key) for key in keys],
            ConsistentRead=is_consistent,
        )
        # Expired ones may stand there for days. Their markers may be gone: they could be folded a second time.
        return ((key, _record_or_flaw(item)) for key, item in items if not _has_expired(item, now_s))

    def latest(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None
    ) -> Sequence[InvocationRecord]:
        return self._listed_records(self._listed().newest(limit, after=after, tenant=tenant))

    def troubled(
        self,
        limit: int,
        *,
        after: datetime | None = None,
        tenant: TenantId | None = None,
        admits: Callable[[Trouble], bool] = lambda _: True,
    ) -> Sequence[InvocationRecord]:
        found = islice(filter(admits, self._listed().troubles(after=after, tenant=tenant)), limit)
        return self._listed_records([RecordKey(each.invocation_id, instant(each.timestamp)) for each in found])

    def _listed_records(self, keys: Sequence[RecordKey]) -> Sequence[InvocationRecord]:
        asked = [_item_of(key) for key in keys]
        found = batch_get(self._client, "read the latest records", _readable, self._table, asked)
        return sorted((each for each in found if isinstance(each, InvocationRecord)), key=_age, reverse=True)

    def overdue(self, before: datetime, limit: int) -> Sequence[OpenRecord]:
        """Of the intents that are watched those that are still open; the others are watched no longer."""
        found: list[OpenRecord] = []
        lists = self._listed()
        watched = lists.watched(before)
        while len(found) < limit and (some := list(islice(watched, BATCH_GET_LIMIT))):
            now = dict(self._read([each.key for each in some], is_consistent=True))
            found.extend(record for record in now.values() if isinstance(record, OpenRecord))
            lists.forget(each for each in some if not isinstance(now.get(each.key), OpenRecord | InvalidRecord))
        return found[:limit]

    def _listed(self) -> "DynamoDBLists":
        if self._lists is None:
            raise StoreUnavailable("the table of states is not set: which records are the newest is not known")
        return self._lists

    def _stored(self, invocation_id: str, read: Callable[[Item], T]) -> Iterator[T]:
        return query(
            self._client,
            f"find record {invocation_id}",
            read,
            TableName=self._table,
            KeyConditionExpression="invocation_id = :id",
            ExpressionAttributeValues={":id": {"S": invocation_id}},
            ConsistentRead=True,
            Limit=1,
        )


def _item_of(key: RecordKey) -> Item:
    return {"invocation_id": {"S": key.invocation_id}, "timestamp": {"S": key.timestamp}}


def _is_final(found: InvocationRecord | OpenRecord | InvalidRecord | None) -> bool:
    return isinstance(found, InvocationRecord) and found.status is RecordStatus.FINAL


def _age(found: InvocationRecord) -> tuple[str, str]:
    return instant(found.timestamp), found.invocation_id


def query(client: Any, what: str, read: Callable[[Item], T], **asked: Any) -> Iterator[T]:
    """Every item of a query, page by page as they are wanted: a page ends at 1 MB, whatever else there is."""
    while True:
        with store_errors(what):
            page = client.query(**asked)
            items, last = [read(item) for item in page["Items"]], page.get("LastEvaluatedKey")
        yield from items
        if not last:
            return
        asked["ExclusiveStartKey"] = last


def batch_get(
    client: Any, what: str, read: Callable[[Item], T], table: str, keys: Sequence[Item], **asked: Any
) -> Iterator[T]:
    """The items that stand under some keys, in no particular order."""
    for start in range(0, len(keys), BATCH_GET_LIMIT):
        pending: Any = {table: {"Keys": list(keys[start : start + BATCH_GET_LIMIT]), **asked}}
        while pending:
            with store_errors(what):
                page = client.batch_get_item(RequestItems=pending)
                items = [read(item) for item in page["Responses"].get(table, [])]
                pending = page.get("UnprocessedKeys")
            yield from items


def _has_expired(item: Item, now_s: float) -> bool:
    try:
        return float(item["expires_at"]["N"]) <= now_s
    except (KeyError, TypeError, ValueError):
        return False


def _record_or_flaw(item: Item) -> InvocationRecord | OpenRecord | InvalidRecord:
    try:
        return record_from_item(item)
    except InvalidRecord as error:
        return error


def _readable(item: Item) -> InvocationRecord | OpenRecord | None:
    """None for what does not parse: one damaged record must not hide all others, nor keep them open for ever."""
    try:
        return record_from_item(item)
    except InvalidRecord as error:
        logger.error("a record of the log is left out: %s", error)
        return None
