"""One battery over the implementations of `IdempotencyKeys`: in memory, and DynamoDB with S3 by both clients."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.dynamodb_idempotency import LARGEST_INLINE, DynamoDBIdempotencyKeys
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso.domain.idempotency import KEEP, Entry, EntryId, KeptAnswer
from fiso.testing.clock import ManualClock
from fiso_client.core.transport import HttpTransport
from tests.builders import NOW, invocation_id
from tests.contract.stores import Stores
from tests.emulator import free_port, signed

KEPT = KeptAnswer(status=201, headers={"content-type": "text/plain", "x-b": "é"}, body=b"\x00\xffok", is_text=False)


def an_entry(number: int = 1, **changes: object) -> Entry:
    entry = Entry(
        id=EntryId("local#k1"),
        fingerprint="f" * 64,
        invocation_id=invocation_id(number),
        deadline_at=NOW + timedelta(seconds=10),
        expires_at=NOW + KEEP,
    )
    return replace(entry, **changes)  # type: ignore[arg-type]  # fields by name


def test_the_first_claim_is_made_and_the_second_sees_it(stores: Stores) -> None:
    assert stores.keys.find(EntryId("local#k1")) is None
    assert stores.keys.claim(an_entry(1)) is None
    assert stores.keys.claim(an_entry(1)) is None  # it comes again
    assert stores.keys.claim(an_entry(2)) == an_entry(1)
    assert stores.keys.find(EntryId("local#k1")) == an_entry(1)


def test_an_answer_comes_back_byte_for_byte(stores: Stores) -> None:
    stores.keys.claim(an_entry(1))
    stores.keys.complete(an_entry(1, answer=KEPT))
    stores.keys.complete(an_entry(1, answer=KEPT))
    assert stores.keys.claim(an_entry(2)) == an_entry(1, answer=KEPT)


@pytest.mark.parametrize("size", [0, LARGEST_INLINE, LARGEST_INLINE + 1, 2 * 2**20])
def test_an_answer_of_any_size_is_kept(stores: Stores, size: int) -> None:
    answer = replace(KEPT, body=bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    stores.keys.claim(an_entry(1))
    stores.keys.complete(an_entry(1, answer=answer))
    assert stores.keys.find(EntryId("local#k1")) == an_entry(1, answer=answer)


def test_only_who_has_the_claim_completes_it(stores: Stores) -> None:
    with pytest.raises(WriteConflict):
        stores.keys.complete(an_entry(1, answer=KEPT))
    stores.keys.claim(an_entry(1))
    with pytest.raises(WriteConflict):
        stores.keys.complete(an_entry(2, answer=KEPT))
    assert stores.keys.find(EntryId("local#k1")) == an_entry(1)


def test_an_answer_is_never_replaced(stores: Stores) -> None:
    stores.keys.claim(an_entry(1))
    stores.keys.complete(an_entry(1, answer=KEPT))
    with pytest.raises(WriteConflict):
        stores.keys.complete(an_entry(1, answer=replace(KEPT, status=500)))
    assert stores.keys.claim(an_entry(1)) == an_entry(1, answer=KEPT)
    assert stores.keys.claim(an_entry(2), over=invocation_id(1)) == an_entry(1, answer=KEPT)


def test_a_claim_is_taken_over_from_the_one_that_is_named_only(stores: Stores) -> None:
    stores.keys.claim(an_entry(1))
    assert stores.keys.claim(an_entry(2), over=invocation_id(9)) == an_entry(1)
    assert stores.keys.claim(an_entry(2), over=invocation_id(1)) is None
    assert stores.keys.claim(an_entry(3), over=invocation_id(1)) == an_entry(2)
    with pytest.raises(WriteConflict):
        stores.keys.complete(an_entry(1, answer=KEPT))


def test_one_of_many_takes_over(stores: Stores) -> None:
    stores.keys.claim(an_entry(1))
    with ThreadPoolExecutor(max_workers=8) as pool:
        stood = list(pool.map(lambda n: stores.keys.claim(an_entry(n), over=invocation_id(1)), range(2, 18)))
    assert stood.count(None) == 1
    assert {entry.invocation_id for entry in stood if entry} == {invocation_id(stood.index(None) + 2)}


def test_a_released_key_can_be_claimed_again(stores: Stores) -> None:
    stores.keys.claim(an_entry(1))
    stores.keys.release(an_entry(1))
    stores.keys.release(an_entry(1))
    assert stores.keys.claim(an_entry(2)) is None


def test_neither_anothers_claim_nor_an_answer_is_released(stores: Stores) -> None:
    stores.keys.claim(an_entry(1))
    stores.keys.release(an_entry(2))
    assert stores.keys.find(EntryId("local#k1")) == an_entry(1)
    stores.keys.complete(an_entry(1, answer=KEPT))
    stores.keys.release(an_entry(1))
    assert stores.keys.find(EntryId("local#k1")) == an_entry(1, answer=KEPT)


def test_what_has_expired_counts_as_absent_though_it_still_lies_there(stores: Stores) -> None:
    stores.keys.claim(an_entry(1))
    stores.keys.complete(an_entry(1, answer=KEPT))
    stores.clock.advance(KEEP.total_seconds())
    assert stores.keys.find(EntryId("local#k1")) is None
    later = an_entry(2, expires_at=NOW + 2 * KEEP)
    with pytest.raises(WriteConflict):
        stores.keys.complete(an_entry(1, answer=KEPT))
    assert stores.keys.claim(later) is None
    assert stores.keys.find(EntryId("local#k1")) == later


def test_a_store_that_is_away_is_unavailable_for_every_call() -> None:
    url, clock = f"http://127.0.0.1:{free_port()}", ManualClock()
    large = replace(KEPT, body=b"x" * (LARGEST_INLINE + 1))
    calls: tuple[Callable[[DynamoDBIdempotencyKeys], object], ...] = (
        lambda keys: keys.claim(an_entry(1)),
        lambda keys: keys.complete(an_entry(1, answer=KEPT)),
        lambda keys: keys.complete(an_entry(1, answer=large)),
        lambda keys: keys.find(EntryId("local#k1")),
        lambda keys: keys.release(an_entry(1)),
    )
    with closing(HttpTransport()) as transport:
        dynamodb = DynamoDBClient(signed("dynamodb", url, transport, clock))
        s3 = S3Client(signed("s3", url, transport, clock))
        keys = DynamoDBIdempotencyKeys(dynamodb, "t", s3=s3, bucket="t", clock=clock)
        for call in calls:
            with pytest.raises(StoreUnavailable):
                call(keys)
