"""`fiso deadletter` over the emulator, on letters as AWS documents them and as the pump writes them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from fiso.adapters.aws.dynamodb import closed_item
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso_cli.deadletter.dead_letters import REPLAYED, dead_letter_of, document_of, id_of
from fiso_cli.local_stage import ACCOUNT
from fiso_cli.main import app
from localcloud.stream_pump.event import invocation_record
from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.rules import Batch, Condition, DeadLetter, Record
from tests.builders import a_record, an_open_record
from tests.emulator import running_emulator
from tests.lab.chaos.rig.stores import create_tables

NOW = datetime.now(UTC).replace(microsecond=0)
BUCKET, TABLE, LOG = f"fiso-artifacts-local-{ACCOUNT}", "fiso-endpoint-state-local", "fiso-invocation-logs-local"


def item(number: int) -> Mapping[str, Any]:
    return closed_item(a_record(number, timestamp=NOW))


POISON: Mapping[str, Any] = {**item(9), "status": {"S": "half-done"}}
KEY = "aws/lambda/5b2a/shardId-1/2026/11/25/2026-11-25T10.00.00-0f0e"
runner = CliRunner()


def event_of(number: int, image: Mapping[str, Any] | None) -> dict[str, Any]:
    change = {"SequenceNumber": str(number), "ApproximateCreationDateTime": 1764064800.0}
    return {"eventName": "MODIFY", "dynamodb": change | ({"NewImage": dict(image)} if image else {})}


def awss_letter(*images: Mapping[str, Any] | None, given_up_at: datetime = NOW) -> dict[str, Any]:
    """As in "Capturing discarded batches for a DynamoDB event source" (docs.aws.amazon.com), S3 destination."""
    events = [event_of(number, image) for number, image in enumerate(images)]
    return {
        "requestContext": {
            "requestId": "316aa6d0-8154-xmpl-9af7-85d5f4a6bc81",
            "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 4,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": given_up_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000001573689847184-864758bb",
            "startSequenceNumber": "800000000003126276362",
            "endSequenceNumber": "800000000003126276362",
            "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
            "approximateArrivalOfLastRecord": "2019-11-14T00:13:19Z",
            "batchSize": len(events),
            "streamArn": "arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388",
        },
        "payload": json.dumps({"Records": events}),
    }


def the_pumps_letter(image: Mapping[str, Any]) -> dict[str, Any]:
    mapping = EventSourceMapping(uuid="u", function_arn="arn:aws:lambda:r:000000000000:function:f", stream_arn="s")
    record = Record(sequence_number="7", created_at=NOW, event=event_of(7, image))
    letter = DeadLetter(batch=Batch(records=(record,)), condition=Condition.MAXIMUM_RECORD_AGE_EXCEEDED)
    return invocation_record(letter, mapping, "shard", answer=None, now=NOW)


@pytest.mark.parametrize("document", [awss_letter(POISON), the_pumps_letter(POISON)])
def test_both_shapes_are_read_and_say_why(document: dict[str, Any]) -> None:
    letter = dead_letter_of(KEY, json.dumps(document).encode())
    assert letter.problem is None
    assert "half-done" in letter.why
    assert document_of(letter, whole=True)["unreadable"] == 1
    assert [each.event["dynamodb"]["NewImage"] for each in letter.records] == [POISON]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"requestContext": 1}', b"\xff", b"[" * 100_000, b'{"payload": "[1]"}'])
def test_what_is_no_letter_says_so(body: bytes) -> None:
    assert "not an invocation record" in dead_letter_of(KEY, body).why


def test_a_letters_id_outlives_its_move() -> None:
    assert id_of(REPLAYED + KEY) == id_of(KEY)


@dataclass(frozen=True)
class World:
    """A stage of which only the bucket and the two tables are there."""

    url: str
    ending: ExitStack

    def client(self, service: str) -> Any:
        made = boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.ending.callback(made.close)
        return made

    def put(self, key: str, document: Mapping[str, Any]) -> None:
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(document).encode())

    def record(self, *numbers: int) -> None:
        for number in numbers:
            self.client("dynamodb").put_item(TableName=LOG, Item=item(number))

    def keys(self, prefix: str = "") -> list[str]:
        found = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def folded(self) -> int:
        states = DynamoDBEndpointStates(self.client("dynamodb"), TABLE, clock=lambda: NOW)
        return sum(state.folded for state in states.of_function(a_record().request.function_name).values())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with running_emulator(tmp_path) as url, ExitStack() as ending:
        monkeypatch.setenv("FISO_LOCAL_PORT", url.rpartition(":")[2])
        world = World(url, ending)
        world.client("s3").create_bucket(Bucket=BUCKET)
        create_tables(world.client("dynamodb"), LOG, TABLE)
        yield world


def fiso(*words: str) -> Result:
    return runner.invoke(app, ["deadletter", *words])


def test_letters_are_listed_shown_replayed_once_and_moved(world: World) -> None:
    good, open_one = item(1), None
    world.record(1, 2, 3)
    world.put(KEY, awss_letter(good, item(2), open_one))
    world.put(f"{KEY}-poison", awss_letter(item(3), POISON))
    world.put("dead-letters/u/1", the_pumps_letter(item(2)))
    world.put(f"{KEY}-forged", awss_letter(item(1), item(4)))

    listed = json.loads(fiso("list", "--json").output)["letters"]
    by_key = {letter["key"]: letter for letter in listed}
    assert len(by_key) == 4
    assert "can be read" in by_key[KEY]["why"]
    assert (by_key[KEY]["condition"], by_key[KEY]["deliveries"]) == ("RetryAttemptsExhausted", 4)
    assert "half-done" in fiso("list").output

    shown = json.loads(fiso("show", id_of(KEY)).output)
    assert shown["records"][0]["event"]["dynamodb"]["NewImage"] == good

    done = fiso("replay", id_of(KEY))
    assert done.exit_code == 0, done.output
    assert f"{id_of(KEY)}: 2 folded, 0 folded before: moved to {REPLAYED}" in done.output
    assert world.keys("dead-letters/replayed/") == [REPLAYED + KEY]

    rest = fiso("replay", "--all")
    assert rest.exit_code == 1
    assert f"{id_of('dead-letters/u/1')}: 0 folded, 1 folded before" in rest.output
    assert "1 folded, 0 folded before, 1 still cannot be read: stays" in rest.output
    assert f"{id_of(f'{KEY}-forged')}: 0 folded, 1 folded before, 1 not in the log: left out" in rest.output
    assert world.keys("aws/") == [f"{KEY}-poison"]
    assert world.folded() == 3
    assert len(world.keys("archive/")) == 4

    fiso("replay", "--all")
    assert world.folded() == 3
    assert len(json.loads(fiso("list", "--replayed", "--json").output)["letters"]) == 3


def test_an_unknown_id_is_one_line(world: World) -> None:
    assert "no dead letters" in fiso("list").output
    unknown = fiso("show", "abc")
    assert unknown.exit_code == 1
    assert "no dead letter is called 'abc': see `fiso deadletter list`" in unknown.output


@pytest.mark.parametrize("words", [(), ("abc", "--all")])
def test_a_replay_of_nothing_named_is_one_line(words: tuple[str, ...]) -> None:
    refused = fiso("replay", *words)
    assert refused.exit_code == 2
    assert len(refused.output.strip().splitlines()) == 1


def test_an_intent_in_a_letter_carries_nothing_to_fold() -> None:
    from fiso.adapters.aws.dynamodb import open_item

    letter = dead_letter_of(KEY, json.dumps(awss_letter(open_item(an_open_record()))).encode())
    assert (letter.readable, letter.unreadable) == ([], [])
