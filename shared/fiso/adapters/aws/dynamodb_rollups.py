"""DynamoDB: what had been counted of a function when its minutes ended, beside the states.

    history#FUNCTION   m#2026-11-30T12:34   of a minute in which it was called; kept for a day
    history#FUNCTION   h#2026-11-30T12      the same of an hour's last such minute; kept for 90 days

A function's minute costs one write, of a unit or two, however many records were in it, and its hour one more. Counts
only grow: whoever writes a minute again, or late, leaves the fuller one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.dynamodb import Item, query
from fiso.adapters.aws.errors import DAMAGE, store_errors
from fiso.codecs.packed import STATES, pack, unpack
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import InvalidRecord, WriteConflict
from fiso.domain.rollup import PLAIN, Counts, Rollup

KEEP_MINUTES, KEEP_HOURS = timedelta(hours=26), timedelta(days=91)
_MINUTE, _HOUR = "m#%Y-%m-%dT%H:%M", "h#%Y-%m-%dT%H"


class DynamoDBRollups:
    """The port `Rollups`, in the table of states."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def keep(self, function: FunctionName, rollups: Sequence[Rollup]) -> None:
        for rollup in rollups:
            self._put(rollup_item(function, rollup, by_hour=False))
            if rollup.ends_hour:
                self._put(rollup_item(function, rollup, by_hour=True))

    def between(
        self, function: FunctionName, start: datetime, end: datetime, *, by_hour: bool, step_s: int = 60
    ) -> Sequence[Rollup]:
        form = _HOUR if by_hour else _MINUTE
        first = self._before(function, start, form)
        asked = {":from": {"S": start.strftime(form)}, ":to": {"S": end.strftime(form)}}
        items = self._items(function, "#item BETWEEN :from AND :to", asked)
        # unpacked is what is drawn: the last of each step has counted what the others have
        last = {int(_at(item).timestamp()) // step_s: item for item in items if "at" in item}
        within = [each for item in last.values() if (each := rollup_from_item(item)) is not None and each.at < end]
        return [first, *within] if first is not None else within

    def newest_before(self, function: FunctionName, moment: datetime) -> Rollup | None:
        """By the minute, and by the hour where no minute is kept any more."""
        return self._before(function, moment, _MINUTE) or self._before(function, moment, _HOUR)

    def _before(self, function: FunctionName, moment: datetime, form: str) -> Rollup | None:
        asked = {":from": {"S": form[:2]}, ":to": {"S": moment.strftime(form)}}
        newest_first = {"ScanIndexForward": False, "Limit": 2}
        found = self._found(function, "#item BETWEEN :from AND :to", asked, **newest_first)
        return next((each for each in found if each.at < moment.astimezone(UTC).replace(second=0, microsecond=0)), None)

    def _found(self, function: FunctionName, condition: str, asked: Mapping[str, Any], **how: Any) -> Iterator[Rollup]:
        found = map(rollup_from_item, self._items(function, condition, asked, **how))
        return (rollup for rollup in found if rollup is not None)

    def _items(self, function: FunctionName, condition: str, asked: Mapping[str, Any], **how: Any) -> Iterator[Item]:
        return query(
            self._client,
            f"read the history of {function}",
            dict,
            TableName=self._table,
            KeyConditionExpression=f"function_name = :function AND {condition}",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":function": {"S": _partition(function)}, **asked},
            **how,
        )

    def _put(self, item: Item) -> None:
        try:
            with store_errors("keep a minute's counts"):
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(function_name) OR folded < :folded",
                    ExpressionAttributeValues={":folded": item["folded"]},
                )
        except WriteConflict:
            return  # a fuller one stands there, or this one


def rollup_item(function: FunctionName, rollup: Rollup, *, by_hour: bool) -> Item:
    rows = {
        endpoint: [*(getattr(counts, name) for name in PLAIN), list(counts.latencies), dict(counts.verdicts)]
        for endpoint, counts in rollup.counts.items()
    }
    kept = KEEP_HOURS if by_hour else KEEP_MINUTES
    return {
        "function_name": {"S": _partition(function)},
        "item": {"S": rollup.at.strftime(_HOUR if by_hour else _MINUTE)},
        "at": {"S": rollup.at.strftime(_MINUTE)[2:]},
        "folded": {"N": str(rollup.folded)},
        "counts": {"B": pack(json.dumps(rows, separators=(",", ":")), STATES)},
        "expires_at": {"N": str(int((rollup.at + kept).timestamp()))},
    }


def rollup_from_item(item: Mapping[str, Mapping[str, Any]]) -> Rollup | None:
    """What `rollup_item` made; None for what does not read: a chart has a minute less then."""
    try:
        rows: Mapping[str, Any] = unpack(binary(item["counts"]["B"]))
        at = _at(item)
        counts = {EndpointId(endpoint): _counts(row) for endpoint, row in rows.items()}
        return Rollup(at=at, folded=int(item["folded"]["N"]), counts=counts)
    except (*DAMAGE, InvalidRecord):
        return None


def _at(item: Mapping[str, Mapping[str, Any]]) -> datetime:
    return datetime.fromisoformat(str(item["at"]["S"])).replace(tzinfo=UTC)


def _counts(row: Sequence[Any]) -> Counts:
    """Names that later code adds stand before the two last of a row."""
    *plain, latencies, verdicts = row
    named = dict(zip(PLAIN, (int(count) for count in plain), strict=False))
    return Counts(**named, latencies=tuple(latencies), verdicts=verdicts)


def _partition(function: FunctionName) -> str:
    return f"history#{function}"
