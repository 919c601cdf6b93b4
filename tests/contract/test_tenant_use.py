"""What tenants spent: one battery over the port in memory and on DynamoDB, by boto3's client and by our own."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from fiso.access_ports import TenantUse
from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.tenant_use import KEEP, DynamoDBTenantUse
from fiso.domain.errors import StoreUnavailable
from fiso.domain.request import TenantId
from fiso.routing.quota import Seen, Use
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemoryTenantUse
from fiso_client.core.transport import HttpTransport
from tests.builders import NOW
from tests.emulator import aws, signed

TABLE = "fiso-idempotency-test"
ALICE = TenantId("alice#/ü")
SEEN = Seen(balance=-3.25, at=NOW, total=7.0)


@pytest.fixture(scope="module")
def dynamodb(emulator_url: str) -> Iterator[Any]:
    with closing(aws("dynamodb", emulator_url)) as client:
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "idempotency_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "idempotency_id", "AttributeType": "S"}],
        )
        yield client


@pytest.fixture(params=["memory", "boto3", "signed"])
def use(request: pytest.FixtureRequest) -> Iterator[TenantUse]:
    if request.param == "memory":
        yield InMemoryTenantUse()
        return
    client = request.getfixturevalue("dynamodb")
    client.delete_item(TableName=TABLE, Key={"idempotency_id": {"S": f"quota#{ALICE}"}})
    with closing(HttpTransport()) as transport:
        if request.param == "signed":
            client = DynamoDBClient(signed("dynamodb", client.meta.endpoint_url, transport))
        yield DynamoDBTenantUse(client, TABLE, clock=ManualClock())


def test_the_first_count_is_what_was_spent(use: TenantUse) -> None:
    assert use.add(ALICE, 3, None) == Use(total=3)


def test_counts_add_up_and_what_was_seen_stays_until_it_is_seen_anew(use: TenantUse) -> None:
    use.add(ALICE, 3, None)
    assert use.add(ALICE, 4, SEEN) == Use(total=7, seen=SEEN)
    assert use.add(ALICE, 1, None) == Use(total=8, seen=SEEN)
    later = Seen(balance=1e-07, at=NOW + KEEP, total=8)
    assert use.add(ALICE, 0, later) == Use(total=8, seen=later)


def test_tenants_are_counted_apart(use: TenantUse) -> None:
    use.add(ALICE, 3, None)
    before = use.add(TenantId("bob"), 0, None).total
    assert use.add(TenantId("bob"), 1, None).total == before + 1


def test_an_item_leaves_an_hour_after_its_last_use(dynamodb: Any) -> None:
    DynamoDBTenantUse(dynamodb, TABLE, clock=ManualClock()).add(ALICE, 1, None)
    item = dynamodb.get_item(TableName=TABLE, Key={"idempotency_id": {"S": f"quota#{ALICE}"}})["Item"]
    assert int(item["expires_at"]["N"]) == int((NOW + KEEP).timestamp())


def test_a_table_that_is_gone_is_a_store_that_is_away(dynamodb: Any) -> None:
    with pytest.raises(StoreUnavailable):
        DynamoDBTenantUse(dynamodb, "no-such-table", clock=ManualClock()).add(ALICE, 1, None)
