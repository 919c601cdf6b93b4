"""What tenants have spent of their quotas, one item a tenant in the idempotency table: `use:<tenant>`.

The tenant is percent-encoded: no name can spell an item of another's, nor an idempotency key's (`key:…`). Counters that
were written before, as `quota#<tenant>`, are not read: a tenant begins with a full bucket once.
"""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from fiso.adapters.aws.errors import store_errors
from fiso.codecs.record import instant
from fiso.domain.request import TenantId
from fiso.ports import Clock
from fiso.routing.quota import Seen, Use

KEEP = timedelta(hours=1)
"""After an hour without a request every bucket is full anyway, or its debt forgiven."""


class DynamoDBTenantUse:
    """The port `TenantUse`. One `UpdateItem` counts and reads at once, so environments never contend."""

    def __init__(self, client: Any, table: str, *, clock: Clock) -> None:
        self._client, self._table, self._clock = client, table, clock

    def add(self, tenant: TenantId, spent: float, seen: Seen | None) -> Use:
        """Add to the count. Repeating it after a lost answer counts twice, which the tenant repays within seconds."""
        values = {":spent": _number(spent), ":expires": _number(int((self._clock() + KEEP).timestamp()))}
        settings = ["expires_at = :expires"]
        if seen is not None:
            settings += ["balance = :balance", "seen_at = :at", "seen_total = :total"]
            values |= {":balance": _number(seen.balance), ":at": {"S": instant(seen.at)}, ":total": _number(seen.total)}
        with store_errors(f"count use of tenant {tenant}"):
            answer = self._client.update_item(
                TableName=self._table,
                Key={"idempotency_id": {"S": f"use:{quote(tenant, safe='')}"}},
                UpdateExpression=f"ADD used :spent SET {', '.join(settings)}",
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
            return _use(answer["Attributes"])


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def _use(item: dict[str, Any]) -> Use:
    seen = None
    if "seen_total" in item:
        seen = Seen(
            balance=float(item["balance"]["N"]),
            at=datetime.fromisoformat(item["seen_at"]["S"]),
            total=float(item["seen_total"]["N"]),
        )
    return Use(total=float(item["used"]["N"]), seen=seen)
