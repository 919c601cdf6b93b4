"""What environments share, in memory and in DynamoDB by both clients."""

from datetime import timedelta
from typing import Any

from fiso.adapters.aws.dynamodb_breakers import MOST_REPORTERS, PARTITION, DynamoDBSharedBreakers
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.routing.breaker_notices import Domain, Notice, SlowCall, Transition
from fiso.testing.clock import ManualClock
from fiso_client.core.breaker import Breaker
from tests.builders import NOW
from tests.contract.stores import Emulated, Stores

DOMAIN = Domain(Provider.AWS, "us-east-1")
FUNCTION, ENDPOINT = FunctionName("word-count"), EndpointId("aws")


def opened(at_s: float = 0.0, *, domain_only: bool = False, whose: str = "") -> Transition:
    changed_at = NOW + timedelta(seconds=at_s)
    breaker = Breaker(
        trips_in_row=2, opened_until=changed_at + timedelta(seconds=4), changed_at=changed_at, cause="timed_out"
    )
    function, endpoint = (None, None) if domain_only else (FUNCTION, ENDPOINT)
    return Transition(function=function, endpoint=endpoint, domain=DOMAIN, breaker=breaker, whose=whose)


def late(teller: str = "one", at_s: float = 0.0) -> SlowCall:
    return SlowCall(function=FUNCTION, endpoint=ENDPOINT, teller=teller, began_at=NOW + timedelta(seconds=at_s))


def test_what_was_told_is_heard(stores: Stores) -> None:
    told: list[Notice] = [opened(), opened(domain_only=True, whose="0a1b2c3d"), late("one"), late("other", 1.5)]
    for notice in told:
        stores.breakers.write(notice)
    heard = list(stores.breakers.read())
    assert len(heard) == len(told)
    assert all(notice in heard for notice in told)


def test_the_newest_of_a_breaker_and_of_a_teller_is_kept_whatever_comes_last(stores: Stores) -> None:
    for notice in (opened(2), opened(1), opened(2), late(at_s=2), late(at_s=1), late(at_s=2)):
        stores.breakers.write(notice)
    heard = list(stores.breakers.read())
    assert len(heard) == 2
    assert opened(2) in heard
    assert late(at_s=2) in heard


def test_a_late_call_that_was_answered_is_gone_and_stays_gone(stores: Stores) -> None:
    stores.breakers.write(late("one"))
    stores.breakers.write(late("other"))
    stores.breakers.retract(late("one"))
    stores.breakers.retract(late("one"))
    assert list(stores.breakers.read()) == [late("other")]
    stores.breakers.write(late("one", at_s=3))
    assert len(list(stores.breakers.read())) == 2


def test_a_later_call_of_the_same_teller_is_not_taken_back_with_the_earlier_one(stores: Stores) -> None:
    stores.breakers.write(late(at_s=2))
    stores.breakers.retract(late(at_s=0))
    assert list(stores.breakers.read()) == [late(at_s=2)]


def test_taking_back_what_was_never_told_tells_nothing(stores: Stores) -> None:
    stores.breakers.retract(late())
    assert list(stores.breakers.read()) == []


def test_what_another_version_tells_is_left_alone(at: Emulated) -> None:
    shared = DynamoDBSharedBreakers(at.dynamodb, at.state, clock=ManualClock())
    shared.write(opened())
    foreign = {"function_name": {"S": PARTITION}, "item": {"S": "new"}, "expires_at": {"N": "9999999999"}}
    at.dynamodb.put_item(TableName=at.state, Item=foreign)
    assert list(shared.read()) == [opened()]


def test_dynamodb_keeps_so_many_tellers_of_one_second_and_reads_no_item_that_expired(at: Emulated) -> None:
    """1,000 environments tell of one silent cloud: what each of them then reads stays below one read unit."""
    clock = ManualClock()
    shared = DynamoDBSharedBreakers(at.dynamodb, at.state, clock=clock)
    for second in range(3):
        for number in range(MOST_REPORTERS + 20):
            shared.write(late(f"{number:012x}", at_s=second + number / 1000))
    tellers = {notice.teller for notice in shared.read() if isinstance(notice, SlowCall)}
    assert len(tellers) == MOST_REPORTERS
    assert read_bytes(at, clock) < 4_096
    clock.advance(120 * 60)
    shared.write(opened(120 * 60))
    assert list(shared.read()) == [opened(120 * 60)]
    assert read_bytes(at, clock) < 500


def read_bytes(at: Emulated, clock: ManualClock) -> int:
    """How much the items weigh that a read looks at, whatever it then leaves out."""
    items: list[Any] = []

    class Weighed:
        def query(self, **asked: Any) -> Any:
            page = at.dynamodb.query(**asked)
            items.extend(page["Items"])
            return page

    DynamoDBSharedBreakers(Weighed(), at.state, clock=clock).read()
    return sum(len(key) + len(str(part)) for item in items for key, value in item.items() for part in value.values())
