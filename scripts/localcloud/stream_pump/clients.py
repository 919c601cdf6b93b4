"""The pump's adapters: AWS's APIs at the emulator through boto3, and the Lambda host's Invoke API over HTTP."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fiso_cli.access_key import AccessKey
from localcloud import signatures
from localcloud.signatures import Request
from localcloud.stream_pump.consumer import DestinationError, Page, Shard, SourceError
from localcloud.stream_pump.event import record_of
from localcloud.stream_pump.mapping import EventSourceMapping
from localcloud.stream_pump.rules import Answer

log = logging.getLogger(__name__)

MAX_GET_RECORDS = 1000
# Longer than any function may run; the Lambda host ends an invocation at the function's own timeout.
INVOKE_TIMEOUT_S = 960


class TrimmedError(SourceError):
    """The position asked for is no longer on the stream."""


def client(service: str, url: str, region: str, key: AccessKey) -> Any:
    """A boto3 client for the emulator. No retries: the pump's loops are the only ones."""
    config = Config(
        connect_timeout=1, read_timeout=10, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        config=config,
    )


@contextmanager
def _source_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        trimmed = error.response["Error"]["Code"] == "TrimmedDataAccessException"
        raise (TrimmedError if trimmed else SourceError)(f"{doing}: {error}") from error
    except BotoCoreError as error:
        raise SourceError(f"{doing}: {error}") from error


class EmulatorStreams:
    """Mappings from the Lambda control plane, shards and records from the DynamoDB Streams API."""

    def __init__(self, url: str, region: str, key: AccessKey) -> None:
        self._lambda = client("lambda", url, region, key)
        self._streams = client("dynamodbstreams", url, region, key)

    def mappings(self) -> tuple[Mapping[str, object], ...]:
        with _source_errors("ListEventSourceMappings"):
            pages = self._lambda.get_paginator("list_event_source_mappings").paginate()
            return tuple(mapping for page in pages for mapping in page["EventSourceMappings"])

    def disable(self, mapping_uuid: str) -> None:
        with _source_errors("UpdateEventSourceMapping"):
            self._lambda.update_event_source_mapping(UUID=mapping_uuid, Enabled=False)

    def shards(self, stream_arn: str) -> tuple[Shard, ...]:
        found: list[Shard] = []
        request = {"StreamArn": stream_arn}
        with _source_errors("DescribeStream"):
            while True:
                description = self._streams.describe_stream(**request)["StreamDescription"]
                found += [Shard(shard_id=s["ShardId"], parent_id=s.get("ParentShardId")) for s in description["Shards"]]
                if not (last := description.get("LastEvaluatedShardId")):
                    return tuple(found)
                request["ExclusiveStartShardId"] = last

    def reader(self, stream_arn: str, shard_id: str, *, after: str | None) -> "EmulatorShardReader":
        return EmulatorShardReader(self._streams, stream_arn, shard_id, after=after)


class EmulatorShardReader:
    """Reads a shard from after a sequence number, or from the horizon.

    An iterator is never kept over an error: the emulator's iterators are positions, and after its restart an old
    position would silently skip records.
    """

    def __init__(self, streams: Any, stream_arn: str, shard_id: str, *, after: str | None) -> None:
        self._streams = streams
        self._shard = {"StreamArn": stream_arn, "ShardId": shard_id}
        self._after = after
        self._iterator: str | None = None

    def read(self, limit: int) -> Page:
        iterator, self._iterator = self._iterator or self._open(), None
        with _source_errors("GetRecords"):
            answer = self._streams.get_records(ShardIterator=iterator, Limit=min(limit, MAX_GET_RECORDS))
        records = tuple(record_of(raw, self._shard["StreamArn"]) for raw in answer["Records"])
        if records:
            self._after = records[-1].sequence_number
        self._iterator = answer.get("NextShardIterator")
        return Page(records=records, closed=self._iterator is None)

    def _open(self) -> str:
        if self._after is None:
            return self._iterator_at(ShardIteratorType="TRIM_HORIZON")
        try:
            return self._iterator_at(ShardIteratorType="AFTER_SEQUENCE_NUMBER", SequenceNumber=self._after)
        except TrimmedError:
            log.warning("%s: %s is past the horizon, reading from there", self._shard["ShardId"], self._after)
            return self._iterator_at(ShardIteratorType="TRIM_HORIZON")

    def _iterator_at(self, **position: str) -> str:
        with _source_errors("GetShardIterator"):
            return str(self._streams.get_shard_iterator(**self._shard, **position)["ShardIterator"])


class EmulatorDeadLetters:
    """Invocation records as objects in a bucket."""

    def __init__(self, url: str, region: str, key: AccessKey) -> None:
        self._s3 = client("s3", url, region, key)

    def write(self, bucket: str, key: str, document: Mapping[str, object]) -> None:
        body = json.dumps(document).encode()
        try:
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            raise DestinationError(f"s3://{bucket}/{key}: {error}") from error


class LambdaHostFunctions:
    """Synchronous invocations through the Invoke API of the local Lambda host."""

    def __init__(self, url: str, region: str, key: AccessKey) -> None:
        timeout = httpx.Timeout(INVOKE_TIMEOUT_S, connect=1)
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)
        self._host, self._region, self._key = urlsplit(url).netloc, region, key

    def invoke(self, mapping: EventSourceMapping, event: Mapping[str, object]) -> Answer:
        asked = Request(
            method="POST",
            path=f"/2015-03-31/functions/{quote(mapping.function_name, safe='')}/invocations",
            query=urlencode({"Qualifier": mapping.qualifier}, quote_via=quote) if mapping.qualifier else "",
            headers={
                "host": self._host,
                "content-type": "application/json",
                "x-amz-invocation-type": "RequestResponse",
            },
            body=json.dumps(event, separators=(",", ":")).encode(),
        )
        try:
            response = self._send(asked)
        except httpx.TransportError as error:
            log.warning("%s was not reached: %r", mapping.function_name, error)
            return Answer(status=None)
        return Answer(
            status=response.status_code,
            payload=response.content,
            function_error=response.headers.get("x-amz-function-error"),
            request_id=response.headers.get("x-amzn-requestid"),
            executed_version=response.headers.get("x-amz-executed-version"),
        )

    def _send(self, asked: Request) -> httpx.Response:
        headers = signatures.signed(asked, self._key, "lambda", self._region, datetime.now(UTC))
        target = f"{asked.path}?{asked.query}" if asked.query else asked.path
        return self._http.post(target, content=asked.body, headers=headers)
