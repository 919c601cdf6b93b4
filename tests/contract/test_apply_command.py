"""`fiso apply` and `fiso policy` as typed, against a genuine PostgreSQL; the bucket is away."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_url
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Authentication, FunctionName
from fiso.domain.policy import Mode, Pin, Policy
from fiso.services.maintenance.switch import pinned_to
from fiso_cli.catalog.change import change_policy, rolled_back
from fiso_cli.local_stage import DATABASE
from fiso_cli.main import app
from fiso_cli.migrations.runner import migrate, migrations, pending
from tests.contract import catalog_entries, postgres_server

FILE = """
version: 1
functions:
  bfs:
    type: graph
    endpoints: [{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}]
"""
NOTES = [
    "migration 0001_catalog",
    "migration 0002_policy_objectives",
    "migration 0003_hedging",
    "migration 0004_policy_document",
    "migration 0005_prices",
    "migration 0006_readers",
    "migration 0007_entra",
    "migration 0008_stage_rules",
]
AWS = replace(catalog_entries.AWS, authentication=Authentication.IAM)
PINNED = CatalogEntry(
    name=FunctionName("bfs"),
    function_type="graph",
    endpoints=(AWS,),
    policy=Policy(version=0, mode=Mode.PIN, pinned=AWS.id),
)


@pytest.fixture
def database(server: str) -> str:
    return postgres_server.new_database(server, DATABASE)


@pytest.fixture
def environ(database: str, tmp_path: Path) -> Mapping[str, str]:
    """A local cloud whose database is the test's and whose other ports are closed."""
    password = tmp_path / "postgres" / "password"
    password.parent.mkdir()
    password.write_text("any")
    port = urlsplit(database).port or 0
    return {"FISO_LOCAL_DIR": str(tmp_path), "FISO_LOCAL_PORT": str(port - 6)}


@pytest.fixture
def store(database: str) -> PostgresCatalogStore:
    """At the newest schema, without any catalog."""
    connect = connect_from_url(database, is_local=True)
    migrate(connect)
    return PostgresCatalogStore(connect)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fiso.yaml"
    path.write_text(FILE)
    return path


def run(environ: Mapping[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=dict(environ))


def test_the_difference_is_shown_and_pins_are_kept(environ: Mapping[str, str], database: str, file: Path) -> None:
    store = PostgresCatalogStore(connect_from_url(database, is_local=True))

    before_anything = run(environ, "apply", "-f", str(file), "--dry-run", "--json")
    assert before_anything.exit_code == 0
    document = json.loads(before_anything.stdout)
    assert [change["path"] for change in document["changes"]] == ["", "endpoints.aws"]
    assert (document["based_on"], document["written"], document["notes"]) == (0, False, NOTES)

    unasked = run(environ, "apply", "-f", str(file))
    assert unasked.exit_code == 1
    assert "pass --yes" in unasked.stderr
    assert store.load().version == 0

    store.replace([PINNED], based_on=0, author="tester")
    lifting = run(environ, "apply", "-f", str(file), "--yes")
    assert lifting.exit_code == 1
    assert "bfs: pinned now" in lifting.stderr
    assert store.load().entries[PINNED.name].policy.mode is Mode.PIN


def test_functions_are_removed_only_where_that_is_allowed(
    environ: Mapping[str, str], store: PostgresCatalogStore, file: Path
) -> None:
    others = [replace(PINNED, name=FunctionName(name), policy=Policy(version=0)) for name in ("bfs", "text", "sort")]
    store.replace(others, based_on=0, author="tester")
    shown = run(environ, "apply", "-f", str(file), "--dry-run")
    assert "2 functions removed" in shown.stdout
    refused = run(environ, "apply", "-f", str(file), "--yes")
    assert refused.stderr.startswith("error: the file does not name sort, text: ")
    allowed = run(environ, "apply", "-f", str(file), "--yes", "--allow-removals")
    assert "is the local cloud up?" in allowed.stderr  # allowed, and the bucket is away


def test_what_is_exported_is_in_force_and_applying_it_changes_nothing(
    environ: Mapping[str, str], store: PostgresCatalogStore, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    over = replace(PINNED.policy, pin=Pin(by="ada", at=now - timedelta(hours=2), until=now - timedelta(hours=1)))
    held = replace(PINNED.policy, pin=Pin(by="ada", at=now, reason="gcp is slow", until=now + timedelta(hours=1)))
    policies = {"over": over, "held": held, "plain": Policy(version=0, residency=frozenset({"us-east-1"}))}
    entries = [replace(PINNED, name=FunctionName(name), policy=policy) for name, policy in policies.items()]
    store.replace(entries, based_on=0, author="tester")
    file = tmp_path / "exported.yaml"
    file.write_text(run(environ, "export").stdout)
    planned = json.loads(run(environ, "apply", "-f", str(file), "--dry-run", "--json").stdout)
    assert (planned["changes"], planned["removals"]) == ([], [])
    policies_in_file = {name: function.get("policy") for name, function in functions_of(environ).items()}
    assert policies_in_file == {"over": None, "held": {"mode": "pin:aws"}, "plain": {"residency": ["us-east-1"]}}


def functions_of(environ: Mapping[str, str]) -> Mapping[str, Any]:
    functions: Mapping[str, Any] = json.loads(run(environ, "export", "--json").stdout)["functions"]
    return functions


def test_a_policy_has_a_history_and_goes_back(environ: Mapping[str, str], store: PostgresCatalogStore) -> None:
    patient = replace(PINNED, policy=Policy(version=0, timeout_ms=9_000))
    store.replace([patient], based_on=0, author="ada")
    store.replace([replace(patient, policy=replace(patient.policy, hedging=0))], based_on=1, author="bob")
    changed = json.loads(run(environ, "policy", "history", "bfs", "--json").stdout)
    assert [(row["version"], row["author"]) for row in changed["versions"]] == [(2, "bob"), (1, "ada")]
    different = json.loads(run(environ, "policy", "diff", "bfs", "1", "--json").stdout)
    assert [(each["path"], each["before"], each["after"]) for each in different["changes"]] == [
        ("policy.hedging", 0.05, 0.0)
    ]
    back, now = rolled_back(store.load(1).entries[PINNED.name]), datetime.now(UTC)
    change_policy("bfs", back, store, lambda: 9, author="ada", now=now)
    newest = store.load()
    assert (newest.version, newest.entries[PINNED.name].policy) == (3, replace(patient.policy, version=3))
    assert "no version 9" in run(environ, "policy", "rollback", "bfs", "9").stderr


def test_a_pin_says_who_why_and_until_when(environ: Mapping[str, str], store: PostgresCatalogStore) -> None:
    store.replace([replace(PINNED, policy=Policy(version=0))], based_on=0, author="tester")
    asked = ("policy", "pin", "bfs", "aws", "--reason", "gcp is slow", "--no-wait")
    assert "as in 30m" in run(environ, *asked, "--for", "soon").stderr
    assert "is the local cloud up?" in run(environ, *asked, "--for", "1h").stderr
    now = datetime.now(UTC)
    pin = Pin(by="ada", at=now, reason="gcp is slow", until=now + timedelta(hours=1))
    change_policy("bfs", pinned_to("aws", pin), store, lambda: 9, author="ada", now=now)
    shown = " ".join(run(environ, "policy", "show", "bfs").stdout.split())
    assert f"by ada at {now.isoformat()}: gcp is slow, until " in shown


def test_the_policy_in_force_is_shown(environ: Mapping[str, str], store: PostgresCatalogStore) -> None:
    store.replace([PINNED], based_on=0, author="tester")
    shown = run(environ, "policy", "show", "bfs", "--json")
    assert json.loads(shown.stdout)["policy"]["pinned"] == "aws"
    assert "policy, changed in version 1" in run(environ, "policy", "show", "bfs").stdout
    unknown = run(environ, "policy", "show", "nope")
    assert unknown.exit_code == 1
    assert unknown.stderr == "error: no function 'nope' in catalog version 1\n"


def test_the_kill_switch_brings_an_older_database_up_to_date(environ: Mapping[str, str], database: str) -> None:
    connect = connect_from_url(database, is_local=True)
    migrate(connect, migrations()[:1])
    run(environ, "policy", "pin", "plain", "aws")
    assert pending(connect) == []


def test_without_a_bucket_the_failure_is_one_line_with_the_way_out(environ: Mapping[str, str], file: Path) -> None:
    failed = run(environ, "apply", "-f", str(file), "--yes")
    assert failed.exit_code == 1
    assert "is the local cloud up? (fiso local up)" in failed.stderr
    assert failed.stderr.count("\n") == 1
