"""A shard's consumer on in-memory streams: what the emulator cannot show (split shards, a bucket that is away)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localcloud.stream_pump.consumer import (
    Checkpoints,
    DestinationError,
    Outside,
    Pace,
    Page,
    Place,
    Shard,
    ShardConsumer,
    SourceError,
)
from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.pump import Pump
from localcloud.stream_pump.rules import Answer, DeliveryPolicy, Record
from tests.functional.localcloud.emulator_fixture import eventually

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/1"
DOCUMENT: Mapping[str, object] = {
    "UUID": "m",
    "EventSourceArn": STREAM,
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "State": "Disabled",
    "BatchSize": 2,
}
MAPPING = EventSourceMapping(
    uuid="m",
    stream_arn=STREAM,
    function_arn=str(DOCUMENT["FunctionArn"]),
    policy=DeliveryPolicy(bisect=True, max_retries=0),
    on_failure_bucket="bucket",
)
FAST = Pace(poll_s=0.001)


def record(number: int) -> Record:
    return Record(sequence_number=str(number), created_at=NOON, event={"number": number})


@dataclass
class InMemoryReader:
    """A shard, closed unless said otherwise. `failures` reads raise first."""

    records: list[Record]
    after: str | None = None
    failures: int = 0
    is_open: bool = False

    def read(self, limit: int) -> Page:
        if self.failures:
            self.failures -= 1
            raise SourceError("away")
        left = [r for r in self.records if int(r.sequence_number) > int(self.after or 0)]
        page = tuple(left[:limit])
        self.after = page[-1].sequence_number if page else self.after
        return Page(records=page, closed=len(page) == len(left) and not self.is_open)


@dataclass
class InMemoryStreams:
    """One mapping over a tree of shards."""

    tree: tuple[Shard, ...]
    records: Mapping[str, list[Record]]
    listed: list[Mapping[str, object]] = field(default_factory=lambda: [DOCUMENT])
    is_open: bool = False

    def mappings(self) -> tuple[Mapping[str, object], ...]:
        return tuple(self.listed)

    def disable(self, mapping_uuid: str) -> None:
        raise AssertionError(f"{mapping_uuid} is disabled already")

    def shards(self, stream_arn: str) -> tuple[Shard, ...]:
        return self.tree

    def reader(self, stream_arn: str, shard_id: str, *, after: str | None) -> InMemoryReader:
        return InMemoryReader(self.records[shard_id], after=after, is_open=self.is_open)


@dataclass
class InMemoryFunctions:
    """Fails as a whole on a poison number."""

    poison: frozenset[int] = frozenset()
    deliveries: list[list[int]] = field(default_factory=list)

    def invoke(self, mapping: EventSourceMapping, event: Mapping[str, object]) -> Answer:
        numbers = [r["number"] for r in json.loads(json.dumps(event))["Records"]]
        self.deliveries.append(numbers)
        failed = bool(self.poison & set(numbers))
        return Answer(status=200, function_error="Unhandled" if failed else None)


@dataclass
class InMemoryDeadLetters:
    """Refuses the first `failures` writes."""

    failures: int = 0
    written: list[Mapping[str, object]] = field(default_factory=list)

    def write(self, bucket: str, key: str, document: Mapping[str, object]) -> None:
        if self.failures:
            self.failures -= 1
            raise DestinationError("NoSuchBucket")
        self.written.append(document)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints.json")


def refreshed(pump: Pump) -> Pump:
    pump.refresh()
    return pump


def drain(consumer: ShardConsumer) -> None:
    while consumer.step():
        pass


def test_a_child_shard_is_delivered_after_its_parent_is_done(checkpoints: Checkpoints) -> None:
    tree = (Shard(shard_id="child", parent_id="parent"), Shard(shard_id="parent"))
    streams = InMemoryStreams(tree, {"parent": [record(n) for n in (1, 2, 3)], "child": [record(4), record(5)]})
    functions = InMemoryFunctions()
    pump = Pump(
        streams, Outside(functions=functions, dead_letters=InMemoryDeadLetters(), checkpoints=checkpoints), FAST
    )
    pump.refresh()
    assert [shard for _, shard in pump.consumers] == ["parent"]
    eventually(lambda: checkpoints.finished("m") == {"parent"})
    eventually(lambda: refreshed(pump) and checkpoints.finished("m") == {"parent", "child"})
    assert functions.deliveries == [[1, 2], [3], [4, 5]]
    pump.refresh()
    assert pump.consumers == {}


def test_the_checkpoint_waits_for_a_dead_letter_that_cannot_be_written(checkpoints: Checkpoints) -> None:
    places: list[Place | None] = []

    class Watching(InMemoryDeadLetters):
        def write(self, bucket: str, key: str, document: Mapping[str, object]) -> None:
            places.append(checkpoints.place("m", "s"))
            super().write(bucket, key, document)

    functions, letters = InMemoryFunctions(poison=frozenset({2})), Watching(failures=2)
    outside = Outside(functions=functions, dead_letters=letters, checkpoints=checkpoints)
    drain(ShardConsumer(MAPPING, "s", InMemoryReader([record(n) for n in (1, 2, 3)]), outside, FAST))
    assert places == [Place(sequence_number="1")] * 3
    assert len(letters.written) == 1
    assert functions.deliveries == [[1, 2, 3], [1], [2, 3], [2], [3]]
    assert checkpoints.place("m", "s") == Place(sequence_number="3", finished=True)


def test_a_consumer_begins_after_the_saved_place(checkpoints: Checkpoints) -> None:
    functions = InMemoryFunctions()
    outside = Outside(functions=functions, dead_letters=InMemoryDeadLetters(), checkpoints=checkpoints)
    checkpoints.save("m", "s", Place(sequence_number="2"))
    drain(ShardConsumer(MAPPING, "s", InMemoryReader([record(n) for n in (1, 2, 3)], after="2"), outside, FAST))
    assert functions.deliveries == [[3]]


def test_a_stream_that_is_away_for_a_while_loses_nothing(checkpoints: Checkpoints) -> None:
    functions = InMemoryFunctions()
    outside = Outside(functions=functions, dead_letters=InMemoryDeadLetters(), checkpoints=checkpoints)
    consumer = ShardConsumer(MAPPING, "s", InMemoryReader([record(1)], failures=3), outside, FAST)
    consumer.start()
    eventually(lambda: not consumer.is_alive())
    assert functions.deliveries == [[1]]


def test_records_too_old_are_kept_without_being_delivered(checkpoints: Checkpoints) -> None:
    functions, letters = InMemoryFunctions(), InMemoryDeadLetters()
    outside = Outside(
        functions=functions, dead_letters=letters, checkpoints=checkpoints, now=lambda: NOON + timedelta(seconds=61)
    )
    aged = EventSourceMapping(
        uuid="m",
        stream_arn=STREAM,
        function_arn=MAPPING.function_arn,
        policy=DeliveryPolicy(max_age=timedelta(seconds=60)),
        on_failure_bucket="bucket",
    )
    drain(ShardConsumer(aged, "s", InMemoryReader([record(1), record(2)]), outside, FAST))
    assert functions.deliveries == []
    (document,) = letters.written
    assert json.loads(str(document["payload"])) == {"Records": [{"number": 1}, {"number": 2}]}


def test_a_mapping_that_cannot_be_followed_is_reported_and_not_delivered(checkpoints: Checkpoints) -> None:
    streams = InMemoryStreams((Shard(shard_id="s"),), {"s": [record(1)]}, listed=[{**DOCUMENT, "BatchSize": 0}])
    outside = Outside(functions=InMemoryFunctions(), dead_letters=InMemoryDeadLetters(), checkpoints=checkpoints)
    pump = Pump(streams, outside, FAST)
    pump.refresh()
    assert pump.consumers == {}
    assert "BatchSize 0" in pump.problems[0]


def test_a_changed_mapping_gets_a_new_consumer_after_the_old_one_ended(checkpoints: Checkpoints) -> None:
    streams = InMemoryStreams((Shard(shard_id="s"),), {"s": []}, is_open=True)
    outside = Outside(functions=InMemoryFunctions(), dead_letters=InMemoryDeadLetters(), checkpoints=checkpoints)
    pump = Pump(streams, outside, FAST)
    pump.refresh()
    streams.listed = [{**DOCUMENT, "BatchSize": 7}]
    eventually(lambda: refreshed(pump).consumers[("m", "s")].mapping.batch_size == 7)
    pump.stop()
