"""A catalog moves from one genuine PostgreSQL to another: copied while it changes, cut over, killed anywhere."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2.extensions import cursor
from typer.testing import CliRunner, Result

from fiso.adapters.postgres.catalog import Connect, PostgresCatalogStore, connect_from_url
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso_cli.database import copying, cutover, fence
from fiso_cli.database.copying import Database
from fiso_cli.database.fence import Standing
from fiso_cli.errors import CommandError
from fiso_cli.keeper_database import TABLES
from fiso_cli.local_stage import DATABASE
from fiso_cli.main import app
from fiso_cli.migrations.runner import migrate, migrations
from tests.contract import catalog_entries, postgres_server

ENTRIES = (catalog_entries.PLAIN, catalog_entries.PRICED)


@pytest.fixture(scope="module")
def newer_server() -> Iterator[str]:
    with postgres_server.running(postgres_server.NEWER_BINARIES) as url:
        yield url


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISO_POSTGRES_BIN", str(postgres_server.NEWER_BINARIES))


def database(url: str, name: str = "FISO_DATABASE_URL") -> Database:
    return Database(name=name, url=url, connect=connect_from_url(url, is_local=True))


@pytest.fixture
def source(server: str) -> Database:
    """With three versions."""
    found = database(postgres_server.new_database(server))
    migrate(found.connect)
    for _ in range(3):
        changed(found)
    return found


@pytest.fixture
def target(newer_server: str) -> Database:
    return database(postgres_server.new_database(newer_server), "FISO_NEW_DATABASE_URL")


def changed(where: Database) -> int:
    """One more version."""
    store = PostgresCatalogStore(where.connect)
    return store.replace(ENTRIES, based_on=store.load().version, author="änne 'x'").version


def sums_of(where: Database) -> Mapping[str, copying.Sum]:
    with where.transaction() as rows:
        return copying.sums(rows)


def ask(where: Database, statement: str) -> list[Any]:
    with closing(where.connect()) as opened, opened, opened.cursor() as rows:
        rows.execute(statement)
        return rows.fetchall() if rows.description else []


def states(*databases: Database) -> list[Standing]:
    return [cutover.standing(each).standing for each in databases]


def copied(source: Database, target: Database) -> None:
    copying.copy_whole(source, target)


def silent(_: str) -> None:
    pass


def test_a_copy_is_the_same_and_follows_and_takes_no_changes(source: Database, target: Database) -> None:
    copying.copy_whole(source, target)
    assert sums_of(target) == sums_of(source)
    assert PostgresCatalogStore(target.connect).load() == PostgresCatalogStore(source.connect).load()
    with pytest.raises(StoreUnavailable, match=r"is a copy of 127.0.0.1:\d+/test_.* not in force: fiso db cutover"):
        changed(target)
    changed(source)
    changed(source)
    assert copying.follow(source, target) == 2
    assert copying.follow(source, target) == 0
    assert sums_of(target) == sums_of(source)


def test_a_catalog_that_moved_says_where_to_whoever_writes(source: Database, target: Database) -> None:
    copied(source, target)
    changed(source)
    done = cutover.cut_over(source, target, silent)
    assert done is not None
    assert (done.version, done.carried) == (4, 0)
    moved = rf"moved to {target.shown}: let FISO_DATABASE_URL lead there"
    with pytest.raises(StoreUnavailable, match=moved):
        changed(source)
    for statement in (
        "DELETE FROM policies",
        "UPDATE catalog_versions SET author = 'x'",
        "TRUNCATE endpoints CASCADE",
        "SET session_replication_role = replica; DELETE FROM policies",
        "INSERT INTO schema_migrations (number, name, sha256) VALUES (99, 'x', 'x')",
    ):
        with pytest.raises(psycopg2.Error, match=moved):
            ask(source, statement)
    assert changed(target) == 5
    assert cutover.cut_over(source, target, silent) is None
    assert states(source, target) == [Standing.MOVED, Standing.IN_FORCE]


def test_the_way_back_brings_what_changed_meanwhile_and_can_be_gone_again(source: Database, target: Database) -> None:
    copied(source, target)
    for away, home in ((source, target), (target, source), (source, target)):
        assert cutover.cut_over(away, home, silent) is not None
        changed(home)
        assert states(away, home) == [Standing.MOVED, Standing.IN_FORCE]
    assert PostgresCatalogStore(target.connect).load().version == 6
    third = database(postgres_server.new_database(target.url))
    copying.copy_whole(target, third)
    assert sums_of(third) == sums_of(target)


def test_no_change_is_lost_while_many_write(source: Database, target: Database) -> None:
    """Each writer goes on with the other database once the first one says that it moved."""
    copied(source, target)
    written: list[int] = []
    enough, is_cut = threading.Event(), threading.Event()

    def write() -> None:
        where, after = source, 0
        while after < 10:
            try:
                written.append(changed(where))
            except WriteConflict:
                continue
            except StoreUnavailable as error:
                if "moved" not in str(error) and "not in force" not in str(error):
                    raise
                where = target
            after += is_cut.is_set()
            if len(written) > 20:
                enough.set()

    writers = [threading.Thread(target=write) for _ in range(3)]
    for each in writers:
        each.start()
    enough.wait(60)
    cutover.cut_over(source, target, silent)
    is_cut.set()
    for each in writers:
        each.join(60)
    in_target = [version for (version,) in ask(target, "SELECT version FROM catalog_versions ORDER BY version")]
    assert in_target == list(range(1, len(in_target) + 1))
    assert sorted(written) == in_target[3:]
    assert all(count == 2 for (count,) in ask(target, "SELECT count(*) FROM functions GROUP BY version"))


class Killed(BaseException):
    """The process ends here: nobody handles it."""


def counted(where: Database, left: list[int]) -> Database:
    """The same, whose process is killed when so many statements have been sent."""

    class Counting(cursor):
        def execute(self, *arguments: Any) -> None:
            self._count()
            super().execute(*arguments)

        def copy_expert(self, *arguments: Any, **options: Any) -> None:
            self._count()
            super().copy_expert(*arguments, **options)

        def _count(self) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

    def connect() -> Any:
        opened = where.connect()
        opened.cursor_factory = Counting
        return opened

    return replace(where, connect=connect)


def test_killed_at_any_statement_the_same_command_comes_to_the_same_end(source: Database, target: Database) -> None:
    copied(source, target)
    home, away = source, target
    for statements in range(0, 400, 11):
        changed(home)
        left = [statements]
        try:
            cutover.cut_over(counted(home, left), counted(away, left), silent)
            is_done = True
        except Killed:
            is_done = False
        assert states(home, away).count(Standing.IN_FORCE) <= 1
        cutover.cut_over(home, away, silent)
        assert states(home, away) == [Standing.MOVED, Standing.IN_FORCE]
        assert sums_of(home) == sums_of(away)
        if is_done:
            break
        home, away = away, home
    assert is_done
    assert statements > 60


def test_a_cutover_that_ended_half_way_can_be_taken_back(source: Database, target: Database) -> None:
    copied(source, target)
    with source.transaction() as rows:
        fence.close(rows, Standing.MOVED, target.shown)
    cutover.undo(source, target)
    changed(source)
    cutover.cut_over(source, target, silent)
    with pytest.raises(CommandError, match="the way back is a cutover in the other direction"):
        cutover.undo(source, target)


def test_of_an_undo_and_a_cutover_at_once_one_comes_about(source: Database, target: Database) -> None:
    copied(source, target)
    with source.transaction() as rows:
        fence.close(rows, Standing.MOVED, target.shown)
    begun = threading.Barrier(2)

    def tried(step: Any) -> None:
        begun.wait()
        with suppress(CommandError):
            step()

    both = [lambda: cutover.undo(source, target), lambda: cutover.cut_over(source, target, silent)]
    threads = [threading.Thread(target=tried, args=(step,)) for step in both]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert states(source, target) in (
        [Standing.IN_FORCE, Standing.COPY],
        [Standing.MOVED, Standing.COPY],
        [Standing.MOVED, Standing.IN_FORCE],
    )


def test_a_copy_killed_half_way_is_made_anew(source: Database, target: Database) -> None:
    with target.transaction() as rows:
        fence.prepare(rows, source.shown)
    assert states(target) == [Standing.EMPTY]
    copying.copy_whole(source, target)
    copying.drop(target)
    copying.drop(target)
    assert states(target) == [Standing.EMPTY]
    copying.copy_whole(source, target)
    assert sums_of(target) == sums_of(source)


def test_what_a_killed_copy_left_at_work_is_said_and_ended(source: Database, target: Database) -> None:
    left = psycopg2.connect(target.url, application_name="fiso-copy")
    with pytest.raises(CommandError, match=r"is at work since .* UTC, or was left by one that was killed: wait"):
        copying.copy_whole(source, target)
    copying.drop(target)
    with pytest.raises(psycopg2.OperationalError), closing(left), left.cursor() as rows:
        rows.execute("SELECT 1")
    copying.copy_whole(source, target)
    assert sums_of(target) == sums_of(source)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM policies WHERE version = 2",
        "UPDATE catalog_versions SET author = 'else' WHERE version = 1",
        "UPDATE policies SET policy = policy || '{\"hedging\": 0.11}' WHERE version = 3",
        "UPDATE catalog_versions SET changed_at = changed_at + interval '1 microsecond' WHERE version = 2",
    ],
)
def test_one_value_that_differs_stops_the_cutover(source: Database, target: Database, statement: str) -> None:
    copied(source, target)
    ask(target, f"SET fiso.copies = 'yes'; {statement}")
    with pytest.raises(CommandError, match="not the same; once more from the start: --again"):
        cutover.cut_over(source, target, silent)
    assert states(source, target) == [Standing.IN_FORCE, Standing.COPY]
    assert changed(source) == 4


def test_a_migration_since_the_copy_wants_another_copy(source: Database, target: Database) -> None:
    copied(source, target)
    ask(source, "ALTER TABLE endpoints ADD COLUMN later text")
    with pytest.raises(CommandError, match="endpoints has other columns in the copy"):
        cutover.cut_over(source, target, silent)
    assert changed(source) == 4


def test_a_target_that_cannot_be_switched_leaves_the_source_open(source: Database, target: Database) -> None:
    copied(source, target)

    def away() -> Any:
        raise psycopg2.OperationalError("no route to host")

    calls = iter([target.connect] * 2)
    late = replace(target, connect=lambda: next(calls, away)())
    with pytest.raises(CommandError, match="no route to host"):
        cutover.cut_over(source, late, silent)
    cutover.undo(source, target)
    assert changed(source) == 4


def test_readers_in_any_order_are_not_held_up(source: Database, target: Database) -> None:
    copied(source, target)
    with closing(source.connect()) as reading, reading.cursor() as rows:
        for table in reversed(TABLES):
            rows.execute(f"SELECT count(*) FROM {table}")
        cutover.cut_over(source, target, silent)
        rows.execute("SELECT count(*) FROM policies")
    assert PostgresCatalogStore(source.connect).load().version == 3


def test_without_the_rights_of_a_superuser(source: Database, target: Database) -> None:
    """As managed servers have it: owners differ, default privileges name others, extensions are not ours."""
    ask(source, "COMMENT ON EXTENSION plpgsql IS 'changed by somebody'")
    ask(source, "GRANT SELECT ON policies TO fiso_reader")
    ask(source, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO fiso_reader")
    name = target.url.rpartition("/")[2]
    ask(target, f"CREATE ROLE owner_{name} LOGIN; ALTER DATABASE {name} OWNER TO owner_{name}")
    managed = database(target.url.replace("fiso@", f"owner_{name}@"))
    copied(source, managed)
    cutover.cut_over(source, managed, silent)
    changed(managed)
    cutover.cut_over(managed, source, silent)
    assert sums_of(source) == sums_of(managed)
    ask(source, "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM fiso_reader")


def test_newer_programs_restore_into_an_older_server(source: Database, server: str) -> None:
    """They set `transaction_timeout`, which servers before 17 refuse."""
    older = database(postgres_server.new_database(server))
    copied(source, older)
    assert sums_of(older) == sums_of(source)


@pytest.mark.parametrize("ends", ["exit 1", "kill -9 $$"])
def test_a_dump_that_breaks_off_leaves_nothing(
    source: Database, target: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: str
) -> None:
    """In the middle of a table's rows, where an end of the script would be taken for the end of the rows."""
    real = postgres_server.NEWER_BINARIES
    (tmp_path / "psql").symlink_to(real / "psql")
    broken = tmp_path / "pg_dump"
    broken.write_text(f'#!/bin/sh\n"{real}/pg_dump" "$@" | sed "/^COPY public.policies/q"\n{ends}\n')
    broken.chmod(0o700)
    monkeypatch.setenv("FISO_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(CommandError, match="nothing was copied"):
        copied(source, target)
    assert states(target) == [Standing.EMPTY]


def test_a_table_of_somebody_else_stays_where_it_is(source: Database, target: Database) -> None:
    ask(source, "CREATE TABLE theirs (x int)")
    ask(target, "CREATE TABLE theirs (y int)")
    copied(source, target)
    copying.drop(target)
    assert ask(target, "SELECT attname FROM pg_attribute WHERE attrelid = 'theirs'::regclass AND attnum > 0") == [
        ("y",)
    ]


class TestRefusals:
    def test_an_older_target(self, source: Database, target: Database) -> None:
        with pytest.raises(CommandError, match=r"is PostgreSQL 18, .* is 16: .* take a target of the same version"):
            copying.refuse_older(target, source)

    def test_one_database_by_two_names(self, source: Database) -> None:
        other = database(source.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(CommandError, match="lead to the same database"):
            copying.refuse_unlike(source, other)

    def test_two_databases_of_one_server(self, source: Database, server: str) -> None:
        copying.refuse_unlike(source, database(postgres_server.new_database(server)))

    def test_another_encoding(self, source: Database, newer_server: str) -> None:
        other = database(postgres_server.new_database(newer_server, encoding="SQL_ASCII"))
        with pytest.raises(CommandError, match=r"is in UTF8, .* in SQL_ASCII"):
            copying.refuse_unlike(source, other)

    def test_a_target_with_a_table_in_the_way(self, source: Database, target: Database) -> None:
        ask(target, "CREATE TABLE policies (x int)")
        with pytest.raises(CommandError, match=r"psql failed, nothing was copied: .*already exists"):
            copied(source, target)
        assert states(source, target) == [Standing.IN_FORCE, Standing.EMPTY]

    def test_programs_that_are_not_there(
        self, source: Database, target: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("FISO_POSTGRES_BIN", str(tmp_path))
        with pytest.raises(CommandError, match=r"pg_dump is not in .*: install PostgreSQL's client programs"):
            copied(source, target)

    def test_programs_older_than_the_source(
        self, target: Database, newer_server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = database(postgres_server.new_database(newer_server))
        migrate(source.connect)
        monkeypatch.setenv("FISO_POSTGRES_BIN", str(postgres_server.BINARIES))
        with pytest.raises(CommandError, match=r"pg_dump failed, nothing was copied: .*server version mismatch"):
            copied(source, target)


class TestCommands:
    @pytest.fixture
    def environ(self, server: str, tmp_path: Path, target: Database) -> Mapping[str, str]:
        """A local cloud whose database is the test's and whose other ports are closed."""
        url = postgres_server.new_database(server, DATABASE)
        (tmp_path / "postgres").mkdir()
        (tmp_path / "postgres" / "password").write_text("any")
        port = (urlsplit(url).port or 0) - 6
        return {
            "FISO_LOCAL_DIR": str(tmp_path),
            "FISO_LOCAL_PORT": str(port),
            "FISO_NEW_DATABASE_URL": target.url.replace("fiso@", "fiso:s3cret@"),
        }

    def test_from_one_to_the_other_and_back(self, environ: Mapping[str, str], server: str) -> None:
        def run(*words: str, fails: int = 0) -> Any:
            result = typed(environ, "db", *words, "--json")
            assert result.exit_code == fails, result.output
            assert "s3cret" not in result.output
            return json.loads(result.stdout) if result.stdout else result.stderr

        assert len(run("migrate", "--plan")["missing"]) == len(run("migrate")["applied"]) == len(migrations())
        assert run("migrate")["applied"] == []
        here = database(server.rpartition("/")[0] + f"/{DATABASE}")
        changed(here)
        copied = run("copy")
        assert (copied["version"], copied["carried"], copied["differences"]) == (1, 0, [])
        changed(here)
        assert run("verify")["ahead"] == 1
        assert run("copy")["carried"] == 1
        assert run("copy", "--again")["version"] == 2
        cut = run("cutover", "--yes")
        assert (cut["version"], cut["moved_from"]) == (2, here.shown)
        assert "moved" in run("copy", fails=1)
        assert run("cutover", "--back", "--yes")["in_force"] == here.shown
        assert run("verify")["rows"] == copied["rows"] + 8

    def test_what_is_missing_is_said_in_a_line(self, environ: Mapping[str, str]) -> None:
        without = {name: value for name, value in environ.items() if name != "FISO_NEW_DATABASE_URL"}
        for words, code, says in (
            ((without, "db", "copy"), 2, "FISO_NEW_DATABASE_URL is not set"),
            ((environ, "db", "copy"), 1, "there is nothing to copy"),
            (({**environ, "FISO_NEW_DATABASE_URL": "postgresql://["}, "db", "verify"), 1, "URL does not parse"),
            (({**environ, "FISO_NEW_DATABASE_URL": "postgresql://h.example/x"}, "db", "copy"), 1, "on this machine"),
        ):
            result = typed(*words)
            assert (result.exit_code, says in result.output) == (code, True), result.output
            assert "Traceback" not in result.output


def typed(environ: Mapping[str, str], *words: str) -> Result:
    return CliRunner().invoke(app, list(words), env=dict(environ))


def test_sums_tell_every_column_apart(connect: Connect, url: str) -> None:
    where = database(url)
    changed(where)
    before = sums_of(where)
    ask(where, "UPDATE endpoints SET region = 'eu-west-1' WHERE id = 'aws'")
    after = sums_of(where)
    assert [table for table in before if before[table] != after[table]] == ["endpoints"]
    assert copying.differences(before, after) == ["endpoints: 3 rows here, 3 there, with other values"]
