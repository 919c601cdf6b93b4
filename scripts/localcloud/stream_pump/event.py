"""Documents: stream records as Lambda sees them, and invocation records as AWS leaves them in S3. Pure.

The Streams API hands out parsed values (bytes, datetimes); a Lambda event is JSON: binary as base64, numbers as
strings, the creation time in epoch seconds.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.rules import Answer, Batch, DeadLetter, Record

ITEM_FIELDS = ("Keys", "NewImage", "OldImage")


def record_of(raw: Mapping[str, object], stream_arn: str) -> Record:
    """A record of `GetRecords` as a record of the delivery rules."""
    change = raw["dynamodb"]
    if not isinstance(change, Mapping):
        raise TypeError(f"stream record without a change: {raw!r}")
    created_at = change.get("ApproximateCreationDateTime")
    if not isinstance(created_at, datetime):
        raise TypeError(f"stream record without a creation time: {raw!r}")
    event = _event_record(raw, change, created_at, stream_arn)
    return Record(
        sequence_number=str(change["SequenceNumber"]),
        created_at=created_at.astimezone(UTC),
        event=event,
        size_bytes=len(json.dumps(event)),
    )


def lambda_event(batch: Batch) -> Mapping[str, object]:
    return {"Records": [record.event for record in batch.records]}


def _event_record(
    raw: Mapping[str, object], change: Mapping[str, object], created_at: datetime, stream_arn: str
) -> dict[str, object]:
    dynamodb: dict[str, object] = {"ApproximateCreationDateTime": _epoch_s(created_at)}
    dynamodb |= {name: _plain(change[name]) for name in ITEM_FIELDS if name in change}
    dynamodb |= {name: change[name] for name in ("SequenceNumber", "SizeBytes", "StreamViewType") if name in change}
    event: dict[str, object] = {
        "eventID": raw["eventID"],
        "eventName": raw["eventName"],
        "eventVersion": raw["eventVersion"],
        "eventSource": "aws:dynamodb",
        "awsRegion": raw["awsRegion"],
        "dynamodb": dynamodb,
        "eventSourceARN": stream_arn,
    }
    identity = raw.get("userIdentity")
    if isinstance(identity, Mapping):
        event["userIdentity"] = {"type": identity.get("Type"), "principalId": identity.get("PrincipalId")}
    return event


def _epoch_s(instant: datetime) -> int | float:
    seconds = instant.timestamp()
    return int(seconds) if seconds.is_integer() else seconds


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def invocation_record(
    letter: DeadLetter, mapping: EventSourceMapping, shard_id: str, *, answer: Answer | None, now: datetime
) -> dict[str, object]:
    """What AWS writes to an S3 on-failure destination: the metadata, and the whole event as a JSON string."""
    first, last = letter.batch.records[0], letter.batch.records[-1]
    record: dict[str, object] = {
        "requestContext": {
            "requestId": answer.request_id if answer else None,
            "functionArn": mapping.function_arn,
            "condition": letter.condition.value,
            "approximateInvokeCount": letter.batch.deliveries,
        },
        "version": "1.0",
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z",
        "DDBStreamBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": first.sequence_number,
            "endSequenceNumber": last.sequence_number,
            "approximateArrivalOfFirstRecord": first.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "approximateArrivalOfLastRecord": last.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "batchSize": len(letter.batch.records),
            "streamArn": mapping.stream_arn,
        },
        "payload": json.dumps(lambda_event(letter.batch), separators=(",", ":")),
    }
    if answer is not None:
        record["responseContext"] = {
            "statusCode": answer.status,
            "executedVersion": answer.executed_version or "$LATEST",
            "functionError": answer.function_error,
        }
    return record


def invocation_record_key(mapping: EventSourceMapping, shard_id: str, *, unique: str, now: datetime) -> str:
    """aws/lambda/<mapping uuid>/<shard id>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<random uuid>"""
    return f"aws/lambda/{mapping.uuid}/{shard_id}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{unique}"
