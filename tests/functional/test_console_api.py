"""The console's JSON API, against its own description."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from fiso.codecs.record import from_document, instant
from functions.console import app
from tests.functional.console_browser import Browser
from tests.functional.console_world import World, busy_world

WORLD = busy_world(60)
BROWSER = Browser(app=app.create(WORLD.sources, stage="local"))
DESCRIPTION = yaml.safe_load((Path(app.HERE) / "openapi.yaml").read_text())
SCHEMAS: dict[str, Any] = DESCRIPTION["components"]["schemas"]


def test_invocations_are_the_logged_records_newest_first() -> None:
    documents = BROWSER.get("/api/invocations", "limit=200").document["invocations"]
    assert [from_document(document).invocation_id for document in documents] == [
        record.invocation_id for record in WORLD.log.latest(200)
    ]


def test_the_limit_is_fifty_unless_said() -> None:
    assert len(BROWSER.get("/api/invocations").document["invocations"]) == 50
    assert len(BROWSER.get("/api/invocations", "limit=3").document["invocations"]) == 3


def test_after_leaves_out_what_is_known() -> None:
    known = WORLD.log.latest(10)[-1]
    query = f"after={quote(instant(known.timestamp))}"
    documents = BROWSER.get("/api/invocations", query).document["invocations"]
    assert known.invocation_id not in {document["invocation_id"] for document in documents[:-1]}
    assert len(documents) in (9, 10)  # the last may share the millisecond that `after` was cut to


def test_a_functions_records_are_found_among_the_others() -> None:
    wanted = [record.invocation_id for record in WORLD.log.latest(500) if record.request.function_name == "pixels"][:2]
    documents = BROWSER.get("/api/invocations", "function=pixels&limit=2").document["invocations"]
    assert [document["invocation_id"] for document in documents] == wanted


def test_a_function_without_records_has_an_empty_list() -> None:
    assert BROWSER.get("/api/invocations", "function=never-heard-of").document == {"invocations": []}


def test_endpoints_say_nothing_of_breakers_that_live_elsewhere() -> None:
    document = BROWSER.get("/api/endpoints").document
    assert document["snapshot_version"] == 3
    assert len(document["endpoints"]) == 16
    assert not any("breaker" in name for endpoint in document["endpoints"] for name in endpoint)


def test_everything_is_empty_while_nothing_was_written() -> None:
    browser = Browser(app=app.create(World().sources, stage="local"))
    assert browser.get("/api/endpoints").document == {"snapshot_version": None, "endpoints": []}
    assert browser.get("/api/invocations").document == {"invocations": []}
    assert browser.get("/api/reports/retraining").document == {"runs": []}


def test_retraining_runs_come_newest_first() -> None:
    runs = BROWSER.get("/api/reports/retraining").document["runs"]
    assert [run["promoted"] for run in runs] == [True, False]


@pytest.mark.parametrize(
    ("path", "rows", "schema"),
    [
        ("/api/invocations", "invocations", "Record"),
        ("/api/endpoints", "endpoints", "Endpoint"),
        ("/api/reports/retraining", "runs", "RetrainingRun"),
        ("/api/diagnosis", "functions", "DiagnosedFunction"),
    ],
)
def test_answers_have_the_fields_that_are_described_and_no_others(path: str, rows: str, schema: str) -> None:
    documents = BROWSER.get(path).document[rows]
    assert documents
    for document in documents:
        assert set(SCHEMAS[schema]["required"]) <= set(document) <= set(SCHEMAS[schema]["properties"])
    assert set.union(*map(set, documents)) == set(SCHEMAS[schema]["properties"])


def test_every_path_of_the_api_is_described() -> None:
    rules = {rule.rule for rule in BROWSER.app.url_map.iter_rules() if rule.endpoint.startswith("api.")}
    described = {path for path in DESCRIPTION["paths"] if path.startswith("/api/")}
    named = {rule.replace("<", "{").replace(">", "}") for rule in rules - {"/api/", "/api/<path:path>"}}
    assert described == named
