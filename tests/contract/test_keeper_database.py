"""The keeper's own role in a genuine PostgreSQL: it reads the catalog, and that is all it can do."""

from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import errors

from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_url
from fiso_cli import keeper_database
from fiso_cli.errors import CommandError
from fiso_cli.migrations.runner import migrate
from tests.builders import an_entry

ROLE = keeper_database.role_of("eu-1")
FORBIDDEN = {
    "write a version": "INSERT INTO catalog_versions (version, author) VALUES (9, 'x')",
    "change a policy": "UPDATE policies SET policy_version = 1",
    "delete a function": "DELETE FROM functions",
    "empty a table": "TRUNCATE endpoints",
    "drop a table": "DROP TABLE policies",
    "read what else there is": "SELECT * FROM secrets",
    "read the ledger": "SELECT * FROM schema_migrations",
    "make a table": "CREATE TABLE mine (x integer)",
    "make a role": "CREATE ROLE other LOGIN",
    "become the owner": "SET ROLE fiso",
    "read a file": "SELECT pg_read_file('/etc/passwd')",
    "run a program": "COPY catalog_versions TO PROGRAM 'true'",
    "read passwords": "SELECT rolpassword FROM pg_authid",
}


@pytest.fixture
def keepers(url: str) -> str:
    """The keeper's URL to a database with one catalog version, and with somebody else's table."""
    connect = connect_from_url(url, is_local=True)
    migrate(connect)
    PostgresCatalogStore(connect).replace([an_entry()], based_on=0, author="ada")
    with closing(psycopg2.connect(url)) as opened, opened, opened.cursor() as rows:
        rows.execute("CREATE TABLE secrets (x integer)")
    for _ in range(2):
        keeper_database.make(connect, ROLE, "p@ss/word")
    return keeper_database.reached_as(url, ROLE, "p@ss/word")


def test_it_reads_the_catalog(keepers: str) -> None:
    found = PostgresCatalogStore(connect_from_url(keepers, is_local=True)).load()
    assert (found.version, [*found.entries]) == (1, ["word-count"])


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_it_may_do_nothing_else(keepers: str, statement: str) -> None:
    with closing(psycopg2.connect(keepers)) as opened, opened, opened.cursor() as rows:
        rows.execute("SET default_transaction_read_only = off")
        opened.commit()
        with pytest.raises(errors.InsufficientPrivilege):
            rows.execute(statement)


def test_it_does_not_write_even_where_it_might(keepers: str) -> None:
    with (
        closing(psycopg2.connect(keepers)) as opened,
        opened.cursor() as rows,
        pytest.raises(errors.ReadOnlySqlTransaction),
    ):
        rows.execute("CREATE TEMP TABLE mine (x integer)")


def test_the_server_is_shown_a_verifier_and_never_the_password(url: str, keepers: str) -> None:
    assert urlsplit(keepers).password == "p%40ss%2Fword"
    with closing(psycopg2.connect(url)) as opened, opened.cursor() as rows:
        rows.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (ROLE,))
        assert str(rows.fetchone()).startswith("('SCRAM-SHA-256$")


def test_who_may_make_no_roles_is_told_in_one_line_and_can_still_migrate(url: str) -> None:
    with closing(psycopg2.connect(url)) as opened, opened, opened.cursor() as rows:
        rows.execute("DROP ROLE IF EXISTS plain")
        rows.execute("CREATE ROLE plain LOGIN; GRANT CREATE ON SCHEMA public TO plain")
    plain = connect_from_url(keeper_database.reached_as(url, "plain", "x"), is_local=True)
    assert migrate(plain)
    with pytest.raises(CommandError, match=r"^role fiso_keeper_other could not be made: permission denied.*$"):
        keeper_database.make(plain, "fiso_keeper_other", "x")
