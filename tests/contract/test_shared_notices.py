"""What environments share, in memory and in DynamoDB by both clients."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.dynamodb_breakers import MOST_TELLERS, PARTITION, DynamoDBSharedBreakers
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.ports import SharedBreakers
from fiso.routing.breaker_notices import TOLD_FOR, Domain, Notice, SlowCall, Transition
from fiso.testing.clock import ManualClock
from fiso.testing.memory import InMemorySharedBreakers
from fiso_client.core.breaker import Breaker
from fiso_client.core.transport import HttpTransport
from tests.builders import NOW
from tests.emulator import aws, signed

DOMAIN = Domain(Provider.AWS, "us-east-1")
FUNCTION, ENDPOINT = FunctionName("word-count"), EndpointId("aws")


@pytest.fixture
def table(emulator_url: str) -> Iterator[tuple[Any, str]]:
    """A client and an empty state table."""
    dynamodb, name = aws("dynamodb", emulator_url), uuid4().hex[:8]
    keys = {"function_name": "HASH", "item": "RANGE"}
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
    )
    yield dynamodb, name
    dynamodb.close()


@pytest.fixture(params=["memory", "boto3", "signed"])
def shared(request: pytest.FixtureRequest) -> Iterator[SharedBreakers]:
    clock = ManualClock()
    if request.param == "memory":
        yield InMemorySharedBreakers()
        return
    dynamodb, name = request.getfixturevalue("table")
    with closing(HttpTransport()) as transport:
        service = signed("dynamodb", request.getfixturevalue("emulator_url"), transport, clock)
        client = dynamodb if request.param == "boto3" else DynamoDBClient(service)
        yield DynamoDBSharedBreakers(client, name, clock=clock)


def opened(at_s: float = 0.0, *, domain_only: bool = False) -> Transition:
    changed_at = NOW + timedelta(seconds=at_s)
    breaker = Breaker(
        trips_in_row=2, opened_until=changed_at + timedelta(seconds=4), changed_at=changed_at, cause="timed_out"
    )
    function, endpoint = (None, None) if domain_only else (FUNCTION, ENDPOINT)
    return Transition(function=function, endpoint=endpoint, domain=DOMAIN, breaker=breaker)


def late(teller: str = "one", at_s: float = 0.0) -> SlowCall:
    return SlowCall(function=FUNCTION, endpoint=ENDPOINT, teller=teller, began_at=NOW + timedelta(seconds=at_s))


def test_what_was_told_is_heard(shared: SharedBreakers) -> None:
    told: list[Notice] = [opened(), opened(domain_only=True), late("one"), late("other", 1.5)]
    for notice in told:
        shared.write(notice)
    heard = list(shared.read())
    assert len(heard) == len(told)
    assert all(notice in heard for notice in told)


def test_the_newest_of_a_breaker_and_of_a_teller_is_kept_whatever_comes_last(shared: SharedBreakers) -> None:
    for notice in (opened(2), opened(1), opened(2), late(at_s=2), late(at_s=1), late(at_s=2)):
        shared.write(notice)
    heard = list(shared.read())
    assert len(heard) == 2
    assert opened(2) in heard
    assert late(at_s=2) in heard


def test_a_late_call_that_was_answered_is_gone_and_stays_gone(shared: SharedBreakers) -> None:
    shared.write(late("one"))
    shared.write(late("other"))
    shared.retract(late("one"))
    shared.retract(late("one"))
    assert list(shared.read()) == [late("other")]
    shared.write(late("one", at_s=3))
    assert len(list(shared.read())) == 2


def test_a_later_call_of_the_same_teller_is_not_taken_back_with_the_earlier_one(shared: SharedBreakers) -> None:
    shared.write(late(at_s=2))
    shared.retract(late(at_s=0))
    assert list(shared.read()) == [late(at_s=2)]


def test_taking_back_what_was_never_told_tells_nothing(shared: SharedBreakers) -> None:
    shared.retract(late())
    assert list(shared.read()) == []


def test_what_another_version_tells_is_left_alone(table: tuple[Any, str]) -> None:
    dynamodb, name = table
    shared = DynamoDBSharedBreakers(dynamodb, name, clock=ManualClock())
    shared.write(opened())
    foreign = {"function_name": {"S": PARTITION}, "item": {"S": "new"}, "expires_at": {"N": "9999999999"}}
    dynamodb.put_item(TableName=name, Item=foreign)
    assert list(shared.read()) == [opened()]


def test_dynamodb_lets_late_calls_expire(table: tuple[Any, str]) -> None:
    clock = ManualClock()
    shared = DynamoDBSharedBreakers(*table, clock=clock)
    shared.write(late())
    clock.advance(TOLD_FOR.total_seconds() + 1)
    assert list(shared.read()) == []


def test_dynamodb_keeps_so_many_tellers_of_one_second_and_reads_no_item_that_expired(table: tuple[Any, str]) -> None:
    """1,000 environments tell of one silent cloud: what each of them then reads stays below one read unit."""
    clock = ManualClock()
    shared = DynamoDBSharedBreakers(*table, clock=clock)
    for second in range(3):
        for number in range(MOST_TELLERS + 20):
            shared.write(late(f"{number:012x}", at_s=second + number / 1000))
    tellers = {notice.teller for notice in shared.read() if isinstance(notice, SlowCall)}
    assert len(tellers) == MOST_TELLERS
    assert read_bytes(table, clock) < 4_096
    clock.advance(120 * 60)
    shared.write(opened(120 * 60))
    assert list(shared.read()) == [opened(120 * 60)]
    assert read_bytes(table, clock) < 500


def read_bytes(table: tuple[Any, str], clock: ManualClock) -> int:
    """How much the items weigh that a read looks at, whatever it then leaves out."""
    dynamodb, name = table
    items: list[Any] = []

    class Weighed:
        def query(self, **asked: Any) -> Any:
            page = dynamodb.query(**asked)
            items.extend(page["Items"])
            return page

    DynamoDBSharedBreakers(Weighed(), name, clock=clock).read()
    return sum(len(key) + len(str(part)) for item in items for key, value in item.items() for part in value.values())
