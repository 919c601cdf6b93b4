"""Idempotency keys in three regions' tables, by the genuine adapters and clients, on an emulator with these regions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.dynamodb_idempotency import DynamoDBIdempotencyKeys
from fiso.domain.errors import StoreUnavailable
from fiso.domain.idempotency import Entry, EntryId
from fiso.services.request.key_quorum import KeyQuorum
from fiso.testing.clock import ManualClock
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.contract.test_idempotency_keys import KEPT, an_entry

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
TEMPLATE = Path(__file__).parents[2] / "scripts/serverless/key-table.yml"


class World:
    """A table in each region, as the template for a third region makes it, under a name of its own."""

    def __init__(self, url: str, table: str, transport: HttpTransport, pool: ThreadPoolExecutor) -> None:
        clock = ManualClock()
        document = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["Resources"]["Idempotency"]["Properties"]
        self._made = {name: document[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")}
        self._table, self._url = table, url
        self.keys = {
            region: DynamoDBIdempotencyKeys(
                DynamoDBClient(_signed(url, region, transport, clock)), table, s3=None, bucket="", clock=clock
            )
            for region in REGIONS
        }
        for region in REGIONS:
            self.make(region)
        self.quorum = KeyQuorum(list(self.keys.values()), executor=pool)

    def make(self, region: str) -> None:
        with self._dynamodb(region) as dynamodb:
            dynamodb.create_table(TableName=self._table, **self._made)

    def lose(self, region: str) -> None:
        with self._dynamodb(region) as dynamodb:
            dynamodb.delete_table(TableName=self._table)

    def _dynamodb(self, region: str) -> Any:
        client = boto3.client(
            "dynamodb",
            endpoint_url=self._url,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        return closing(client)


def _signed(url: str, region: str, transport: HttpTransport, clock: ManualClock) -> SignedService:
    return SignedService(
        endpoint=AwsEndpoint(service="dynamodb", region=region, url=url),
        credentials=Credentials(access_key="test", secret_key="test"),
        transport=transport,
        clock=clock,
    )


@pytest.fixture
def world(emulator_url: str, transport: HttpTransport, request: pytest.FixtureRequest) -> Iterator[World]:
    table = "".join(letter for letter in request.node.name if letter.isalnum())[:60]
    with ThreadPoolExecutor(max_workers=6) as pool:
        yield World(emulator_url, table, transport, pool)


def find(world: World, region: str) -> Entry | None:
    return world.keys[region].find(EntryId("local#k1"))


def test_a_claim_is_in_most_regions_and_its_answer_as_well(world: World) -> None:
    assert world.quorum.claim(an_entry(1)) is None
    world.quorum.complete(an_entry(1, answer=KEPT))
    assert sum(find(world, region) is not None for region in REGIONS) >= 2
    assert world.quorum.claim(an_entry(2)) == an_entry(1, answer=KEPT)
    assert world.quorum.find(EntryId("local#k1")) == an_entry(1, answer=KEPT)


@pytest.mark.parametrize("lost", REGIONS)
def test_a_key_is_known_when_any_region_was_lost_after_it_was_claimed(world: World, lost: str) -> None:
    assert world.quorum.claim(an_entry(1)) is None
    world.lose(lost)
    assert world.quorum.claim(an_entry(2)) == an_entry(1)
    world.quorum.complete(an_entry(1, answer=KEPT))
    assert world.quorum.claim(an_entry(3)) == an_entry(1, answer=KEPT)


@pytest.mark.parametrize("lost", REGIONS)
def test_a_key_is_claimed_while_a_region_is_lost_and_of_two_only_by_one(world: World, lost: str) -> None:
    world.lose(lost)
    claims = [world.quorum.claim(an_entry(number)) for number in (1, 2)]
    assert claims == [None, an_entry(1)]


def test_nothing_is_claimed_by_one_region_alone(world: World) -> None:
    for lost in REGIONS[:2]:
        world.lose(lost)
    with pytest.raises(StoreUnavailable):
        world.quorum.claim(an_entry(1))


def test_of_many_that_come_at_once_one_at_most_claims(world: World) -> None:
    with ThreadPoolExecutor(max_workers=4) as callers:
        claims = list(callers.map(lambda number: world.quorum.claim(an_entry(number)), range(1, 9)))
    assert claims.count(None) <= 1
