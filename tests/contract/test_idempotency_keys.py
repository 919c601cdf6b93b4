"""One battery over the implementations of `IdempotencyKeys`: in memory, and DynamoDB with S3 on the emulator.

The DynamoDB adapter runs twice, on boto3's clients and on those that sign by themselves.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

import pytest

from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.dynamodb_idempotency import LARGEST_INLINE, DynamoDBIdempotencyKeys
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso.domain.idempotency import KEEP, Entry, EntryId, KeptAnswer
from fiso.ports import IdempotencyKeys
from fiso.testing.clock import ManualClock
from fiso.testing.memory_idempotency import InMemoryIdempotencyKeys
from fiso_client.core.transport import HttpTransport
from tests.builders import NOW, invocation_id
from tests.emulator import aws, free_port, signed

KEPT = KeptAnswer(status=201, headers={"content-type": "text/plain", "x-b": "é"}, body=b"\x00\xffok", is_text=False)


@dataclass(frozen=True)
class World:
    """The keys, and the clock they go by."""

    keys: IdempotencyKeys
    clock: ManualClock


@pytest.fixture(params=["memory", "boto3", "signed"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    clock = ManualClock()
    if request.param == "memory":
        yield World(InMemoryIdempotencyKeys(clock=clock), clock)
        return
    url, name = request.getfixturevalue("emulator_url"), uuid4().hex[:8]
    dynamodb, s3 = aws("dynamodb", url), aws("s3", url)
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "idempotency_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "idempotency_id", "KeyType": "HASH"}],
    )
    s3.create_bucket(Bucket=name)
    transport = HttpTransport()
    if request.param == "boto3":
        yield World(DynamoDBIdempotencyKeys(dynamodb, name, s3=s3, bucket=name, clock=clock), clock)
    else:
        yield World(signed_keys(url, name, transport, clock), clock)
    for client in (dynamodb, s3, transport):
        client.close()


def signed_keys(url: str, name: str, transport: HttpTransport, clock: ManualClock) -> DynamoDBIdempotencyKeys:
    dynamodb = DynamoDBClient(signed("dynamodb", url, transport, clock))
    s3 = S3Client(signed("s3", url, transport, clock))
    return DynamoDBIdempotencyKeys(dynamodb, name, s3=s3, bucket=name, clock=clock)


def an_entry(number: int = 1, **changes: object) -> Entry:
    entry = Entry(
        id=EntryId("local#k1"),
        fingerprint="f" * 64,
        invocation_id=invocation_id(number),
        deadline_at=NOW + timedelta(seconds=10),
        expires_at=NOW + KEEP,
    )
    return replace(entry, **changes)  # type: ignore[arg-type]  # fields by name


def test_the_first_claim_is_made_and_the_second_sees_it(world: World) -> None:
    assert world.keys.find(EntryId("local#k1")) is None
    assert world.keys.claim(an_entry(1)) is None
    assert world.keys.claim(an_entry(2)) == an_entry(1)
    assert world.keys.find(EntryId("local#k1")) == an_entry(1)


def test_a_claim_that_comes_again_is_still_made(world: World) -> None:
    assert world.keys.claim(an_entry(1)) is None
    assert world.keys.claim(an_entry(1)) is None


def test_an_answer_comes_back_byte_for_byte(world: World) -> None:
    world.keys.claim(an_entry(1))
    world.keys.complete(an_entry(1, answer=KEPT))
    world.keys.complete(an_entry(1, answer=KEPT))
    assert world.keys.claim(an_entry(2)) == an_entry(1, answer=KEPT)


@pytest.mark.parametrize("size", [0, LARGEST_INLINE, LARGEST_INLINE + 1, 2 * 2**20])
def test_an_answer_of_any_size_is_kept(world: World, size: int) -> None:
    answer = replace(KEPT, body=bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    world.keys.claim(an_entry(1))
    world.keys.complete(an_entry(1, answer=answer))
    assert world.keys.find(EntryId("local#k1")) == an_entry(1, answer=answer)


def test_only_who_has_the_claim_completes_it(world: World) -> None:
    with pytest.raises(WriteConflict):
        world.keys.complete(an_entry(1, answer=KEPT))
    world.keys.claim(an_entry(1))
    with pytest.raises(WriteConflict):
        world.keys.complete(an_entry(2, answer=KEPT))
    assert world.keys.find(EntryId("local#k1")) == an_entry(1)


def test_an_answer_is_never_replaced(world: World) -> None:
    world.keys.claim(an_entry(1))
    world.keys.complete(an_entry(1, answer=KEPT))
    with pytest.raises(WriteConflict):
        world.keys.complete(an_entry(1, answer=replace(KEPT, status=500)))
    assert world.keys.claim(an_entry(1)) == an_entry(1, answer=KEPT)
    assert world.keys.claim(an_entry(2), over=invocation_id(1)) == an_entry(1, answer=KEPT)


def test_a_claim_is_taken_over_from_the_one_that_is_named_only(world: World) -> None:
    world.keys.claim(an_entry(1))
    assert world.keys.claim(an_entry(2), over=invocation_id(9)) == an_entry(1)
    assert world.keys.claim(an_entry(2), over=invocation_id(1)) is None
    assert world.keys.claim(an_entry(3), over=invocation_id(1)) == an_entry(2)
    with pytest.raises(WriteConflict):
        world.keys.complete(an_entry(1, answer=KEPT))


def test_one_of_many_takes_over(world: World) -> None:
    world.keys.claim(an_entry(1))
    with ThreadPoolExecutor(max_workers=8) as pool:
        stood = list(pool.map(lambda n: world.keys.claim(an_entry(n), over=invocation_id(1)), range(2, 18)))
    assert stood.count(None) == 1
    assert {entry.invocation_id for entry in stood if entry} == {invocation_id(stood.index(None) + 2)}


def test_a_released_key_can_be_claimed_again(world: World) -> None:
    world.keys.claim(an_entry(1))
    world.keys.release(an_entry(1))
    world.keys.release(an_entry(1))
    assert world.keys.claim(an_entry(2)) is None


def test_neither_anothers_claim_nor_an_answer_is_released(world: World) -> None:
    world.keys.claim(an_entry(1))
    world.keys.release(an_entry(2))
    assert world.keys.find(EntryId("local#k1")) == an_entry(1)
    world.keys.complete(an_entry(1, answer=KEPT))
    world.keys.release(an_entry(1))
    assert world.keys.find(EntryId("local#k1")) == an_entry(1, answer=KEPT)


def test_what_has_expired_counts_as_absent_though_it_still_lies_there(world: World) -> None:
    world.keys.claim(an_entry(1))
    world.keys.complete(an_entry(1, answer=KEPT))
    world.clock.advance(KEEP.total_seconds())
    assert world.keys.find(EntryId("local#k1")) is None
    later = an_entry(2, expires_at=NOW + 2 * KEEP)
    with pytest.raises(WriteConflict):
        world.keys.complete(an_entry(1, answer=KEPT))
    assert world.keys.claim(later) is None
    assert world.keys.find(EntryId("local#k1")) == later


def test_a_store_that_is_away_is_unavailable_for_every_call() -> None:
    transport, clock = HttpTransport(), ManualClock()
    keys = signed_keys(f"http://127.0.0.1:{free_port()}", "t", transport, clock)
    large = replace(KEPT, body=b"x" * (LARGEST_INLINE + 1))
    calls: tuple[Callable[[], object], ...] = (
        lambda: keys.claim(an_entry(1)),
        lambda: keys.complete(an_entry(1, answer=KEPT)),
        lambda: keys.complete(an_entry(1, answer=large)),
        lambda: keys.find(EntryId("local#k1")),
        lambda: keys.release(an_entry(1)),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()
