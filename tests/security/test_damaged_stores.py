"""Stores that answer 200 with something else: a store error from every method of every adapter, and nothing else.

A proxy's page, a truncated body or another service's JSON is met in the background, too, where a `KeyError` would take
an answer away that a function has already given.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.client import DynamoDBClient, S3Client
from fiso.adapters.aws.cloudwatch_logs import CloudWatchSpilledRecords
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog, closed_item
from fiso.adapters.aws.dynamodb_breakers import DynamoDBSharedBreakers
from fiso.adapters.aws.dynamodb_idempotency import LARGEST_INLINE, DynamoDBIdempotencyKeys
from fiso.adapters.aws.dynamodb_lists import DynamoDBLists
from fiso.adapters.aws.dynamodb_states import DynamoDBEndpointStates
from fiso.adapters.aws.function_keys import FunctionKeys
from fiso.adapters.aws.models import S3ModelStore
from fiso.adapters.aws.s3 import S3RetrainingRuns, S3Snapshots, S3Watermark
from fiso.adapters.aws.snapshots import DynamoDBSnapshotCopy
from fiso.adapters.aws.ssm import SsmLeaseKeys, read_words
from fiso.adapters.aws.tenant_use import DynamoDBTenantUse
from fiso.domain.endpoint import Authentication, EndpointId, FunctionName
from fiso.domain.errors import InvalidCatalog, ModelRefused, StoreUnavailable
from fiso.domain.idempotency import KeptAnswer, claim_of
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.request import TenantId
from fiso.domain.state import EndpointState
from fiso.ports import ModelFiles
from fiso.routing.breaker_notices import SlowCall
from fiso.testing.clock import ManualClock
from fiso_cli.training.keys import sealing
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import ProviderError
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.builders import NOW, a_record, a_request, a_snapshot, an_endpoint, an_open_record
from tests.golden.recorded_clients import RecordingClient
from tests.models import a_signer

NO_JSON = {
    "nothing": b"",
    "truncated": b'{"Items": [{"invocation_id": {"S": "x"',
    "a proxy's page": b"<html>Please log in</html>",
    "not UTF-8": b'{"Items": "\xff\xfe"}',
    "a text": b'"Items"',
    "a list": b"[]",
    "null": b"null",
    "nested without end": b"[" * 100_000,
}
FOREIGN = {
    "no items": b'{"Items": null, "Item": 5, "Attributes": [], "Responses": [], "events": null, "Parameter": null}',
    "empty items": b'{"Items": [{}], "Item": {"x": {"S": ""}}, "Attributes": {}, "events": [{}], "Contents": [{}]}',
    "items of another kind": b'{"Items": [5, "x"], "Item": "x", "Responses": {"t": 5}, "events": ["x"], "Contents": 5}',
    "attributes of another type": json.dumps(
        {
            "Items": [{name: {"N": "seven"} for name in "invocation_id status function_name item version".split()}],
            "Item": {"version": {"N": "x"}, "expires_at": {"N": "soon"}, "body": {"B": "!"}, "answer": {"S": "{"}},
            "Attributes": {"used": {"N": "much"}},
            "Responses": {"t": [{"function_name": {"N": "1"}}]},
            "events": [{"eventId": 1, "timestamp": "now"}],
            "Parameter": {"Value": 5},
            "SecretString": "5",
        }
    ).encode(),
    "numbers out of range": b'{"Items": [{"expires_at": {"N": "1e999"}, "version": {"N": "1e999"}}], "events": '
    b'[{"eventId": "e", "timestamp": 1e300, "message": ""}], "Attributes": {"used": {"N": "nan"}}}',
    "another service's": b'{"jobs": [], "status": "ok", "version": -1, "replayed_until": "yesterday", "sha256": null}',
    "an error in words": b'{"message": "Service Unavailable"}',
}
CLOCK = ManualClock()
SEALS = sealing(a_signer())
ENTRY = claim_of(a_request(idempotency_key="k"), now=NOW, timeout_ms=5_000)
ANSWER = KeptAnswer(status=200, headers={}, body=b"ok", is_text=True)
LARGE = replace(ANSWER, body=b"x" * (LARGEST_INLINE + 1))
POINTER = ModelPointer(version="m1", sha256="0" * 64, trained_at=NOW, rows=1, is_synthetic=True)
RUN = RetrainingRun(started_at=NOW, trigger="t", rows=1, promoted=False, reason="r", champion_version="m")
SLOW = SlowCall(function=FunctionName("f"), endpoint=EndpointId("e"), teller="t", began_at=NOW)
AZURE = an_endpoint(authentication=Authentication.FUNCTION_KEY, secret_ref="s")


@dataclass(frozen=True)
class Answering:
    """A transport whose every answer is 200 with one body."""

    body: bytes

    def send(self, *_: object, **__: object) -> HttpAnswer:
        return HttpAnswer(status=200, headers={}, body=self.body)


@dataclass(frozen=True)
class Parsed:
    """boto3's clients, as they give on what they could parse: S3's objects, pages of JSON."""

    body: bytes

    def get_object(self, **_: object) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.body), "ETag": '"e"'}

    def put_object(self, **_: object) -> dict[str, Any]:
        return {}

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **_: _json(self.body)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return {}


def service(body: bytes) -> SignedService:
    return SignedService(
        endpoint=AwsEndpoint(service="dynamodb", region="us-east-1", url="http://store"),
        credentials=Credentials(access_key="a", secret_key="s"),
        transport=cast(HttpTransport, Answering(body)),
        clock=CLOCK,
    )


def states(client: Any) -> DynamoDBEndpointStates:
    return DynamoDBEndpointStates(client, "t", clock=CLOCK)


def log(client: Any) -> DynamoDBInvocationLog:
    return DynamoDBInvocationLog(client, "t", clock=CLOCK, lists=lists(client))


def lists(client: Any) -> DynamoDBLists:
    return DynamoDBLists(client, "t", clock=CLOCK)


def keys(client: Any, body: bytes) -> DynamoDBIdempotencyKeys:
    return DynamoDBIdempotencyKeys(client, "t", s3=S3Client(service(body)), bucket="b", clock=CLOCK)


DYNAMODB: Mapping[str, Callable[[Any, bytes], object]] = {
    "open": lambda client, _: log(client).open(an_open_record()),
    "close": lambda client, _: log(client).close(a_record()),
    "find": lambda client, _: log(client).find(a_record().invocation_id),
    "latest": lambda client, _: log(client).latest(3),
    "note": lambda client, _: lists(client).note([a_record()]),
    "watch": lambda client, _: lists(client).watch([an_open_record()]),
    "overdue": lambda client, _: log(client).overdue(NOW, 3),
    "states": lambda client, _: states(client).of_function(FunctionName("f")),
    "folded": lambda client, _: states(client).folded_among(FunctionName("f"), [a_record()]),
    "commit": lambda client, _: states(client).commit(
        FunctionName("f"),
        [EndpointState(function=FunctionName("f"), endpoint=EndpointId("e"), version=1)],
        [a_record()],
    ),
    "notices": lambda client, _: DynamoDBSharedBreakers(client, "t", clock=CLOCK).read(),
    "tell": lambda client, _: DynamoDBSharedBreakers(client, "t", clock=CLOCK).write(SLOW),
    "retract": lambda client, _: DynamoDBSharedBreakers(client, "t", clock=CLOCK).retract(SLOW),
    "claim": lambda client, body: keys(client, body).claim(ENTRY),
    "complete": lambda client, body: keys(client, body).complete(replace(ENTRY, answer=ANSWER)),
    "complete with a large answer": lambda client, body: keys(client, body).complete(replace(ENTRY, answer=LARGE)),
    "find a key": lambda client, body: keys(client, body).find(ENTRY.id),
    "release": lambda client, body: keys(client, body).release(ENTRY),
    "use": lambda client, _: DynamoDBTenantUse(client, "t", clock=CLOCK).add(TenantId("t"), 1.0, None),
    "copy": lambda client, _: DynamoDBSnapshotCopy(client, "t", SEALS).current(),
    "publish the copy": lambda client, _: DynamoDBSnapshotCopy(client, "t", SEALS).publish(a_snapshot()),
}
OTHERS: Mapping[str, Callable[[Any, bytes], object]] = {
    "snapshot": lambda client, _: S3Snapshots(client, "b", SEALS).current(),
    "publish": lambda client, _: S3Snapshots(client, "b", SEALS).publish(a_snapshot()),
    "archive": lambda client, _: list(S3Archive(client, "b", clock=CLOCK).since(NOW.date())),
    "watermark": lambda client, _: S3Watermark(client, "b").read(),
    "move": lambda client, _: S3Watermark(client, "b").move(NOW),
    "append a run": lambda client, _: S3RetrainingRuns(client, "b").append(RUN),
    "runs": lambda client, _: S3RetrainingRuns(client, "b").latest(3),
    "champion": lambda client, _: S3ModelStore(client, "b").champion(),
    "publish a model": lambda client, _: S3ModelStore(client, "b").publish(
        ModelFiles(pointer=POINTER, artifact=b"a", card={}), replaces=None
    ),
    "spilled lines": lambda client, _: list(
        CloudWatchSpilledRecords(client, "g", mark="m").pages(NOW, datetime(2027, 1, 1, tzinfo=UTC))
    ),
    "words": lambda client, _: read_words(client, "p"),
    "lease keys": lambda _, body: SsmLeaseKeys(service(body), "p").read(),
    "function keys": lambda _, body: FunctionKeys(service(body)).headers(AZURE, timeout_s=1.0),
}
BODIES = NO_JSON | FOREIGN


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("method", DYNAMODB.values(), ids=DYNAMODB)
def test_no_method_of_dynamodb_fails_otherwise(method: Callable[[Any, bytes], object], body: bytes) -> None:
    try:
        method(DynamoDBClient(service(body)), body)
    except StoreUnavailable:
        return
    except InvalidCatalog:
        assert method is DYNAMODB["copy"]
    assert body in FOREIGN.values(), "what is no JSON object is never taken for an answer, not even to a write"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("method", [*DYNAMODB.values(), *OTHERS.values()], ids=[*DYNAMODB, *OTHERS])
def test_no_method_fails_otherwise_on_what_boto3_has_parsed(
    method: Callable[[Any, bytes], object], body: bytes
) -> None:
    try:
        method(Parsed(body), body)
    except (StoreUnavailable, InvalidCatalog, ModelRefused, ProviderError):
        return


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]"])
def test_an_object_is_not_written_where_the_answer_is_not_s3s(body: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        keys(Parsed(b"{}"), body).complete(replace(ENTRY, answer=LARGE))


def test_one_damaged_record_does_not_hide_the_others() -> None:
    told = RecordingClient()
    lists(told).note([a_record()])
    tenant, entry = (request["put_item"]["Item"] for request in told.requests)

    class Damaged(Parsed):
        def query(self, **asked: Any) -> dict[str, Any]:
            return {"Items": [entry if asked.get("ScanIndexForward") is False else tenant]}

        def batch_get_item(self, **_: Any) -> dict[str, Any]:
            items = [{"invocation_id": {"S": "x"}, "status": {"S": "?"}}, closed_item(a_record())]
            return {"Responses": {"t": items}}

    assert log(Damaged(b"")).latest(3)[0].invocation_id == a_record().invocation_id
