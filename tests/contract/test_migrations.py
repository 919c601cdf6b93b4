"""The migrations and their runner on a genuine PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fiso.adapters.postgres.catalog import Connect, connect_from_url
from fiso_cli.errors import CommandError
from fiso_cli.migrations.runner import Migration, migrate, migrations, pending

FIRST = Migration(number=1, name="0001_first", sql="CREATE TABLE first (x integer)")
SECOND = Migration(number=2, name="0002_second", sql="CREATE TABLE second (x integer)")


@pytest.fixture
def connect(url: str) -> Connect:
    """To an empty database."""
    return connect_from_url(url, is_local=True)


def tables(connect: Connect) -> set[str]:
    with closing(connect()) as opened, opened.cursor() as rows:
        rows.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in rows.fetchall()}


def test_the_files_bring_an_empty_database_to_the_newest_schema(connect: Connect) -> None:
    assert pending(connect) == migrations()
    assert migrate(connect) == migrations()
    assert tables(connect) == {"schema_migrations", "catalog_versions", "functions", "endpoints", "policies"}
    assert pending(connect) == []


def test_what_ran_does_not_run_again(connect: Connect) -> None:
    migrate(connect, [FIRST])
    assert migrate(connect, [FIRST, SECOND]) == [SECOND]
    assert migrate(connect, [FIRST, SECOND]) == []


def test_of_several_at_once_each_step_runs_once(connect: Connect) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrate(connect, [FIRST, SECOND]), range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, 2]


def test_a_failing_step_leaves_nothing_of_itself(connect: Connect) -> None:
    broken = replace(SECOND, sql="CREATE TABLE second (x integer); SELECT 1 / 0")
    with pytest.raises(CommandError, match="division by zero"):
        migrate(connect, [FIRST, broken])
    assert tables(connect) == {"schema_migrations", "first"}
    assert migrate(connect, [FIRST, SECOND]) == [SECOND]


def test_a_file_changed_after_it_ran_is_refused(connect: Connect) -> None:
    migrate(connect, [FIRST])
    with pytest.raises(CommandError, match="0001_first was changed after it ran"):
        migrate(connect, [replace(FIRST, sql="CREATE TABLE other (x integer)"), SECOND])
    assert tables(connect) == {"schema_migrations", "first"}


def test_a_database_from_the_future_is_refused(connect: Connect) -> None:
    migrate(connect, [FIRST, SECOND])
    with pytest.raises(CommandError, match="0002_second, which this fiso does not know"):
        migrate(connect, [FIRST])


def test_a_server_that_is_away_is_told_in_one_line() -> None:
    with pytest.raises(CommandError, match="cannot be reached"):
        migrate(connect_from_url("postgresql://fiso@127.0.0.1:1/fiso", is_local=True))


def test_numbers_leave_no_gap(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0003_c.sql").write_text("SELECT 1")
    with pytest.raises(CommandError, match="without gaps"):
        migrations(tmp_path)
