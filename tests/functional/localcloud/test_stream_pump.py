"""The pump as a process, between a genuine emulator and a small Lambda host that fails on order."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localcloud.stream_pump import clients, mapping
from tests.emulator import KEY
from tests.functional.localcloud.emulator_fixture import answers, emulator, eventually, free_port, module_process
from tests.functional.localcloud.failing_host import LambdaHost, serving
from tests.functional.localcloud.stream_deployment import BUCKET, FUNCTION, POLICY, REGION, Deployment, zipped_handler


@pytest.fixture(scope="module")
def emulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator")) as url:
        clients.client("s3", url, REGION, KEY).create_bucket(Bucket=BUCKET)
        yield url


@pytest.fixture
def lambda_host() -> Iterator[LambdaHost]:
    host = LambdaHost(function=FUNCTION)
    with serving(host):
        yield host


@pytest.fixture
def deployment(emulator_url: str, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A mapping made through the API, disabled, with every setting."""
    functions = clients.client("lambda", emulator_url, REGION, KEY)
    tables = clients.client("dynamodb", emulator_url, REGION, KEY)
    if not functions.list_functions()["Functions"]:
        functions.create_function(
            FunctionName=FUNCTION,
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/r",
            Handler="handler.lambda_handler",
            Code={"ZipFile": zipped_handler()},
        )
    table = f"log-{request.node.name[:60]}"
    described = tables.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    arn = described["TableDescription"]["LatestStreamArn"]
    uuid = functions.create_event_source_mapping(FunctionName=FUNCTION, EventSourceArn=arn, Enabled=False, **POLICY)[
        "UUID"
    ]
    made = Deployment(url=emulator_url, table=table, uuid=uuid)
    yield made
    functions.delete_event_source_mapping(UUID=made.uuid)


@dataclass
class PumpProcess:
    child: subprocess.Popen[bytes]
    health_url: str

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.health_url, timeout=5) as response:
            document: dict[str, Any] = json.load(response)
            return document


@contextmanager
def pumping(deployment: Deployment, host: LambdaHost, directory: Path) -> Iterator[PumpProcess]:
    port = free_port()
    arguments = ["--emulator-url", deployment.url, "--lambda-url", host.url, "--health-port", str(port)]
    KEY.write(directory / "access-key")
    arguments += ["--access-key", str(directory / "access-key")]
    arguments += ["--checkpoints", str(directory / "checkpoints.json"), "--poll-ms", "20", "--discover-ms", "200"]
    with module_process("stream_pump", *arguments, log=directory / "pump.log") as child:
        url = f"http://127.0.0.1:{port}/healthz"
        eventually(lambda: answers(url))
        yield PumpProcess(child=child, health_url=url)


def test_a_poison_record_ends_whole_in_the_bucket_and_all_others_are_processed(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    good = [f"item-{n:02d}" for n in range(30)]
    lambda_host.poison = frozenset({"poison", "raise"})
    deployment.put(*good[:7])
    deployment.put("poison", blob={"B": b"\x00\xff"}, n={"N": "1.5"})
    deployment.put(*good[7:20])
    deployment.put("raise")
    deployment.put(*good[20:])
    with pumping(deployment, lambda_host, tmp_path) as pump:
        eventually(lambda: set(good) <= set(lambda_host.done) and len(deployment.dead_letters()) == 2)
        eventually(lambda: pump.health()["shards"][0]["dead_letters"] == 2)
        shard = pump.health()["shards"][0]
    assert (shard["pending_records"], shard["lag_ms"], shard["function"]) == (0, 0, FUNCTION)
    # first deliveries keep the order of the puts, and each poison record was sent alone 1 + 1 times
    firsts = list(dict.fromkeys(item for delivery in lambda_host.deliveries for item in delivery))
    assert firsts == [*good[:7], "poison", *good[7:20], "raise", *good[20:]]
    assert [lambda_host.deliveries.count([item]) for item in ("poison", "raise")] == [2, 2]
    documents = {}
    for key, document in deployment.dead_letters():
        assert key.startswith(f"aws/lambda/{deployment.uuid}/shardId-")
        assert document["DDBStreamBatchInfo"]["batchSize"] == 1
        assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
        (record,) = json.loads(document["payload"])["Records"]
        documents[record["dynamodb"]["Keys"]["id"]["S"]] = record
    assert documents["poison"]["dynamodb"]["NewImage"] == {
        "id": {"S": "poison"},
        "blob": {"B": "AP8="},
        "n": {"N": "1.5"},
    }
    assert documents["raise"]["eventSource"] == "aws:dynamodb"


def test_records_arrive_with_the_fields_of_aws_and_removals_are_filtered_out(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    with pumping(deployment, lambda_host, tmp_path):
        deployment.put("a")
        clients.client("dynamodb", deployment.url, REGION, KEY).delete_item(
            TableName=deployment.table, Key={"id": {"S": "a"}}
        )
        deployment.put("b")
        eventually(lambda: lambda_host.done == ["a", "b"])
    record = lambda_host.events[0]["Records"][0]
    assert set(record) == {
        "eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb", "eventSourceARN",
    }  # fmt: skip
    assert set(record["dynamodb"]) == {
        "ApproximateCreationDateTime", "Keys", "NewImage", "SequenceNumber", "SizeBytes", "StreamViewType",
    }  # fmt: skip
    assert isinstance(record["dynamodb"]["ApproximateCreationDateTime"], int)
    assert (record["eventName"], record["awsRegion"]) == ("INSERT", REGION)


def test_throttles_and_a_host_that_is_away_cost_no_retry(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    lambda_host.throttled = 4  # more than the mapping's one retry
    deployment.put("a")
    with pumping(deployment, lambda_host, tmp_path):
        eventually(lambda: lambda_host.done == ["a"])
    assert deployment.dead_letters() == []


def test_a_restart_continues_after_the_checkpoint_and_redelivers_what_was_not_done(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    deployment.put("a", "b")
    with pumping(deployment, lambda_host, tmp_path) as pump:
        eventually(lambda: lambda_host.done == ["a", "b"])
        eventually(lambda: pump.health()["shards"][0]["pending_records"] == 0)
        lambda_host.throttled = 1_000_000
        deployment.put("c")
        eventually(lambda: lambda_host.throttled < 1_000_000)
        pump.child.send_signal(signal.SIGKILL)
        pump.child.wait()
    deployment.put("d")
    lambda_host.throttled = 0
    with pumping(deployment, lambda_host, tmp_path):
        eventually(lambda: lambda_host.done[-1] == "d")
    assert lambda_host.done == ["a", "b", "c", "d"]


def test_a_lost_checkpoint_file_redelivers_everything(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    deployment.put("a")
    with pumping(deployment, lambda_host, tmp_path):
        eventually(lambda: lambda_host.done == ["a"])
        eventually((tmp_path / "checkpoints.json").exists)
    (tmp_path / "checkpoints.json").write_text("{ damaged", encoding="utf-8")
    with pumping(deployment, lambda_host, tmp_path):
        eventually(lambda: lambda_host.done == ["a", "a"])


def test_a_removed_mapping_is_delivered_no_more_and_a_new_one_is_found(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    functions = clients.client("lambda", deployment.url, REGION, KEY)
    with pumping(deployment, lambda_host, tmp_path) as pump:
        eventually(lambda: len(pump.health()["shards"]) == 1)
        arn = functions.get_event_source_mapping(UUID=deployment.uuid)["EventSourceArn"]
        functions.delete_event_source_mapping(UUID=deployment.uuid)
        eventually(lambda: pump.health()["shards"] == [])
        deployment.put("a")
        created = functions.create_event_source_mapping(
            FunctionName=FUNCTION, EventSourceArn=arn, Enabled=False, StartingPosition="TRIM_HORIZON"
        )
        deployment.uuid = created["UUID"]
        eventually(lambda: lambda_host.done == ["a"])


def test_sigterm_ends_the_pump_during_an_idle_wait(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    with pumping(deployment, lambda_host, tmp_path) as pump:
        pump.child.terminate()
        assert pump.child.wait(10) == 0


def test_an_enabled_mapping_is_taken_over(deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path) -> None:
    functions = clients.client("lambda", deployment.url, REGION, KEY)
    functions.update_event_source_mapping(UUID=deployment.uuid, Enabled=True)
    with pumping(deployment, lambda_host, tmp_path):
        eventually(lambda: functions.get_event_source_mapping(UUID=deployment.uuid)["State"] == "Disabled")
        deployment.put("a")
        eventually(lambda: "a" in lambda_host.done)


TEMPLATE = {
    "Resources": {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": "deployed-log",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
            },
        },
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "FunctionName": FUNCTION,
                "EventSourceArn": {"Fn::GetAtt": ["Table", "StreamArn"]},
                "Enabled": False,
                **POLICY,
            },
        },
    }
}


def test_a_mapping_deployed_disabled_keeps_its_settings_and_is_delivered(
    deployment: Deployment, lambda_host: LambdaHost, tmp_path: Path
) -> None:
    stacks = clients.client("cloudformation", deployment.url, REGION, KEY)
    stacks.create_stack(StackName="deployed", TemplateBody=json.dumps(TEMPLATE))
    stacks.get_waiter("stack_create_complete").wait(StackName="deployed", WaiterConfig={"Delay": 1})
    try:
        listed = clients.EmulatorStreams(deployment.url, REGION, KEY).mappings()
        (document,) = [m for m in listed if "deployed-log" in str(m["EventSourceArn"])]
        found = mapping.from_document(document)
        expected = mapping.from_document({**document, **POLICY})
        assert found == expected
        with pumping(deployment, lambda_host, tmp_path):
            Deployment(url=deployment.url, table="deployed-log").put("a")
            eventually(lambda: lambda_host.done == ["a"])
    finally:
        stacks.delete_stack(StackName="deployed")
