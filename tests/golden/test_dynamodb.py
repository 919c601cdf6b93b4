"""DynamoDB: what the adapters ask for, items, conditions and indexes included, and what they read of such items."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.adapters.aws.dynamodb_breakers import DynamoDBSharedBreakers
from fiso.adapters.aws.dynamodb_idempotency import LARGEST_INLINE, DynamoDBIdempotencyKeys
from fiso.adapters.aws.dynamodb_lists import OPEN_SHARDS, DynamoDBLists
from fiso.adapters.aws.dynamodb_rollups import DynamoDBRollups, rollup_from_item
from fiso.adapters.aws.dynamodb_states import (
    OLDER_FORM_AFTER,
    DynamoDBEndpointStates,
    state_from_item,
    state_item,
)
from fiso.adapters.aws.tenant_use import DynamoDBTenantUse
from fiso.codecs.record import instant
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.errors import StoreUnavailable
from fiso.domain.idempotency import Entry, KeptAnswer, claim_of, former_id
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.request import InvocationId, TenantId
from fiso.domain.rollup import Counts, Rollup
from fiso.domain.state import Compared, EndpointState, LoadLevel, TenantAnswer, TenantReports
from fiso.ports import RecordKey
from fiso.routing.breaker_notices import Domain, Notice, SlowCall, Transition
from fiso.routing.quota import Seen, Use
from fiso.testing.clock import ManualClock
from fiso_client.core.breaker import Breaker
from functions.stream_consumer import wiring
from tests.builders import NOW, a_record, a_request, invocation_id
from tests.golden.golden_files import FILES, golden_json, restored
from tests.golden.recorded_clients import Objects, RecordingClient
from tests.golden.records import CLOSED, OPEN
from tests.logged import log_of

WORD_COUNT = FunctionName("word-count")


def log(client: RecordingClient) -> DynamoDBInvocationLog:
    return DynamoDBInvocationLog(client, "log", clock=ManualClock())


def lists(client: RecordingClient) -> DynamoDBLists:
    return DynamoDBLists(client, "state", clock=ManualClock(), readers=1)


OF_BEFORE = ("dynamodb-records-of-before.json", "dynamodb-records-indexed.json")
"""Written by versions with indexes of four shards that packed nothing, and of 64. Not written anew."""


@pytest.mark.parametrize("name", OF_BEFORE)
def test_records_as_they_were_written_before_are_read_and_left_for_code_of_before(name: str) -> None:
    wanted: dict[str, InvocationRecord | OpenRecord] = {"open": OPEN, **CLOSED}
    for which, put in json.loads((FILES / name).read_text(), object_hook=restored).items():
        assert log(RecordingClient(query={"Items": [put["Item"]]})).find(OPEN.invocation_id) == wanted[which]
        client, record = RecordingClient(), wanted[which]
        before = DynamoDBInvocationLog(client, "log", clock=ManualClock(), writes_as_before=True)
        if isinstance(record, OpenRecord):
            before.open(record)
        else:
            before.close(record)
        # the older of the two, which code of both versions reads
        assert name == OF_BEFORE[1] or client.only_request["put_item"] == put


def test_records() -> None:
    wanted: dict[str, InvocationRecord | OpenRecord] = {"open": OPEN, **CLOSED}
    written = {}
    for name, record in wanted.items():
        client = RecordingClient()
        if isinstance(record, OpenRecord):
            log(client).open(record)
        else:
            log(client).close(record)
        written[name] = client.only_request["put_item"]
    kept = golden_json("dynamodb-records.json", written)
    items = {name: put["Item"] for name, put in kept.items()}
    assert {
        name: log(RecordingClient(query={"Items": [item]})).find(OPEN.invocation_id) for name, item in items.items()
    } == wanted
    for name, item in items.items():
        key = wiring.key_of(item)
        assert key is not None
        assert log_of(item).recorded([key])[key] == wanted[name]


ENTRIES = (a_record(1), a_record(2, timestamp=NOW - timedelta(minutes=5)), a_record(3, tenant=TenantId("tenant #1")))


def test_lists_of_records_and_what_is_asked_of_them() -> None:
    client = RecordingClient()
    lists(client).note(ENTRIES)
    lists(client).watch([OPEN])
    kept = golden_json("dynamodb-lists.json", client.requests)
    items = [put["put_item"]["Item"] for put in kept]
    entry, watched = items[1], items[-1]
    found = lists(RecordingClient(query={"Items": [entry]})).newest(2, tenant=ENTRIES[0].request.tenant)
    assert found == [RecordKey(r.invocation_id, instant(r.timestamp)) for r in ENTRIES[:2]]
    (found_open, *_) = lists(RecordingClient(query={"Items": [watched]})).watched(NOW)
    assert found_open.key == RecordKey(OPEN.invocation_id, instant(OPEN.timestamp))
    client = RecordingClient(query={"Items": []})
    log(client).find(OPEN.invocation_id)
    lists(client).newest(10, after=NOW - timedelta(hours=1))
    lists(client).newest(10, after=NOW - timedelta(hours=1), tenant=TenantId("tenant #1"))
    lists(client).forget([found_open])
    assert list(lists(client).watched(NOW)) == []
    golden_json("dynamodb-record-queries.json", client.requests[: -OPEN_SHARDS + 1])


def test_counts_of_a_minute_and_what_is_asked_of_them() -> None:
    known = {EndpointId("aws"): Counts(requests=3, errors=1, cost_nano=1500, verdicts={"copy": 1})}
    at = NOW.replace(second=0, microsecond=0)
    rollup, client = Rollup(at=at, folded=3, counts=known, ends_hour=True), RecordingClient(query={"Items": []})
    rollups = DynamoDBRollups(client, "state")
    rollups.keep(WORD_COUNT, [rollup])
    rollups.newest_before(WORD_COUNT, at)
    rollups.between(WORD_COUNT, at, at + timedelta(hours=1), by_hour=True)
    minute, hour, *_ = golden_json("dynamodb-rollups.json", client.requests)
    for put in (minute, hour):
        assert rollup_from_item(put["put_item"]["Item"]) == replace(rollup, ends_hour=False)


LEVEL = LoadLevel(
    answers=40,
    cold_share=0.025,
    warm=39,
    latency_ms=101.25,
    latency_square=10_300.5,
    recent_ms=99.75,
    cost_usd=1.25e-06,
    raw_log=4.625,
    last_at=NOW,
    changed_at=NOW - timedelta(minutes=5, microseconds=1),
)
STATES = (
    EndpointState(function=WORD_COUNT, endpoint=EndpointId("aws"), version=1, folded=1),
    EndpointState(
        function=WORD_COUNT,
        endpoint=EndpointId("gcp"),
        version=7,
        folded=42,
        attempts=43,
        failures=3,
        failovers_from=2,
        consecutive_failures=1,
        latency_ms=101.5,
        latency_deviation_ms=12.25,
        error_rate=0.0625,
        arrival_interval_ms=1500.0,
        cold_starts=2,
        cold_known=40,
        cold_latency_ms=850.5,
        cold_cost_usd=9e-06,
        cost_usd=1 / 3,
        last_called_at=NOW,
        last_failed_at=NOW - timedelta(seconds=3, milliseconds=5),
        last_failure="timed_out",
        warm_answers=38,
        levels={0: LEVEL, 3: LoadLevel()},
        idle_calls=(30, 5, 3, 1, 0, 0, 1),
        idle_colds=(0, 0, 1, 0, 0, 0, 1),
        shape_model_version="m1",
        shape_xx=0.5,
        shape_xy=0.25,
    ),
    EndpointState(
        function=WORD_COUNT,
        endpoint=EndpointId("azure"),
        version=2,
        equivalence=Compared(
            policy_version=3,
            compared=40,
            differed=2,
            disputed=1,
            first_id=invocation_id(1),
            first_place="header etag",
            first_at=NOW,
        ),
        only_of="a5047ec9",
        holds_reports=True,
    ),
    EndpointState(
        function=WORD_COUNT,
        endpoint=EndpointId("reported"),
        version=3,
        reported=(
            TenantReports(
                tenant="a5047ec9", levels={0: LEVEL}, failed_in_row=2, last_at=NOW, last_failed_at=NOW, beside=-0.25
            ),
        ),
        said=(
            TenantAnswer(tenant="a5047ec9", bucket=1, at=NOW, latency_ms=80.5, cost_usd=2e-07),
            TenantAnswer(tenant="b5047ec9", bucket=0, at=NOW),
        ),
    ),
)


def states(client: RecordingClient) -> DynamoDBEndpointStates:
    return DynamoDBEndpointStates(client, "state", clock=ManualClock())


FOLDED = (a_record(1), a_record(2), a_record(3, timestamp=NOW + timedelta(seconds=7)))


PLAIN = "dynamodb-states-plain.json"
"""Written by versions that packed no state and gave each commit entries. Not written anew."""


@pytest.mark.parametrize("name", ["dynamodb-states.json", PLAIN])
def test_endpoint_states_and_what_is_folded_into_them(name: str) -> None:
    client = RecordingClient(query={"Items": []})
    states(client).commit(WORD_COUNT, STATES, FOLDED[:2])
    of_before = json.loads((FILES / PLAIN).read_text(), object_hook=restored)
    kept = of_before if name == PLAIN else golden_json(name, client.requests[-1])
    puts = [write["Put"]["Item"] for write in kept["transact_write_items"]["TransactItems"]]
    read = states(RecordingClient(query={"Items": puts[: len(STATES)]})).of_function(WORD_COUNT)
    assert read == {state.endpoint: state for state in STATES}
    (entry,) = puts[len(STATES) :]
    ids = {record.invocation_id for record in FOLDED[:2]}
    assert asked_of(puts[: len(STATES)], entry).folded_among(WORD_COUNT, FOLDED) == ids
    on_the_wire = {**entry, "marks": {"B": base64.b64encode(entry["marks"]["B"]).decode()}}
    assert asked_of([], on_the_wire).folded_among(WORD_COUNT, FOLDED) == ids


def asked_of(stand: Sequence[Mapping[str, Any]], *entries: Mapping[str, Any]) -> DynamoDBEndpointStates:
    """Of a table in which these states and entries stand."""

    class Table(RecordingClient):
        def query(self, **asked: Any) -> Mapping[str, Any]:
            is_state = asked["ExpressionAttributeValues"][":function"]["S"] == WORD_COUNT
            return {"Items": stand if is_state else entries}

    return states(Table(batch_get_item={"Responses": {}}))


def test_a_state_alone_carries_the_marks_of_its_records() -> None:
    client = RecordingClient()
    states(client).commit(WORD_COUNT, STATES[:1], FOLDED)
    item = golden_json("dynamodb-state-alone.json", client.only_request)["put_item"]["Item"]
    on_the_wire = {name: {"B": base64.b64encode(item[name]["B"]).decode()} for name in ("state", "marks")}
    for read in (item, {**item, **on_the_wire}):
        table = asked_of([read])
        assert table.of_function(WORD_COUNT) == {STATES[0].endpoint: STATES[0]}
        assert table.folded_among(WORD_COUNT, FOLDED) == {record.invocation_id for record in FOLDED}


OF_BEFORE_STATES = json.loads((FILES / "dynamodb-states-of-before.json").read_text())
"""Written by versions that left a marker for each record. Not written anew."""


def test_what_code_of_before_folded_is_known_and_left_for_it_to_know() -> None:
    puts = [write["Put"]["Item"] for write in OF_BEFORE_STATES["transact_write_items"]["TransactItems"]]
    markers = [item for item in puts if item["item"]["S"] == "marker"]
    client = RecordingClient(query={"Items": []}, batch_get_item={"Responses": {"state": markers}})
    both = DynamoDBEndpointStates(client, "state", clock=ManualClock(), marks_as_before=True)
    assert both.folded_among(WORD_COUNT, FOLDED) == {record.invocation_id for record in FOLDED[:2]}
    both.commit(WORD_COUNT, (), FOLDED[:2])
    written = [write["Put"] for write in client.requests[-1]["transact_write_items"]["TransactItems"]]
    assert [put["Item"] for put in written[1:]] == markers
    assert len(frozenset().union(*map(both.items_of, FOLDED))) == 5


def test_a_record_is_looked_up_as_code_of_before_marked_it_where_it_is_old_enough() -> None:
    clock = ManualClock()
    client = RecordingClient(query={"Items": []}, batch_get_item={"Responses": {}})
    alone = DynamoDBEndpointStates(client, "state", clock=clock)
    alone.folded_among(WORD_COUNT, FOLDED)
    assert [name for request in client.requests for name in request] == ["query", "query", "query"], "states, periods"
    clock.advance(OLDER_FORM_AFTER.total_seconds() + 2)
    client.requests.clear()
    alone.folded_among(WORD_COUNT, FOLDED)
    asked = client.requests[-1]["batch_get_item"]["RequestItems"]["state"]["Keys"]
    assert [key["function_name"]["S"] for key in asked] == [f"folded#{invocation_id(n)}" for n in (1, 2)]


def test_a_state_of_older_code_holds_no_reports_and_is_of_nobody_alone() -> None:
    item = state_item(STATES[1], packs=False)
    document = json.loads(item["state"]["S"])
    for name in ("only_of", "holds_reports", "reported", "said"):
        del document[name]
    assert state_from_item({**item, "state": {"S": json.dumps(document)}}) == STATES[1]


def test_a_comparison_of_older_code_is_of_several_tenants() -> None:
    (compared,) = [state for state in STATES if state.equivalence is not None]
    item = state_item(compared, packs=False)
    document = json.loads(item["state"]["S"])
    del document["equivalence"]["differed_by"]
    assert state_from_item({**item, "state": {"S": json.dumps(document)}}) == compared


def test_queries_of_states() -> None:
    client = RecordingClient(query={"Items": []}, batch_get_item={"Responses": {}})
    states(client).of_function(WORD_COUNT)
    states(client).folded_among(WORD_COUNT, FOLDED[:1])
    golden_json("dynamodb-state-queries.json", client.requests)


OPENED = Breaker(trips_in_row=2, opened_until=NOW + timedelta(seconds=4), changed_at=NOW, cause="timed_out")
AWS = Domain(Provider.AWS, "us-east-1")
NOTICES: dict[str, Notice] = {
    "opened": Transition(function=WORD_COUNT, endpoint=EndpointId("aws"), domain=AWS, breaker=OPENED),
    "closed": Transition(
        function=WORD_COUNT,
        endpoint=EndpointId("gcp"),
        domain=Domain(Provider.GCP, "us-east4"),
        breaker=Breaker(trips_in_row=1, changed_at=NOW),
    ),
    "of a whole region": Transition(function=None, endpoint=None, domain=AWS, breaker=OPENED),
    "late": SlowCall(function=WORD_COUNT, endpoint=EndpointId("aws"), teller="t1", began_at=NOW),
}


def breakers(client: RecordingClient) -> DynamoDBSharedBreakers:
    return DynamoDBSharedBreakers(client, "state", clock=ManualClock())


def test_shared_breakers_and_late_calls() -> None:
    written = {}
    for name, notice in NOTICES.items():
        client = RecordingClient()
        breakers(client).write(notice)
        written[name] = client.only_request
    kept = golden_json("dynamodb-breakers.json", written)
    items = [write["put_item"]["Item"] for write in kept.values() if "put_item" in write]
    client = RecordingClient(query={"Items": [*items, slow_item(kept["late"]["update_item"])]})
    assert sorted(map(repr, breakers(client).read())) == sorted(map(repr, NOTICES.values()))
    golden_json("dynamodb-breaker-queries.json", client.requests)


BREAKERS_OF_BEFORE = json.loads((FILES / "dynamodb-breakers-of-before.json").read_text())
"""Written by versions that kept one item for each environment's late call. Not written anew."""


def slow_item(update: Any) -> dict[str, Any]:
    """What the update leaves where nothing was."""
    values = {name.removeprefix(":"): value for name, value in update["ExpressionAttributeValues"].items()}
    item: dict[str, Any] = update["Key"] | values | {"expires_at": values["expires"]}
    return item


def test_breakers_and_late_calls_as_they_were_written_before() -> None:
    items = [put["Item"] for put in BREAKERS_OF_BEFORE.values()]
    read = breakers(RecordingClient(query={"Items": items})).read()
    assert sorted(map(repr, read)) == sorted(map(repr, NOTICES.values()))


def test_every_page_of_the_breakers_is_read_and_what_does_not_read_is_left_out() -> None:
    put = BREAKERS_OF_BEFORE["opened"]["Item"]
    damaged: list[Mapping[str, Any]] = [{}, {**put, "expires_at": {}}, {**put, "changed_at": {"S": "x"}}]
    pages: Iterator[Mapping[str, Any]] = iter(
        [{"Items": damaged, "LastEvaluatedKey": {"item": {"S": "x"}}}, {"Items": [put]}]
    )
    asked: list[Any] = []

    class Paged(RecordingClient):
        def query(self, **parameters: Any) -> Mapping[str, Any]:
            asked.append(parameters.get("ExclusiveStartKey"))
            return next(pages)

    assert breakers(Paged()).read() == [NOTICES["opened"]]
    assert asked == [None, {"item": {"S": "x"}}]
    with pytest.raises(StoreUnavailable):
        breakers(RecordingClient(query={})).read()


def test_a_late_call_is_withdrawn() -> None:
    client = RecordingClient()
    late = NOTICES["late"]
    assert isinstance(late, SlowCall)
    breakers(client).retract(late)
    golden_json("dynamodb-late-withdrawn.json", client.only_request)


CLAIM = claim_of(
    a_request(idempotency_key="k 1", tenant=TenantId("tenant #1"), path_suffix="/a", query="x=1"),
    now=NOW,
    timeout_ms=5000,
)
ANSWERS = {
    "text": KeptAnswer(status=200, headers={"content-type": "text/plain", "b": "ü"}, body=b"ok", is_text=True),
    "binary": KeptAnswer(status=201, headers={}, body=b"\x00\xff", is_text=False),
    "cookies": KeptAnswer(status=200, headers={}, body=b"ok", is_text=True, cookies=("a=1; Path=/", "b=2")),
    "error": KeptAnswer(
        status=502, headers={"content-type": "application/problem+json"}, body=b'{"status": 502}', is_text=True
    ),
    "large": KeptAnswer(status=200, headers={}, body=b"x" * (LARGEST_INLINE + 1), is_text=True),
}


def keys(client: RecordingClient, s3: Objects | None = None) -> DynamoDBIdempotencyKeys:
    return DynamoDBIdempotencyKeys(client, "keys", s3=s3, bucket="bucket", clock=ManualClock())


def test_idempotency_claims() -> None:
    client = RecordingClient(get_item={})
    keys(client).claim(CLAIM)
    keys(client).claim(CLAIM, over=InvocationId("before"))
    keys(client).find(CLAIM.id)
    keys(client).release(CLAIM)
    kept = golden_json("dynamodb-idempotency-claims.json", client.requests)
    looked_up, claimed, *_ = kept
    assert looked_up["get_item"]["Key"]["idempotency_id"]["S"] == former_id(CLAIM.id)
    assert found(claimed["put_item"]["Item"]) == CLAIM


def test_idempotency_answers() -> None:
    bodies, written = Objects(), {}
    for name, answer in ANSWERS.items():
        client = RecordingClient()
        keys(client, bodies).complete(replace(CLAIM, answer=answer))
        *counted, last = [request["update_item"] for request in client.requests]
        written[name] = last | ({"counted": counted} if counted else {})
    kept = golden_json("dynamodb-idempotency-answers.json", written | {"objects": sorted(bodies.bodies)})
    for name, answer in ANSWERS.items():
        set_to = {k.removeprefix(":"): v for k, v in kept[name]["ExpressionAttributeValues"].items()}
        item = claim_item() | {k: v for k, v in set_to.items() if k in ("answer", "body", "body_at")}
        assert found(item, bodies) == replace(CLAIM, answer=answer)
        if "body" in item:  # as it is on the wire
            assert found(item | {"body": {"B": base64.b64encode(item["body"]["B"]).decode()}}) == found(item)


def claim_item() -> dict[str, Any]:
    client = RecordingClient()
    keys(client).claim(CLAIM)
    item: dict[str, Any] = client.requests[-1]["put_item"]["Item"]
    return item


def found(item: dict[str, Any], s3: Objects | None = None) -> Entry | None:
    return keys(RecordingClient(get_item={"Item": item}), s3).find(CLAIM.id)


SEEN = Seen(balance=-1.5, at=datetime.combine(date(2026, 11, 23), NOW.timetz()), total=41.0)


def test_tenants_use_of_their_quota() -> None:
    after = {"used": {"N": "43.5"}}
    client = RecordingClient(update_item={"Attributes": after})
    use = DynamoDBTenantUse(client, "keys", clock=ManualClock())
    assert use.add(TenantId("tenant #1"), 2.5, None) == Use(total=43.5)
    use.add(TenantId("tenant #1"), 1.0, SEEN)
    kept = golden_json("dynamodb-tenant-use.json", client.requests)
    values = kept[1]["update_item"]["ExpressionAttributeValues"]
    item = after | {"balance": values[":balance"], "seen_at": values[":at"], "seen_total": values[":total"]}
    again = DynamoDBTenantUse(RecordingClient(update_item={"Attributes": item}), "keys", clock=ManualClock())
    assert again.add(TenantId("tenant #1"), 0.0, None) == Use(total=43.5, seen=SEEN)
