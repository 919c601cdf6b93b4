"""What the pump reads and writes: filter patterns, mappings, stream records, dead letters, the tree of shards."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from localcloud.stream_pump import event, mapping, rules
from localcloud.stream_pump.mapping import EventSourceMapping, MappingError
from localcloud.stream_pump.rules import Answer, Batch, Condition, DeliveryPolicy, Record

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:fiso-local-stream-consumer"


def record(number: int) -> Record:
    return Record(sequence_number=str(number), created_at=NOON, event={"number": number})


INSERTED = {
    "eventName": "INSERT",
    "dynamodb": {"NewImage": {"status": {"S": "final"}, "size": {"N": "3"}}},
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"eventName": ["INSERT", "MODIFY"]}, True),
        ({"eventName": ["REMOVE"]}, False),
        ({"eventName": [{"prefix": "INS"}]}, True),
        ({"eventName": [{"prefix": "MOD"}]}, False),
        ({"dynamodb": {"NewImage": {"status": {"S": ["final"]}}}}, True),
        ({"dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}, False),
        ({"dynamodb": {"NewImage": {"size": {"N": ["3"]}}}}, True),
        ({"dynamodb": {"NewImage": {"size": {"N": [3]}}}}, False),
        ({"dynamodb": {"NewImage": {"status": {"S": [{"exists": True}]}}}}, True),
        ({"dynamodb": {"NewImage": {"absent": {"S": [{"exists": True}]}}}}, False),
        ({"dynamodb": {"NewImage": {"absent": {"S": [{"exists": False}]}}}}, True),
        ({"dynamodb": {"NewImage": {"status": {"S": [{"anything-but": ["open", "unknown"]}]}}}}, True),
        ({"dynamodb": {"NewImage": {"status": {"S": [{"anything-but": ["final"]}]}}}}, False),
        ({"dynamodb": {"NewImage": {"absent": {"S": [{"anything-but": ["final"]}]}}}}, False),
        ({"dynamodb": {"NewImage": [{"exists": True}]}}, False),  # an object is not a leaf
        ({"userIdentity": {"principalId": ["dynamodb.amazonaws.com"]}}, False),
        ({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}, False),
        ({}, True),
    ],
)
def test_a_pattern_picks_records(pattern: Mapping[str, object], expected: bool) -> None:
    assert mapping.parse_pattern(json.dumps(pattern)).matches(INSERTED) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"eventName": "INSERT"}',
        '{"eventName": []}',
        '{"x": [{"numeric": [">", 1]}]}',
        '{"$or": [{"a": [1]}]}',
    ],
)
def test_a_pattern_that_is_not_followed_is_refused(text: str) -> None:
    with pytest.raises(mapping.PatternError):
        mapping.parse_pattern(text)


DOCUMENT: Mapping[str, object] = {
    "UUID": "11111111-2222-3333-4444-555555555555",
    "EventSourceArn": STREAM,
    "FunctionArn": f"{FUNCTION}:live",
    "State": "Disabled",
    "StartingPosition": "TRIM_HORIZON",
    "BatchSize": 50,
    "MaximumBatchingWindowInSeconds": 1,
    "BisectBatchOnFunctionError": True,
    "MaximumRetryAttempts": 3,
    "MaximumRecordAgeInSeconds": 21600,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}, {"Pattern": '{"eventName": ["MODIFY"]}'}]},
    "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::fiso-artifacts-local-000000000000"}},
}


def test_a_mapping_keeps_every_setting_of_the_control_plane() -> None:
    found = mapping.from_document(DOCUMENT)
    assert (found.function_name, found.qualifier) == ("fiso-local-stream-consumer", "live")
    assert (found.batch_size, found.batching_window_s, found.reports_item_failures) == (50, 1, True)
    assert found.policy == DeliveryPolicy(bisect=True, max_retries=3, max_age=timedelta(hours=6))
    assert found.on_failure_bucket == "fiso-artifacts-local-000000000000"
    assert [found.wants({"eventName": name}) for name in ("INSERT", "MODIFY", "REMOVE")] == [True, True, False]


def test_a_mapping_with_nothing_set_retries_for_ever() -> None:
    bare = {name: DOCUMENT[name] for name in ("UUID", "EventSourceArn", "FunctionArn", "State")}
    found = mapping.from_document({**bare, "MaximumRetryAttempts": -1, "MaximumRecordAgeInSeconds": -1})
    assert found.policy == DeliveryPolicy()
    assert found.wants({"eventName": "REMOVE"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:0:q"}}}, "not a bucket"),
        ({"StartingPosition": "LATEST"}, "LATEST is not served here"),
        ({"BatchSize": 0}, "BatchSize 0"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, "not JSON"),
        ({"FunctionArn": ""}, "FunctionArn"),
    ],
)
def test_a_mapping_that_cannot_be_followed_is_refused(change: Mapping[str, object], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        mapping.from_document({**DOCUMENT, **change})


def test_binaries_travel_as_base64_however_deep_and_times_as_seconds() -> None:
    image = {"bs": {"BS": [b"\x01"]}, "l": {"L": [{"M": {"b": {"B": b"\x02"}}}]}, "z": {"NULL": True}}
    change = {"ApproximateCreationDateTime": NOON, "SequenceNumber": "100", "NewImage": image}
    raw = {"eventID": "e1", "eventName": "REMOVE", "eventVersion": "1.1", "awsRegion": "us-east-1", "dynamodb": change}
    identity = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    found = event.record_of(raw | {"userIdentity": identity}, STREAM).event
    assert found["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert found["dynamodb"] == {
        "ApproximateCreationDateTime": 1767268800,
        "NewImage": {"bs": {"BS": ["AQ=="]}, "l": {"L": [{"M": {"b": {"B": "Ag=="}}}]}, "z": {"NULL": True}},
        "SequenceNumber": "100",
    }


SHARD = "shardId-00000000000000000000-00000000"
PLAIN_MAPPING = EventSourceMapping(
    uuid="11111111-2222-3333-4444-555555555555", function_arn=FUNCTION, stream_arn=STREAM
)


def test_a_dead_letter_carries_the_metadata_and_the_whole_event() -> None:
    letter = rules.DeadLetter(
        batch=Batch(records=(record(3), record(4)), deliveries=4), condition=Condition.RETRY_ATTEMPTS_EXHAUSTED
    )
    answer = Answer(status=200, function_error="Unhandled", request_id="req-1")
    document = event.invocation_record(letter, PLAIN_MAPPING, SHARD, answer=answer, now=NOON)
    assert json.loads(str(document.pop("payload"))) == {"Records": [{"number": 3}, {"number": 4}]}
    assert document == {
        "requestContext": {
            "requestId": "req-1",
            "functionArn": FUNCTION,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 4,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-01-01T12:00:00.000Z",
        "DDBStreamBatchInfo": {
            "shardId": SHARD,
            "startSequenceNumber": "3",
            "endSequenceNumber": "4",
            "approximateArrivalOfFirstRecord": "2026-01-01T12:00:00Z",
            "approximateArrivalOfLastRecord": "2026-01-01T12:00:00Z",
            "batchSize": 2,
            "streamArn": STREAM,
        },
    }


def test_a_dead_letter_lies_under_its_mapping_shard_and_day() -> None:
    key = event.invocation_record_key(PLAIN_MAPPING, SHARD, unique="u", now=NOON)
    assert key == f"aws/lambda/{PLAIN_MAPPING.uuid}/{SHARD}/2026/01/01/2026-01-01T12.00.00-u"
