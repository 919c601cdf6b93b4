"""The Lambda host's parts that keep something: unpacked packages, waiting log events, recorded AWS calls."""

import asyncio
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from localcloud.lambda_host.environment import LogEvent
from localcloud.lambda_host.interpreter import Archive, PackageCache
from localcloud.lambda_host.shipping import LogHub
from tests.e2e.aws_calls import AwsCall, Request, read_call


class Shelf:
    """Archives by location, and how often each was fetched."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.fetched: list[str] = []

    def put(self, location: str, files: Mapping[str, str], mode: int = 0o600) -> Archive:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = mode << 16
                archive.writestr(entry, text)
        self.contents[location] = content.getvalue()
        return Archive(sha256=hashlib.sha256(content.getvalue()).hexdigest(), location=location)

    def fetch(self, location: str) -> bytes:
        self.fetched.append(location)
        return self.contents[location]


def test_unchanged_code_is_fetched_once(tmp_path: Path) -> None:
    shelf = Shelf()
    cache = PackageCache(tmp_path, shelf.fetch)
    archive = shelf.put("code", {"a.py": "1"})
    assert cache.code(archive) == cache.code(archive)
    assert shelf.fetched == ["code"]


def test_permissions_survive_and_everything_is_readable(tmp_path: Path) -> None:
    shelf = Shelf()
    code = PackageCache(tmp_path, shelf.fetch).code(shelf.put("code", {"bin/run": "x"}, mode=0o700))
    assert stat.S_IMODE((code / "bin/run").stat().st_mode) == 0o744


def test_a_later_layer_replaces_a_file_and_leaves_the_earlier_layer_as_it_was(tmp_path: Path) -> None:
    shelf = Shelf()
    cache = PackageCache(tmp_path, shelf.fetch)
    first, second = shelf.put("1", {"x": "1", "only": "1"}), shelf.put("2", {"x": "2"})
    merged, turned = cache.layers([first, second]), cache.layers([second, first])
    assert {p.name: p.read_text() for p in merged.iterdir()} == {"x": "2", "only": "1"}
    assert (turned / "x").read_text() == "1"
    assert (cache.code(first) / "x").read_text() == "1"


def test_pruning_keeps_what_was_used_last(tmp_path: Path) -> None:
    shelf = Shelf()
    cache = PackageCache(tmp_path, shelf.fetch)
    old, new = shelf.put("old", {"a": "1"}), shelf.put("new", {"a": "2"})
    paths = [cache.code(new), cache.code(old)]
    os.utime(paths[1], (0, 0))
    cache.prune(kept=1)
    assert [p.is_dir() for p in paths] == [True, False]


class Delivered:
    """A destination that remembers."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def deliver(self, events: Sequence[LogEvent]) -> None:
        self.batches.append([event.message for event in events])


def event(message: str, function: str = "f") -> LogEvent:
    return LogEvent(function=function, group="g", stream="s", timestamp_ms=1, message=message)


def test_events_are_delivered_once_in_order_in_one_batch() -> None:
    destination = Delivered()
    hub = LogHub(destination)
    for message in "abc":
        hub.emit(event(message))
    asyncio.run(hub.flush())
    asyncio.run(hub.flush())
    assert destination.batches == [["a", "b", "c"]]


def test_a_full_queue_drops_the_oldest_and_counts_them() -> None:
    destination = Delivered()
    hub = LogHub(destination, waiting_limit=2)
    for message in "abcd":
        hub.emit(event(message))
    asyncio.run(hub.flush())
    assert (destination.batches, hub.dropped) == ([["c", "d"]], 2)


def signed(service: str) -> dict[str, str]:
    scope = f"LOCALF/20260101/us-east-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}


@pytest.mark.parametrize(
    ("method", "target", "operation", "resources"),
    [
        ("GET", "/bucket/a%20b?x-id=GetObject", "GetObject", ("bucket/a b",)),
        ("PUT", "/bucket/key", "PutObject", ("bucket/key",)),
        ("HEAD", "/bucket/key", "HeadObject", ("bucket/key",)),
        ("DELETE", "/bucket/key", "DeleteObject", ("bucket/key",)),
        ("GET", "/bucket?list-type=2&prefix=a%2F", "ListObjectsV2", ("bucket",)),
        ("GET", "/bucket?prefix=a", "ListObjects", ("bucket",)),
        ("GET", "/", "ListBuckets", ()),
        ("HEAD", "/bucket", "HeadBucket", ("bucket",)),
        ("POST", "/bucket?delete", "DeleteObjects", ("bucket",)),
        ("PUT", "/bucket/key?partNumber=1&uploadId=u", "UploadPart", ("bucket/key",)),
    ],
)
def test_s3_operations_are_read_from_method_and_path(
    method: str, target: str, operation: str, resources: tuple[str, ...]
) -> None:
    call = read_call(Request(method=method, target=target, headers=signed("s3"), body=b""))
    assert call == AwsCall(caller="LOCALF", service="s3", operation=operation, resources=resources)


@pytest.mark.parametrize(
    ("target", "body", "operation", "resources"),
    [
        ("DynamoDB_20120810.PutItem", b'{"TableName": "t"}', "PutItem", ("t",)),
        ("DynamoDB_20120810.Query", b'{"TableName": "t", "IndexName": "i"}', "Query", ("t/index/i",)),
        ("DynamoDB_20120810.BatchGetItem", b'{"RequestItems": {"b": {}, "a": {}}}', "BatchGetItem", ("a", "b")),
        (
            "DynamoDB_20120810.TransactWriteItems",
            b'{"TransactItems": [{"Put": {"TableName": "t"}}, {"Update": {"TableName": "u"}}]}',
            "TransactWriteItems",
            ("t", "u"),
        ),
        ("DynamoDB_20120810.PutItem", b"not json", "PutItem", ()),
    ],
)
def test_dynamodb_calls_name_their_tables(target: str, body: bytes, operation: str, resources: tuple[str, ...]) -> None:
    headers = signed("dynamodb") | {"x-amz-target": target}
    call = read_call(Request(method="POST", target="/", headers=headers, body=body))
    assert call == AwsCall(caller="LOCALF", service="dynamodb", operation=operation, resources=resources)


def test_an_invocation_names_its_function() -> None:
    target = "/2015-03-31/functions/fiso-local-sample-aws/invocations"
    call = read_call(Request(method="POST", target=target, headers=signed("lambda"), body=b"{}"))
    assert call == AwsCall(caller="LOCALF", service="lambda", operation="Invoke", resources=("fiso-local-sample-aws",))


def test_query_and_rpc_services_are_read_too() -> None:
    form = Request(method="POST", target="/", headers=signed("sts"), body=b"Action=GetCallerIdentity&Version=1")
    rpc = Request(
        method="POST", target="/service/X/operation/PutMetricData", headers=signed("monitoring"), body=b"\xa1"
    )
    assert [call.operation for call in map(read_call, (form, rpc)) if call] == ["GetCallerIdentity", "PutMetricData"]


def test_an_unsigned_request_is_no_aws_call() -> None:
    assert read_call(Request(method="GET", target="/_aws/execute-api/x", headers={}, body=b"")) is None
