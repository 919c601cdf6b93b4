"""The catalog: policies, strategies and endpoints as documents, rows and published snapshots."""

import gzip
import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extras import Json as Jsonb

from fiso.adapters.aws.s3 import S3Snapshots
from fiso.adapters.aws.snapshots import CheckedSnapshots, DynamoDBSnapshotCopy, KnownHosts
from fiso.adapters.postgres import catalog
from fiso.codecs.catalog import entry_from_document, entry_to_document, snapshot_from_json, snapshot_to_json
from fiso.codecs.policy import (
    LATER_KEYS,
    POLICY_CODEC,
    policy_to_document,
)
from fiso.codecs.seal import CatalogSeals
from fiso.codecs.typed import Json
from fiso.domain.address import AddressRules
from fiso.domain.catalog import Ahead
from fiso.domain.endpoint import Provider
from fiso.domain.policy import Mode, Pin, Policy
from fiso.domain.stage_rules import StageRules, TenantQuotas
from fiso.domain.strategy import (
    SEVERAL,
    CandidateField,
    Condition,
    Operator,
    RequestField,
    Strategy,
    Value,
    operators_of,
)
from fiso_cli.training import keys
from tests.builders import NOW, a_snapshot, an_endpoint, an_entry
from tests.contract.catalog_entries import FULL, PLAIN
from tests.golden.golden_files import FILES, golden_json, golden_line
from tests.golden.recorded_clients import Objects, RecordingClient
from tests.golden.test_models import SIGNER

SNAPSHOT = a_snapshot(FULL, PLAIN, version=12)
SEALS = keys.sealing(SIGNER, "prod")
OF_BEFORE = CatalogSeals(stage="prod", keys={}, accepts_unsigned=True)
POLICIES = {"full": FULL.policy, "default": Policy(version=3)}
TWO_VALUES: dict[RequestField | CandidateField, tuple[Value, Value]] = {
    RequestField.HOUR_OF_DAY: (22, 5),
    RequestField.DAY_OF_WEEK: (6, 7),
    RequestField.FUNCTION_TYPE: ("text", "graph"),
    RequestField.REQUEST_SIZE_BYTES: (0, 1_048_576),
    RequestField.USER_REGION: ("eu-central-1", "ünï"),
    CandidateField.PROVIDER: ("aws", "gcp"),
    CandidateField.REGION: ("us-east-1", "eastus"),
    CandidateField.MEMORY_MB: (128, 512),
    CandidateField.COLD_PROBABILITY: (0.25, 1),
}
CHEAP = Condition(field=CandidateField.REGION, operator=Operator.IS, values=("us-east-1",))


def a_strategy(field: RequestField | CandidateField, operator: Operator) -> Strategy:
    count = 2 if operator in (*SEVERAL, Operator.BETWEEN) else 1
    asked = frozenset({Condition(field=field, operator=operator, values=TWO_VALUES[field][:count])})
    name = f"{field} {operator}"
    if isinstance(field, RequestField):
        return Strategy(name=name, when=asked, candidates=frozenset({CHEAP}), factor=2)
    return Strategy(name=name, candidates=asked, factor=0.5)


def test_policies() -> None:
    unset = {f.name for f in fields(Policy) if getattr(FULL.policy, f.name) == getattr(Policy(version=-1), f.name)}
    assert not unset & policy_to_document(FULL.policy).keys(), "the full policy sets every key of the first writers"
    kept = golden_json("policies.json", {name: policy_to_document(policy) for name, policy in POLICIES.items()})
    assert {name: POLICY_CODEC.from_document(Policy, document) for name, document in kept.items()} == POLICIES


def test_a_pin_that_says_who_and_until_when() -> None:
    at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    pin = Pin(by="ada", at=at, reason="gcp is slow", until=at + timedelta(hours=1), then=Mode.OBSERVE)
    policy = replace(FULL.policy, pin=pin)
    kept = golden_json("pin.json", policy_to_document(policy))
    assert POLICY_CODEC.from_document(Policy, kept) == policy


@pytest.mark.parametrize("key", LATER_KEYS)
def test_a_policy_from_before_there_was_a_key_has_its_default(key: str) -> None:
    document = policy_to_document(POLICIES["default"])
    del document[key]
    assert POLICY_CODEC.from_document(Policy, document) == POLICIES["default"]


def test_every_field_and_operator_of_strategies() -> None:
    every = [a_strategy(field, operator) for field in TWO_VALUES for operator in operators_of(field)]
    assert len(TWO_VALUES) == len([*RequestField, *CandidateField])
    kept = golden_json("strategies.json", [POLICY_CODEC.to_document(strategy) for strategy in every])
    assert [POLICY_CODEC.from_document(Strategy, document) for document in kept] == every


def test_entries() -> None:
    kept = golden_json("catalog-entries.json", [entry_to_document(entry) for entry in (FULL, PLAIN)])
    assert [entry_from_document(document) for document in kept] == [FULL, PLAIN]


def test_rows_of_the_database() -> None:
    of_policy = ["version", "function_name", "policy_version", "policy"]
    of_endpoint = ["version", "function_name", "position", *catalog._ENDPOINT]
    rows = {
        entry.name: {
            "policies": row_of(of_policy, catalog._policy_row(12, entry)),
            "endpoints": [row_of(of_endpoint, row) for row in catalog._endpoint_rows(12, entry)],
        }
        for entry in (FULL, PLAIN)
    }
    kept = golden_json("postgres-rows.json", rows)
    for entry in (FULL, PLAIN):
        found = kept[entry.name]
        row = {"name": entry.name, "function_type": entry.function_type} | found["policies"]
        endpoints: list[Json] = [{name: each[name] for name in catalog._ENDPOINT} for each in found["endpoints"]]
        assert entry_from_document(catalog._to_document(row, endpoints)) == entry


def row_of(columns: list[str], cells: tuple[Any, ...]) -> dict[str, Any]:
    """A row by column; JSON columns as what they hold."""
    plain = [cell.adapted if isinstance(cell, Jsonb) else cell for cell in cells]
    return dict(zip(columns, plain, strict=True))


def test_a_snapshot_is_canonical_and_checked() -> None:
    kept = golden_line("snapshot.json", snapshot_to_json(SNAPSHOT))
    assert snapshot_from_json(kept.encode()) == SNAPSHOT


def test_a_snapshot_with_modes_that_the_database_does_not_know() -> None:
    ahead = Ahead(by="ada", at=NOW, version=13, instead=frozenset({"route", "pin:gcp"}), since=12)
    snapshot = replace(SNAPSHOT, version=13, base=12, ahead={PLAIN.name: ahead})
    kept = golden_line("snapshot-ahead.json", snapshot_to_json(snapshot))
    assert snapshot_from_json(kept.encode()) == snapshot


def test_a_snapshot_with_rules_of_the_stage() -> None:
    quotas = TenantQuotas(default="500/1000", tenants={"acme": "50/100"})
    snapshot = replace(SNAPSHOT, rules=StageRules(quotas=quotas, hosts=frozenset({"api.example.com"})))
    kept = golden_line("snapshot-rules.json", snapshot_to_json(snapshot))
    assert snapshot_from_json(kept.encode()) == snapshot


def test_what_is_published_in_the_bucket() -> None:
    bucket = Objects()
    published = CheckedSnapshots(S3Snapshots(bucket, "bucket", SEALS), KnownHosts(AddressRules()))
    published.publish(SNAPSHOT)
    body, pointer = bucket.texts()
    assert body.pop("Body").encode() == snapshot_to_json(SNAPSHOT)
    golden_json("snapshot-published.json", [body, pointer])
    assert S3Snapshots(bucket, "bucket", SEALS).current() == SNAPSHOT
    assert published.current(unless_version=12) is None


def test_what_was_published_before_there_were_signatures() -> None:
    bucket, kept = Objects(), json.loads((FILES / "snapshot-published-of-before.json").read_text())
    texts = (snapshot_to_json(SNAPSHOT).decode(), kept[1]["Body"])
    bucket.bodies = {put["Key"]: body.encode() for put, body in zip(kept, texts, strict=True)}
    assert S3Snapshots(bucket, "bucket", OF_BEFORE).current() == SNAPSHOT
    put = json.loads((FILES / "dynamodb-snapshot-copy-of-before.json").read_text())["put_item"]
    item = put["Item"] | {"body": {"B": gzip.compress(snapshot_to_json(SNAPSHOT))}}
    assert DynamoDBSnapshotCopy(RecordingClient(get_item={"Item": item}), "state", OF_BEFORE).current() == SNAPSHOT


def test_refused_endpoints_are_no_part_of_a_snapshot() -> None:
    bucket = Objects()
    inside = an_endpoint(Provider.GCP, address="https://169.254.169.254/")
    snapshot = a_snapshot(an_entry(inside))
    checked = CheckedSnapshots(S3Snapshots(bucket, "bucket", SEALS), KnownHosts(AddressRules()))
    checked.publish(snapshot)
    found = checked.current()
    assert found is not None
    assert found.entry("word-count").refused.keys() == {"gcp"}
    assert snapshot_to_json(found) == snapshot_to_json(snapshot)


def test_the_copy_of_a_snapshot() -> None:
    client = RecordingClient()
    DynamoDBSnapshotCopy(client, "state", SEALS).publish(SNAPSHOT)
    written = client.requests[-1]
    item = written["put_item"]["Item"]
    packed = item["body"].pop("B")
    assert packed[:8] == b"\x1f\x8b\x08" + bytes(5), "gzip without a name and a time of day"
    assert gzip.decompress(packed) == snapshot_to_json(SNAPSHOT)
    kept = golden_json("dynamodb-snapshot-copy.json", written)
    stored = kept["put_item"]["Item"] | {"body": {"B": gzip.compress(snapshot_to_json(SNAPSHOT))}}
    reading = RecordingClient(get_item={"Item": stored})
    assert DynamoDBSnapshotCopy(reading, "state", SEALS).current() == SNAPSHOT
    golden_json("dynamodb-snapshot-copy-query.json", reading.only_request)
