"""What environments share: an item in the state table for each breaker that opened or closed lately, and one for each
environment's late call of an endpoint."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fiso.adapters.aws.errors import store_errors
from fiso.codecs.record import instant
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.errors import WriteConflict
from fiso.ports import Clock
from fiso.routing.breaker_notices import TOLD_FOR, Domain, Notice, SlowCall, Transition
from fiso_client.core.breaker import Breaker

PARTITION = "breakers#"
"""No function is called so: names have no #. Its items are never read as states."""
KEEP = timedelta(minutes=10)
"""Longer than any breaker stays open; what is older says nothing any more."""
_ALL = "*"


class DynamoDBSharedBreakers:
    """The table `fiso-endpoint-state`. `client` is boto3's DynamoDB client, or `aws_client.DynamoDBClient`."""

    def __init__(self, client: Any, table: str, *, clock: Clock) -> None:
        self._client, self._table, self._clock = client, table, clock

    def read(self) -> Sequence[Notice]:
        """One query; items that their time to live should have removed are left out."""
        with store_errors("shared breakers"):
            page = self._client.query(
                TableName=self._table,
                KeyConditionExpression="function_name = :partition",
                ExpressionAttributeValues={":partition": {"S": PARTITION}},
            )
        now = self._clock().timestamp()
        told = (_notice(item) for item in page["Items"] if float(item["expires_at"]["N"]) > now)
        return [notice for notice in told if notice is not None]

    def write(self, notice: Notice) -> None:
        """Over what is older; a newer one stays, and repeating it changes nothing."""
        item = _late_item(notice) if isinstance(notice, SlowCall) else _item(notice)
        self._put(item, "attribute_not_exists(function_name) OR changed_at < :changed_at")

    def retract(self, late: SlowCall) -> None:
        """Let it expire at once, unless a later call took its place."""
        expired = {"expires_at": {"N": str(int(self._clock().timestamp()))}}
        self._put(_late_item(late) | expired, "changed_at = :changed_at")

    def _put(self, item: Mapping[str, Any], condition: str) -> None:
        """Where the condition on what is there holds; else it stays."""
        try:
            with store_errors("share a notice"):
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={":changed_at": item["changed_at"]},
                )
        except WriteConflict:
            return


def _late_item(late: SlowCall) -> dict[str, Any]:
    return {
        "function_name": {"S": PARTITION},
        "item": {"S": "#".join(["late", late.function, late.endpoint, late.teller])},
        "function": {"S": late.function},
        "endpoint": {"S": late.endpoint},
        "teller": {"S": late.teller},
        "changed_at": {"S": instant(late.began_at)},
        "expires_at": {"N": str(int((late.began_at + TOLD_FOR).timestamp()))},
    }


def _notice(item: Mapping[str, Any]) -> Notice | None:
    """None for what another version tells in another way: while a stage is deployed both are up."""
    if "teller" in item:
        return _late_call(item)
    return _transition(item) if "trips_in_row" in item else None


def _late_call(item: Mapping[str, Any]) -> SlowCall:
    return SlowCall(
        function=FunctionName(item["function"]["S"]),
        endpoint=EndpointId(item["endpoint"]["S"]),
        teller=item["teller"]["S"],
        began_at=datetime.fromisoformat(item["changed_at"]["S"]),
    )


def _item(transition: Transition) -> dict[str, Any]:
    breaker, domain = transition.breaker, transition.domain
    item: dict[str, Any] = {
        "function_name": {"S": PARTITION},
        "item": {"S": "#".join([transition.function or _ALL, transition.endpoint or _ALL, *domain])},
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
    )


def _text(item: Mapping[str, Any], name: str) -> str | None:
    return str(item[name]["S"]) if name in item else None
