"""DynamoDB: which records are the newest, and which intents may be overdue, told by who reads the stream.

Beside the states, since an index of the log would cost a write for each record:

    recent#DAY#TENANT   NEWEST#digest   the keys of one batch's records of a tenant that began on that day
    trouble#DAY#TENANT  NEWEST#digest   of those that went wrong the same, with status, verdict and function
    recent#DAY          tenant#TENANT   which tenants have any
    open#SHARD          DEADLINE#id     an intent that the archive's consumer found still open

Entries are named by what is in them: a batch that comes again writes them again, and readers count a key once. An entry
may hold keys that are much older than its newest one, so the keys of a partition are in order only once the entry after
them is known to be older. docs/decisions/0030
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from heapq import merge
from itertools import chain, islice
from typing import Any, TypeVar

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.dynamodb import Item, expiry, query, shard_of
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.record import instant, parse_instant
from fiso.domain.endpoint import FunctionName
from fiso.domain.record import CLOCKS_APART, InvocationRecord, OpenRecord, Trouble, trouble_of
from fiso.domain.request import InvocationId, TenantId
from fiso.ports import Clock, RecordKey

T = TypeVar("T")
Asked = TypeVar("Asked")

LATEST_DAYS = 7
KEEP = timedelta(days=LATEST_DAYS + 2)
OPEN_SHARDS = 16
"""What is still open when the stream is read is rare, but for functions that take half a minute."""
MOST_KEYS = 2_000
"""Of an entry, far below the 400 KB that an item may have."""
LEAST_PAGE, MOST_PAGE = 4, 32
"""Entries that are read at once: under load each has the keys of a hundred records."""
READERS = 16
MOST_LOOKED_AT = 20_000
"""Of what went wrong, for one question: about 300 KB."""
TROUBLES_AT_ONCE = 100
RECENT, TROUBLE = "recent", "trouble"


@dataclass(frozen=True, slots=True)
class Watched:
    """An intent that was seen open, and the item that says so."""

    key: RecordKey
    item: Item


class DynamoDBLists:
    """The port `RecordLists`, and what of it is read. `readers` partitions are asked at once."""

    def __init__(self, client: Any, table: str, *, clock: Clock, readers: int = READERS) -> None:
        self._client, self._table, self._clock, self._readers = client, table, clock, readers
        self._known: set[tuple[str, str]] = set()

    def note(self, records: Sequence[InvocationRecord]) -> None:
        """A write for each day and tenant of them, and one for what went wrong of these."""
        groups: dict[tuple[str, str, TenantId], list[tuple[str, str]]] = {}
        for record in records:
            day, at = f"{record.timestamp:%Y-%m-%d}", instant(record.timestamp)
            group = groups.setdefault((RECENT, day, record.request.tenant), [])
            group.append((at, record.invocation_id))
            if trouble := trouble_of(record):
                group = groups.setdefault((TROUBLE, day, record.request.tenant), [])
                group.append((at, _trouble_text(trouble)))
        for (kind, day, tenant), keys in groups.items():
            self._tell_of(day, tenant)
            ordered = sorted(set(keys))
            for start in range(0, len(ordered), MOST_KEYS):
                self._put(_entry(f"{kind}#{day}#{tenant}", ordered[start : start + MOST_KEYS]))

    def _tell_of(self, day: str, tenant: TenantId) -> None:
        """First: an entry whose tenant is not known is in nobody's list but the tenant's."""
        if (day, tenant) in self._known:
            return
        self._put({"function_name": {"S": f"recent#{day}"}, "item": {"S": f"tenant#{tenant}"}})
        self._known = {(known, of) for known, of in self._known if known == day} | {(day, tenant)}

    def watch(self, intents: Sequence[OpenRecord]) -> None:
        items = [
            {
                "function_name": {"S": f"open#{shard_of(intent.invocation_id, OPEN_SHARDS)}"},
                "item": {"S": f"{instant(intent.deadline_at)}#{intent.invocation_id}"},
                "timestamp": {"S": instant(intent.timestamp)},
                "expires_at": expiry(intent.timestamp),
            }
            for intent in intents
        ]
        self._at_once(self._put, items)

    def watched(self, before: datetime) -> Iterator[Watched]:
        """Those whose deadline lies before that."""

        def of_shard(shard: int) -> Iterator[Watched]:
            return query(
                self._client,
                "query open records",
                _watched,
                TableName=self._table,
                KeyConditionExpression="function_name = :shard AND #item < :before",
                ExpressionAttributeNames={"#item": "item"},
                ExpressionAttributeValues={":shard": {"S": f"open#{shard}"}, ":before": {"S": instant(before)}},
            )

        return chain.from_iterable(self._at_once(_begun, [of_shard(shard) for shard in range(OPEN_SHARDS)]))

    def forget(self, watched: Iterable[Watched]) -> None:
        def forget(each: Watched) -> None:
            with store_errors("forget an intent that was closed"):
                self._client.delete_item(TableName=self._table, Key=each.item)

        self._at_once(forget, list(watched))

    def newest(self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None) -> list[RecordKey]:
        """Newest first. A tenant's are in partitions of its own: what others call leaves none out, and costs nothing
        here."""
        found = islice(self._newest(RECENT, limit, after, tenant), limit)
        return [RecordKey(id, timestamp) for timestamp, id in found]

    def troubles(
        self, *, after: datetime | None = None, tenant: TenantId | None = None, most: int = MOST_LOOKED_AT
    ) -> Iterator[Trouble]:
        """What went wrong, newest first, of the newest `most`; nothing of it is read that nobody takes."""
        found = islice(self._newest(TROUBLE, TROUBLES_AT_ONCE, after, tenant), most)
        return (trouble for timestamp, text in found if (trouble := _trouble_in(timestamp, text)) is not None)

    def _newest(
        self, kind: str, limit: int, after: datetime | None, tenant: TenantId | None
    ) -> Iterator[tuple[str, str]]:
        today = self._clock()
        for day in (f"{today - timedelta(days=back):%Y-%m-%d}" for back in range(LATEST_DAYS)):
            if after is not None and day < f"{after:%Y-%m-%d}":
                break
            tenants = [tenant] if tenant is not None else self._tenants(day)
            page = min(MOST_PAGE, max(LEAST_PAGE, -(-2 * limit // max(1, len(tenants)))))
            begun = self._at_once(_begun, [self._of_partition(f"{kind}#{day}#{each}", page, after) for each in tenants])
            yield from merge(*begun, reverse=True)

    def _tenants(self, day: str) -> list[TenantId]:
        asked = {":day": {"S": f"recent#{day}"}}
        return list(
            query(
                self._client,
                "query latest records",
                lambda item: TenantId(str(item["item"]["S"]).removeprefix("tenant#")),
                TableName=self._table,
                KeyConditionExpression="function_name = :day",
                ExpressionAttributeValues=asked,
            )
        )

    def _of_partition(self, partition: str, page: int, after: datetime | None) -> Iterator[tuple[str, str]]:
        """Its keys from the newest on, each once, none later than now."""
        latest = instant(self._clock() + CLOCKS_APART)
        earliest = instant(after) if after else ""
        pending: list[tuple[str, str]] = []
        for newest, keys in chain(self._entries(partition, page, earliest), [("", [])]):
            settled = [key for key in pending if key[0] > newest]
            yield from sorted(set(settled), reverse=True)
            pending = [key for key in pending if key[0] <= newest]
            pending.extend(key for key in keys if earliest < key[0] <= latest)

    def _entries(self, partition: str, page: int, earliest: str) -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
        return query(
            self._client,
            "query latest records",
            _keys_in,
            TableName=self._table,
            ScanIndexForward=False,
            KeyConditionExpression="function_name = :partition AND #item > :from",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":partition": {"S": partition}, ":from": {"S": earliest or "0"}},
            Limit=page,
        )

    def _put(self, item: Item) -> None:
        kept = {"expires_at": {"N": str(int((self._clock() + KEEP).timestamp()))}, **item}
        with store_errors("list records"):
            self._client.put_item(TableName=self._table, Item=kept)

    def _at_once(self, ask: Callable[[Asked], T], partitions: Sequence[Asked]) -> list[T]:
        if self._readers == 1 or len(partitions) <= 1:
            return [ask(partition) for partition in partitions]
        with ThreadPoolExecutor(max_workers=self._readers) as executor:
            return list(executor.map(ask, partitions))


def _trouble_text(trouble: Trouble) -> str:
    """Its id first, as in the other list; no function's name has a space."""
    verdicts = ",".join(trouble.verdicts) or "-"
    return f"{trouble.invocation_id} {trouble.status} {verdicts} {trouble.function}"


def _trouble_in(timestamp: str, text: str) -> Trouble | None:
    try:
        id, status, verdicts, function = text.split(" ")
        named = tuple(verdicts.split(",")) if verdicts != "-" else ()
        return Trouble(
            timestamp=parse_instant(timestamp),
            invocation_id=InvocationId(id),
            function=FunctionName(function),
            status=int(status),
            verdicts=named,
        )
    except ValueError:
        return None


def _entry(partition: str, keys: Sequence[tuple[str, str]]) -> Item:
    text = "\n".join(f"{timestamp} {id}" for timestamp, id in keys).encode()
    digest = blake2b(text, digest_size=8).hexdigest()
    return {
        "function_name": {"S": partition},
        "item": {"S": f"{keys[-1][0]}#{digest}"},
        "keys": {"B": zlib.compress(text, 9)},
    }


def _keys_in(item: Item) -> tuple[str, Sequence[tuple[str, str]]]:
    newest = str(item["item"]["S"]).partition("#")[0]
    lines = zlib.decompress(binary(item["keys"]["B"])).decode().split("\n")
    return newest, [(timestamp, id) for timestamp, _, id in (line.partition(" ") for line in lines)]


def _watched(item: Item) -> Watched:
    id = str(item["item"]["S"]).partition("#")[2]
    key = {name: {"S": str(item[name]["S"])} for name in ("function_name", "item")}
    return Watched(RecordKey(id, str(item["timestamp"]["S"])), key)


def _begun(partition: Iterator[T]) -> Iterator[T]:
    """With its first page read."""
    return chain(list(islice(partition, 1)), partition)
