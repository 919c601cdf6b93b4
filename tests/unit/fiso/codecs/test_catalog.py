import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from fiso.codecs.catalog import entry_from_document, entry_to_document, snapshot_from_json, snapshot_to_json
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Architecture, FunctionName, Plan, Provider
from fiso.domain.errors import InvalidCatalog, NothingAvailable, UnknownFunction
from fiso.domain.policy import Policy
from tests.builders import an_endpoint

AWS, GCP = an_endpoint(address="fn"), an_endpoint(Provider.GCP, memory_mb=256)
POLICY = Policy(version=3, residency=frozenset({"us-east4", "us-east-1"}), home=AWS.id)
ENTRY = CatalogEntry(name=FunctionName("bfs"), function_type="graph", endpoints=(AWS, GCP), policy=POLICY)
OTHER = replace(ENTRY, name=FunctionName("another"))
SNAPSHOT = Snapshot(
    version=7,
    published_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    functions={ENTRY.name: ENTRY, OTHER.name: OTHER},
)

Change = Callable[[dict[str, Any]], object]


def altered(change: Change) -> bytes:
    """The snapshot's bytes with a change in them and a checksum that fits it."""
    document = json.loads(snapshot_to_json(SNAPSHOT))
    del document["sha256"]
    change(document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["sha256"] = sha256(text.encode()).hexdigest()
    return json.dumps(document).encode()


def a_strategy(**when: object) -> dict[str, object]:
    return {"name": "x", "when": when, "candidates": {"provider": {"is": "aws"}}, "factor": 2}


def test_keys_of_a_later_writer_are_ignored() -> None:
    data = altered(lambda document: document["functions"][0].update(colour="blue"))
    assert snapshot_from_json(data) == SNAPSHOT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(schema=3), "schema 3, this code reads 1"),
        (lambda d: d.pop("schema"), "schema None"),
        (lambda d: d.update(version="7"), "version: must be a whole number"),
        (lambda d: d.pop("published_at"), "published_at: is missing"),
        (lambda d: d.update(functions={}), "functions: must be a list"),
        (lambda d: d.pop("functions"), "functions: must be a list"),
    ],
)
def test_a_damaged_envelope_is_refused_with_its_reason(change: Change, reason: str) -> None:
    with pytest.raises(InvalidCatalog, match=reason):
        snapshot_from_json(altered(change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["functions"].append({**d["functions"][1], "function_type": "other"}), "twice"),
        (lambda d: d["functions"][1].pop("policy"), r"policy: is missing"),
        (lambda d: d["functions"][1].update(endpoints=[]), "endpoints: must not be empty"),
        (lambda d: d["functions"][1].update(endpoints={}), "endpoints: must be a list"),
        (lambda d: [e.update(provider="ibm") for e in d["functions"][1]["endpoints"]], "must be one of aws"),
        (lambda d: d["functions"][1]["endpoints"][0].update(memory_mb=0), "policy.home: no endpoint 'aws' here"),
        (lambda d: d["functions"][1]["policy"].update(home="nowhere"), "policy.home: no endpoint 'nowhere' here"),
        (lambda d: d["functions"][1]["policy"].update(exploration=2), "exploration"),
        (lambda d: d["functions"][1]["policy"].update(weights={}), "policy.weights.latency: is missing"),
        (lambda d: d["functions"][1]["policy"].update(tiers=[["nowhere"]]), "tiers.0: no endpoint"),
        (
            lambda d: d["functions"][1]["policy"].update(strategies=[{"name": "x", "candidates": {}, "factor": 2}]),
            r"strategies\[0\].when: is missing",
        ),
        (lambda d: d["functions"][1]["policy"].update(strategies=[a_strategy(hour=9)]), "not a valid RequestField"),
        (lambda d: d["functions"][1]["policy"].update(strategies=[a_strategy(hour_of_day={"=": 9})]), "Operator"),
        (
            lambda d: d["functions"][1]["policy"].update(strategies=[a_strategy(hour_of_day={"is": None})]),
            "or a number",
        ),
    ],
)
def test_a_function_that_cannot_be_read_is_unavailable_and_the_others_serve(change: Change, reason: str) -> None:
    found = snapshot_from_json(altered(change))
    assert re.search(reason, found.damaged["bfs"].reason)
    assert found.functions == {OTHER.name: OTHER}
    with pytest.raises(NothingAvailable, match="'bfs' cannot be read from catalog version 7"):
        found.entry_for("anybody", "bfs")
    with pytest.raises(UnknownFunction):
        found.entry("nope")


def test_a_copy_that_cannot_be_read_costs_only_itself() -> None:
    def later_code_writes(document: dict[str, Any]) -> None:
        document["functions"][1]["endpoints"][1].update(provider="hetzner", id="new")

    found = snapshot_from_json(altered(later_code_writes))
    assert found.entry("bfs") == replace(ENTRY, endpoints=(AWS,))
    assert {name: damage.is_endpoint for name, damage in found.damaged.items()} == {"bfs/new": True}


@pytest.mark.parametrize("row", [None, 5, "text", [], {}, {"name": None}, {"name": ["bfs"]}])
def test_a_row_without_a_name_is_told_by_its_place(row: object) -> None:
    found = snapshot_from_json(altered(lambda document: document["functions"].insert(0, row)))
    assert (found.functions, [*found.damaged]) == (SNAPSHOT.functions, ["#0"])


def test_who_may_not_call_a_damaged_function_does_not_learn_of_it() -> None:
    found = snapshot_from_json(altered(lambda d: d["functions"][1]["policy"].update(tenants=["ada"], timeout_ms="x")))
    with pytest.raises(UnknownFunction):
        found.entry_for("bob", "bfs")
    with pytest.raises(NothingAvailable):
        found.entry_for("ada", "bfs")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{}", b"{", b"\xff\xfe", b'{"sha256":null}', b'{"version":NaN}', b"[" * 100_000],
    ids=["empty", "list", "null", "no-keys", "cut", "not-utf8", "no-checksum", "nan", "deep"],
)
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidCatalog):
        snapshot_from_json(data)


def test_a_plan_of_later_code_is_priced_as_one_that_is_not_said_and_stops_no_catalog() -> None:
    endpoint = an_endpoint(plan=Plan.SNAPSTART, architecture=Architecture.ARM64)
    entry = replace(next(iter(SNAPSHOT.functions.values())), endpoints=(endpoint,))
    document = entry_to_document(entry)
    assert entry_from_document(document).endpoints == (endpoint,)
    row = document["endpoints"][0]  # type: ignore[index]
    row |= {"plan": "of_the_next_decade", "architecture": "riscv64"}  # type: ignore[operator]
    assert entry_from_document(document).endpoints == (replace(endpoint, plan=None, architecture=None),)


def test_whole_weights_are_written_as_the_fractions_they_equal() -> None:
    whole = replace(ENTRY, policy=replace(POLICY, weights=replace(POLICY.weights, latency=1, cost=0)))
    fraction = replace(ENTRY, policy=replace(POLICY, weights=replace(POLICY.weights, latency=1.0, cost=0.0)))
    assert json.dumps(entry_to_document(whole)) == json.dumps(entry_to_document(fraction))
