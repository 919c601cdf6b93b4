"""What environments share, in one partition of the state table: breakers that opened or closed lately, and slow calls.

Every environment reads it every one to two seconds, so what a read costs is what counts. The sort key is laid out so
that one query over a range finds all that still says something and nothing that only waits for its time to live, which
DynamoDB takes days for:

    !1795426200#word-count#aws          slow calls of one endpoint that began in one second, MOST_REPORTERS at most
    word-count#aws#aws#us-east-1        a transition, late#...: a slow call, as written before; they expire within a day
    ~97007622#word-count#aws#...        a breaker's last transition within ten minutes, the newest ten first

One cloud falls silent for 1,000 environments: they stop telling when five have told, which is 3 seconds at most, so
that 3 items of slow calls (420 bytes each) and a transition for each breaker and its domain (300 bytes each) are read:
2 KB, half a read unit, by 1,000 environments once a second: 500 units a second of the 3,000 that one key can give. With
more functions `BreakerSync` reads less often, at most a unit a second each. docs/decisions/0013-when-a-call-fails.md
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fiso.adapters.aws.dynamodb import query
from fiso.adapters.aws.errors import DAMAGE, store_errors
from fiso.codecs.record import instant
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.errors import WriteConflict
from fiso.ports import Clock
from fiso.routing.breaker_notices import NOTICE_VALID_FOR, Domain, Notice, SlowCall, Transition
from fiso_client.core.breaker import CONSECUTIVE, Breaker

PARTITION = "breakers#"
"""No function is called so: names have no #. Its items are never read as states."""
KEEP = timedelta(minutes=10)
"""Longer than any breaker stays open; what is older says nothing any more."""
MOST_REPORTERS = 2 * CONSECUTIVE
"""Of one endpoint's slow calls in one second: CONSECUTIVE open a breaker, some are taken back."""
_ALL = "*"
_LAST_PERIOD = 99_999_999


class DynamoDBSharedBreakers:
    """The table `fiso-endpoint-state`. `client` is boto3's DynamoDB client, or `aws_client.DynamoDBClient`."""

    def __init__(self, client: Any, table: str, *, clock: Clock) -> None:
        self._client, self._table, self._clock = client, table, clock

    def read(self) -> Sequence[Notice]:
        """The newest of each breaker, and of each teller and endpoint, that has not expired."""
        now = self._clock()
        newest: dict[tuple[object, ...], Notice] = {}
        for item in self._items(now):
            for notice in _notices(item, now):
                key = _identity(notice)
                if key not in newest or newest[key].changed_at < notice.changed_at:
                    newest[key] = notice
        return list(newest.values())

    def write(self, notice: Notice) -> None:
        """Over what is older; a newer one stays, and repeating it changes nothing."""
        if isinstance(notice, SlowCall):
            self._add_slow_call(notice)
            return
        item = _item(notice)
        with _unless_refused(), store_errors("share a transition"):
            self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(function_name) OR changed_at < :changed_at",
                ExpressionAttributeValues={":changed_at": item["changed_at"]},
            )

    def retract(self, slow: SlowCall) -> None:
        with _unless_refused(), store_errors("take a slow call back"):
            self._client.update_item(
                TableName=self._table,
                Key=_slow_key(slow),
                UpdateExpression="DELETE tellers :tellers",
                ConditionExpression="attribute_exists(function_name)",  # or the update would make an item
                ExpressionAttributeValues={":tellers": {"SS": [_reporter_text(slow)]}},
            )

    def _add_slow_call(self, slow: SlowCall) -> None:
        """One of its second's tellers. `teller` and `changed_at` are what code reads that knows one call an item."""
        with _unless_refused(), store_errors("share a slow call"):
            self._client.update_item(
                TableName=self._table,
                Key=_slow_key(slow),
                UpdateExpression="SET #function = :function, endpoint = :endpoint, expires_at = :expires, "
                "teller = if_not_exists(teller, :teller), changed_at = if_not_exists(changed_at, :changed_at) "
                "ADD tellers :tellers",
                ConditionExpression="attribute_not_exists(tellers) OR size(tellers) < :most",
                ExpressionAttributeNames={"#function": "function"},
                ExpressionAttributeValues={
                    ":function": {"S": slow.function},
                    ":endpoint": {"S": slow.endpoint},
                    ":expires": {"N": str(int((slow.began_at + NOTICE_VALID_FOR).timestamp()))},
                    ":teller": {"S": slow.teller},
                    ":changed_at": {"S": instant(slow.began_at)},
                    ":tellers": {"SS": [_reporter_text(slow)]},
                    ":most": {"N": str(MOST_REPORTERS)},
                },
            )

    def _items(self, now: datetime) -> Iterator[Mapping[str, Any]]:
        asked: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "function_name = :partition AND #item BETWEEN :oldest_slow AND :oldest_change",
            "ExpressionAttributeNames": {"#item": "item"},
            "ExpressionAttributeValues": {
                ":partition": {"S": PARTITION},
                ":oldest_slow": {"S": f"!{int((now - NOTICE_VALID_FOR).timestamp()):010d}"},
                ":oldest_change": {"S": f"~{_period(now - KEEP):08d}$"},  # $ comes after #
            },
        }
        return query(self._client, "shared breakers", dict, **asked)


@contextmanager
def _unless_refused() -> Iterator[None]:
    """A newer one is there, or enough tellers are: that is as good."""
    try:
        yield
    except WriteConflict:
        return


def _notices(item: Mapping[str, Any], now: datetime) -> list[Notice]:
    """None for what another version tells in another way: while a stage is deployed both are up."""
    try:
        if float(item["expires_at"]["N"]) <= now.timestamp():
            return []
        if "teller" in item:
            return [*_slow_calls(item)]
        return [_transition(item)] if "trips_in_row" in item else []
    except DAMAGE:
        return []


def _slow_calls(item: Mapping[str, Any]) -> Iterator[SlowCall]:
    function, endpoint = FunctionName(item["function"]["S"]), EndpointId(item["endpoint"]["S"])
    key = str(item["item"]["S"])
    if not key.startswith("!"):
        began_at = datetime.fromisoformat(item["changed_at"]["S"])
        yield SlowCall(function=function, endpoint=endpoint, teller=item["teller"]["S"], began_at=began_at)
        return
    second = datetime.fromtimestamp(int(key[1:].partition("#")[0]), UTC)
    for text in item.get("tellers", {}).get("SS", ()):  # an empty set is no attribute
        teller, _, microseconds = str(text).rpartition("@")
        began_at = second + timedelta(microseconds=int(microseconds))
        yield SlowCall(function=function, endpoint=endpoint, teller=teller, began_at=began_at)


def _slow_key(slow: SlowCall) -> dict[str, Any]:
    second = int(slow.began_at.timestamp())
    return {"function_name": {"S": PARTITION}, "item": {"S": f"!{second:010d}#{slow.function}#{slow.endpoint}"}}


def _reporter_text(slow: SlowCall) -> str:
    return f"{slow.teller}@{slow.began_at.microsecond}"


def _identity(notice: Notice) -> tuple[object, ...]:
    last = notice.teller if isinstance(notice, SlowCall) else notice.domain
    return (type(notice), notice.function, notice.endpoint, last)


def _period(at: datetime) -> int:
    """Which ten minutes, counted down, so that the newest sort first."""
    return _LAST_PERIOD - int(at.timestamp() // KEEP.total_seconds())


def _item(transition: Transition) -> dict[str, Any]:
    breaker, domain = transition.breaker, transition.domain
    which = [transition.function or _ALL, transition.endpoint or _ALL, *domain]
    item: dict[str, Any] = {
        "function_name": {"S": PARTITION},
        "item": {"S": "#".join([f"~{_period(transition.changed_at):08d}", *which])},
        "provider": {"S": domain.provider.value},
        "region": {"S": domain.region},
        "changed_at": {"S": instant(transition.changed_at)},
        "trips_in_row": {"N": str(breaker.trips_in_row)},
        "cause": {"S": breaker.cause},
        "expires_at": {"N": str(int((transition.changed_at + KEEP).timestamp()))},
    }
    optional = {
        "function": transition.function,
        "endpoint": transition.endpoint,
        "opened_until": instant(breaker.opened_until) if breaker.opened_until else None,
        "whose": transition.whose or None,
    }
    return item | {name: {"S": value} for name, value in optional.items() if value is not None}


def _transition(item: Mapping[str, Any]) -> Transition:
    opened_until = _text(item, "opened_until")
    function, endpoint = _text(item, "function"), _text(item, "endpoint")
    return Transition(
        function=FunctionName(function) if function else None,
        endpoint=EndpointId(endpoint) if endpoint else None,
        domain=Domain(Provider(item["provider"]["S"]), item["region"]["S"]),
        breaker=Breaker(
            trips_in_row=int(item["trips_in_row"]["N"]),
            opened_until=datetime.fromisoformat(opened_until) if opened_until else None,
            changed_at=datetime.fromisoformat(item["changed_at"]["S"]),
            cause=item["cause"]["S"],
        ),
        whose=_text(item, "whose") or "",
    )


def _text(item: Mapping[str, Any], name: str) -> str | None:
    return str(item[name]["S"]) if name in item else None
