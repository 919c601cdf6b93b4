"""`fiso apply` and `fiso policy` as typed, against a genuine PostgreSQL; the bucket is away."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer
from typer.testing import CliRunner, Result

from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_url
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.policy import Mode, Policy
from fiso_cli.catalog.commands import apply, policy_commands
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import DATABASE
from fiso_cli.migrations.runner import migrate, migrations, pending
from tests.contract import postgres_server

FILE = """
version: 1
functions:
  bfs:
    type: graph
    endpoints: [{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}]
"""
AWS = Endpoint(id=EndpointId("aws"), provider=Provider.AWS, region="us-east-1", memory_mb=512, address="fn")
NOTES = [
    "migration 0001_catalog",
    "migration 0002_policy_objectives",
    "migration 0003_hedging",
    "migration 0004_policy_document",
]
PINNED = CatalogEntry(
    name=FunctionName("bfs"),
    function_type="graph",
    endpoints=(AWS,),
    policy=Policy(version=0, mode=Mode.PIN, pinned=AWS.id),
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server.running() as url:
        yield url


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


def run(environ: Mapping[str, str], *arguments: str) -> Result:
    app = typer.Typer()
    app.command("apply")(apply)
    app.add_typer(policy_commands)
    return CliRunner().invoke(app, list(arguments), env=dict(environ))


def test_the_difference_is_shown_and_pins_are_kept(environ: Mapping[str, str], database: str, tmp_path: Path) -> None:
    file = tmp_path / "fiso.yaml"
    file.write_text(FILE)
    store = PostgresCatalogStore(connect_from_url(database, is_local=True))

    before_anything = run(environ, "apply", "-f", str(file), "--dry-run", "--json")
    assert before_anything.exit_code == 0
    document = json.loads(before_anything.stdout)
    assert [change["path"] for change in document["changes"]] == ["", "endpoints.aws"]
    assert (document["based_on"], document["written"], document["notes"]) == (0, False, NOTES)

    unasked = run(environ, "apply", "-f", str(file))
    assert isinstance(unasked.exception, CommandError)
    assert "pass --yes" in str(unasked.exception)
    assert store.load().version == 0

    store.replace([PINNED], based_on=0, author="tester")
    lifting = run(environ, "apply", "-f", str(file), "--yes")
    assert isinstance(lifting.exception, CommandError)
    assert "bfs: pinned now" in str(lifting.exception)
    assert store.load().entries[PINNED.name].policy.mode is Mode.PIN


def test_the_policy_in_force_is_shown(environ: Mapping[str, str], database: str) -> None:
    connect = connect_from_url(database, is_local=True)
    migrate(connect)
    PostgresCatalogStore(connect).replace([PINNED], based_on=0, author="tester")
    shown = run(environ, "policy", "show", "bfs", "--json")
    assert json.loads(shown.stdout)["policy"]["pinned"] == "aws"
    assert "policy, changed in version 1" in run(environ, "policy", "show", "bfs").stdout
    unknown = run(environ, "policy", "show", "nope")
    assert isinstance(unknown.exception, CommandError)
    assert str(unknown.exception) == "no function 'nope' in catalog version 1"


def test_the_kill_switch_brings_an_older_database_up_to_date(environ: Mapping[str, str], database: str) -> None:
    connect = connect_from_url(database, is_local=True)
    migrate(connect, migrations()[:1])
    run(environ, "policy", "pin", "plain", "aws")
    assert pending(connect) == []


def test_without_a_bucket_the_failure_is_one_line_with_the_way_out(environ: Mapping[str, str], tmp_path: Path) -> None:
    file = tmp_path / "fiso.yaml"
    file.write_text(FILE)
    failed = run(environ, "apply", "-f", str(file), "--yes")
    assert isinstance(failed.exception, CommandError)
    assert "is the local cloud up? (fiso local up)" in str(failed.exception)
    assert "\n" not in str(failed.exception)
