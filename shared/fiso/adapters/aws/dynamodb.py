"""DynamoDB: the invocation log. Every write is conditional, so repeating it changes nothing."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from heapq import merge
from itertools import chain, islice
from typing import Any, TypeVar
from zlib import crc32

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.packed import pack, unpack
from fiso.codecs.record import LONGEST_NAME, from_document, instant, open_to_document, to_document
from fiso.codecs.typed import Document, Json
from fiso.domain.errors import InvalidRecord, WriteConflict
from fiso.domain.record import CLOCKS_APART, InvocationRecord, OpenRecord, RecordStatus
from fiso.domain.request import InvocationId, TenantId
from fiso.ports import Clock, RecordKey

Item = dict[str, dict[str, Any]]

SHARDS = 64
"""Index partitions per day (or of open records): each takes 1,000 write units a second, and a request makes two."""
SHARDS_OF_BEFORE = 4
READERS = 16
"""Partitions of an index that are asked at once."""
PACKED_FROM = 300
"""Bytes of nested detail from which a record would be more than a write unit."""
_NEXT = timedelta(milliseconds=1)
KEEP_S = 35 * 86_400
NESTED = ("features", "candidates", "exclusions", "attempts", "canary", "shadow", "traced")


def shard_of(invocation_id: str, shards: int = SHARDS) -> int:
    """A stable number in [0, shards)."""
    return crc32(invocation_id.encode()) % shards


def open_item(record: OpenRecord, *, shards: int = SHARDS) -> Item:
    """An intent; `open_shard` puts it into the sparse index until it is closed."""
    item = _attributes(open_to_document(record))
    item["open_shard"] = {"S": str(shard_of(record.invocation_id, shards))}
    item["expires_at"] = _expiry(record.timestamp)
    return item


def closed_item(record: InvocationRecord, *, shards: int = SHARDS, packs: bool = False) -> Item:
    """A finished record; `time_shard` puts it into the index by time, and `open_shard`, now that it is none of the open
    ones, among its tenant's: the entry that has to go from there anyway is moved, so no third index is paid for.
    `packs`: its detail is packed where that may save a write unit."""
    document = to_document(record)
    nested = {name: document.pop(name) for name in NESTED if name in document}
    item = _attributes({name: value for name, value in document.items() if value is not None})
    detail = json.dumps(nested, separators=(",", ":"))
    item["detail"] = {"B": pack(detail)} if packs and len(detail) >= PACKED_FROM else {"S": detail}
    time, tenant = time_shard(record.timestamp, shard_of(record.invocation_id, shards)), record.request.tenant
    item["time_shard"] = {"S": time}
    item["open_shard"], item["deadline_at"] = {"S": f"{time}#{tenant}"}, {"S": instant(record.timestamp)}
    item["expires_at"] = _expiry(record.timestamp)
    return item


def time_shard(moment: datetime, shard: int) -> str:
    return f"{moment:%Y-%m-%d}#{shard}"


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


def _expiry(moment: datetime) -> dict[str, str]:
    return {"N": str(int(moment.timestamp()) + KEEP_S)}


logger = logging.getLogger(__name__)
T = TypeVar("T")
Found = TypeVar("Found", InvocationRecord, Item)
Asked = TypeVar("Asked")

BATCH_GET_LIMIT = 100
LATEST_DAYS = 7
LEAST_PAGE = 4
# A record only moves up: docs/decisions/0015-a-record-only-moves-up.md
_REPLACED_BY = {
    RecordStatus.FINAL: (RecordStatus.OPEN, RecordStatus.UNKNOWN),
    RecordStatus.UNKNOWN: (RecordStatus.OPEN,),
}


class DynamoDBInvocationLog:
    """The table `fiso-invocation-logs`. `client` is boto3's DynamoDB client, or `aws_client.DynamoDBClient`.
    `writes_as_before`: code of before reads what is written meanwhile. `readers` partitions are asked at once."""

    def __init__(
        self, client: Any, table: str, *, clock: Clock, writes_as_before: bool = False, readers: int = READERS
    ) -> None:
        self._client, self._table, self._clock, self._readers = client, table, clock, readers
        self._shards, self._packs = SHARDS_OF_BEFORE if writes_as_before else SHARDS, not writes_as_before

    def open(self, record: OpenRecord) -> None:
        try:
            with store_errors(f"open record {record.invocation_id}"):
                self._client.put_item(
                    TableName=self._table,
                    Item=open_item(record, shards=self._shards),
                    ConditionExpression="attribute_not_exists(invocation_id)",
                )
        except WriteConflict:
            return

    def close(self, record: InvocationRecord) -> bool:
        """Put the whole record over what it may replace. `WriteConflict` when another closed record stands there."""
        item = closed_item(record, shards=self._shards, packs=self._packs)
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
        asked = [
            {"invocation_id": {"S": key.invocation_id}, "timestamp": {"S": key.timestamp}}
            for key in dict.fromkeys(keys)
        ]
        now_s = self._clock().timestamp()
        found = batch_get(
            self._client,
            "read records",
            lambda item: (RecordKey(item["invocation_id"]["S"], item["timestamp"]["S"]), item),
            self._table,
            asked,
            ConsistentRead=True,
        )
        # Expired ones may stand there for days. Their markers may be gone: they could be folded a second time.
        return {key: _record_or_flaw(item) for key, item in found if not _has_expired(item, now_s)}

    def latest(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None
    ) -> Sequence[InvocationRecord]:
        """A tenant's own stand in partitions of their own: what others call leaves none out, and costs nothing here."""
        if tenant is not None:
            keys = self._newest(limit, after, lambda shard, page: self._keys_of(f"{shard}#{tenant}", page, after))
            found = batch_get(self._client, f"read records of {tenant}", _readable, self._table, keys)
            records = [record for record in found if isinstance(record, InvocationRecord)]
            return sorted(records, key=_age, reverse=True)
        return self._newest(limit, after, lambda shard, page: self._of_shard(shard, page, after))

    def _newest(
        self, limit: int, after: datetime | None, of_shard: Callable[[str, int], Iterator[Found]]
    ) -> Sequence[Found]:
        """Of each day's partitions as much as belongs to the newest: a first page of each, more only where all of it
        does. A partition is read in the order of its index; equal times are put into theirs at the end."""
        found: list[Found] = []
        today, page = self._clock(), max(LEAST_PAGE, -(-2 * limit // SHARDS))
        for day in (today - timedelta(days=back) for back in range(LATEST_DAYS)):
            if after is not None and day.date() < after.date():
                break
            partitions = [of_shard(time_shard(day, shard), page) for shard in range(SHARDS)]
            begun = self._at_once(_begun, partitions)
            found.extend(islice(merge(*begun, key=_time_of, reverse=True), limit - len(found)))
            if len(found) >= limit:
                break
        return sorted(found, key=_age, reverse=True)

    def overdue(self, before: datetime, limit: int) -> Sequence[OpenRecord]:
        """Open records by the sparse index (which lags a little), then read whole and consistently."""
        open_ids = self._at_once(lambda shard: list(islice(self._open(shard, before), limit)), range(SHARDS))
        read = (record for id in chain.from_iterable(open_ids) for record in self._stored(id, _readable))
        return list(islice((record for record in read if isinstance(record, OpenRecord)), limit))

    def _at_once(self, ask: Callable[[Asked], T], partitions: Iterable[Asked]) -> list[T]:
        if self._readers == 1:
            return [ask(partition) for partition in partitions]
        with ThreadPoolExecutor(max_workers=self._readers) as executor:
            return list(executor.map(ask, partitions))

    def _open(self, shard: int, before: datetime) -> Iterator[str]:
        return query(
            self._client,
            "query open records",
            lambda item: str(item["invocation_id"]["S"]),
            TableName=self._table,
            IndexName="open-records",
            KeyConditionExpression="open_shard = :shard AND deadline_at < :before",
            ExpressionAttributeValues={":shard": {"S": str(shard)}, ":before": {"S": instant(before)}},
        )

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

    def _of_shard(self, shard: str, page: int, after: datetime | None) -> Iterator[InvocationRecord]:
        records = self._by_age("by-time", "time_shard", "timestamp", shard, page, after, _readable)
        return (record for record in records if isinstance(record, InvocationRecord))

    def _keys_of(self, shard: str, page: int, after: datetime | None) -> Iterator[Item]:
        return self._by_age("open-records", "open_shard", "deadline_at", shard, page, after, _key_of)

    def _by_age(
        self,
        index: str,
        partition: str,
        sort: str,
        shard: str,
        page: int,
        after: datetime | None,
        read: Callable[[Item], T],
    ) -> Iterator[T]:
        """One partition from its newest on, none of which is later than now, page by page."""
        return query(
            self._client,
            "query latest records",
            read,
            TableName=self._table,
            IndexName=index,
            ScanIndexForward=False,
            KeyConditionExpression=f"{partition} = :shard AND #sort BETWEEN :from AND :to",
            ExpressionAttributeNames={"#sort": sort},
            ExpressionAttributeValues={
                ":shard": {"S": shard},
                ":from": {"S": instant(after + _NEXT) if after else "0"},
                ":to": {"S": instant(self._clock() + CLOCKS_APART)},
            },
            Limit=page,
        )


def _begun(partition: Iterator[T]) -> Iterator[T]:
    """With its first page read."""
    return chain(list(islice(partition, 1)), partition)


def _time_of(found: InvocationRecord | Item) -> str:
    return instant(found.timestamp) if isinstance(found, InvocationRecord) else str(found["timestamp"]["S"])


def _age(found: InvocationRecord | Item) -> tuple[str, str]:
    if isinstance(found, InvocationRecord):
        return instant(found.timestamp), found.invocation_id
    return found["timestamp"]["S"], found["invocation_id"]["S"]


def _key_of(item: Item) -> Item:
    return {name: {"S": str(item[name]["S"])} for name in ("invocation_id", "timestamp")}


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
