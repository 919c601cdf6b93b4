"""Copying a catalog from one PostgreSQL to another, and proving that it is the same.

Versions are only ever added, so a copy is made once, whole, and then follows: what is newer is carried over. Whole is
`pg_dump` by an exported snapshot into `psql` in one transaction; then counts and checksums of every table.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection, cursor, parse_dsn
from psycopg2.sql import SQL, Composable, Identifier, Literal

from fiso.adapters.postgres.catalog import Connect
from fiso_cli.database import fence
from fiso_cli.errors import CommandError
from fiso_cli.keeper_database import TABLES

_KEPT_IN_MEMORY = 16 * 1024 * 1024
_SAME_TEXT = "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL extra_float_digits = 1"
_SET = re.compile(rb"SET (\w+) = ")
_LONGEST_LOCK_MS = 30_000
_APPLICATION = "fiso-copy"
_AT_WORK = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One of the two, by the variable that holds its URL. `shown` names it without a password."""

    name: str
    url: str
    connect: Connect

    @property
    def shown(self) -> str:
        parts = parse_dsn(self.url)
        port = f":{parts['port']}" if "port" in parts else ""
        return f"{parts.get('host', 'this machine')}{port}/{parts.get('dbname', parts.get('user', ''))}"

    @contextmanager
    def transaction(self, *, is_snapshot: bool = False) -> Iterator[cursor]:
        """One connection, one transaction, for as long as it takes. What the server says leaves as `CommandError`."""
        try:
            with closing(self.connect()) as opened:
                if is_snapshot:
                    opened.set_session(isolation_level="REPEATABLE READ", readonly=True)
                with opened, opened.cursor() as rows:
                    rows.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
                    rows.execute("SET LOCAL lock_timeout = %s", (_LONGEST_LOCK_MS,))
                    rows.execute(_SAME_TEXT)
                    yield rows
        except psycopg2.Error as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CommandError(f"{self.name} ({self.shown}): {said}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What a table comes to: its rows, and a number that is another one when any value of any row is."""

    rows: int
    checksum: str


Sums = Mapping[str, Sum]


def newest(rows: cursor) -> int:
    """The newest version; 0 where there is none."""
    rows.execute("SELECT coalesce(max(version), 0) FROM catalog_versions")
    ((version,),) = rows.fetchall()
    return int(version)


def sums(rows: cursor, *, after: int = 0, until: int | None = None) -> dict[str, Sum]:
    """Every table's rows of the versions after one and until another, and the whole ledger of migrations.

    The checksum is the sum of the first 64 bits of each row's MD5, so that it depends on no order; columns go by name.
    It finds errors, not forgers.
    """
    found = {}
    for table in fence.FENCED:
        columns = SQL(", ").join(map(Identifier, _columns(rows, table)))
        rows.execute(
            SQL(
                "SELECT count(*), coalesce(sum(('x' || left(md5(row({columns})::text), 16))::bit(64)::bigint), 0)::text"
                " FROM {table} WHERE {range}"
            ).format(columns=columns, table=Identifier(table), range=_range(table, after, until))
        )
        ((count, checksum),) = rows.fetchall()
        found[table] = Sum(rows=count, checksum=checksum)
    return found


def differences(ours: Sums, theirs: Sums) -> list[str]:
    """The tables that are not the same, in words."""
    return [
        f"{table}: {ours[table].rows} rows here, {theirs[table].rows} there"
        + ("" if ours[table].rows != theirs[table].rows else ", with other values")
        for table in ours
        if ours[table] != theirs[table]
    ]


def refuse_older(source: Database, target: Database) -> None:
    """`CommandError` where the target is an older PostgreSQL: pg_dump promises nothing to it."""
    ours, theirs = (int(_shows(each, "server_version_num")) // 10_000 for each in (source, target))
    if ours > theirs:
        raise CommandError(
            f"{source.shown} is PostgreSQL {ours}, {target.shown} is {theirs}: what a newer one writes an older one "
            "need not read; take a target of the same version or newer"
        )


def refuse_unlike(source: Database, target: Database) -> None:
    """`CommandError` unless these are two databases that can hold the same text."""
    ours, theirs = (_shows(each, "server_encoding") for each in (source, target))
    if ours != theirs:
        raise CommandError(f"{source.shown} is in {ours}, {target.shown} in {theirs}: make the target in {ours}")
    with source.transaction() as here, target.transaction() as there:
        if _are_one(here, there):
            raise CommandError(f"{source.name} and {target.name} lead to the same database")


def _shows(database: Database, setting: str) -> str:
    with database.transaction() as rows:
        rows.execute(SQL("SHOW {}").format(Identifier(setting)))
        ((value,),) = rows.fetchall()
        return str(value)


def _are_one(here: cursor, there: cursor) -> bool:
    """By a lock that only who is in the same database can see; two names of one server are no difference."""
    key = int.from_bytes(os.urandom(4), "big") >> 1
    here.execute("SELECT pg_advisory_xact_lock(%s, %s)", (0x6669736F, key))
    there.execute(
        "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database AND datname = current_database() "
        "WHERE locktype = 'advisory' AND classid = %s AND objid = %s",
        (0x6669736F, key),
    )
    return there.rowcount > 0


def copy_whole(source: Database, target: Database) -> dict[str, Sum]:
    """Everything into an empty target, at one moment of the source; what each table came to there.

    All or nothing: the restore is one transaction. The target is marked as a copy before it holds anything.
    """
    with target.transaction() as rows:
        rows.execute(f"SELECT to_char(min(backend_start), 'HH24:MI:SS') {_AT_WORK}", (_APPLICATION,))
        ((since,),) = rows.fetchall()
        if since is not None:
            raise CommandError(
                f"a copy into {target.shown} is at work since {since} UTC, or was left by one that was killed: "
                "wait for it, or end it with --again"
            )
        fence.prepare(rows, source.shown)
    with source.transaction(is_snapshot=True) as rows:
        rows.execute("SELECT pg_export_snapshot()")
        ((snapshot,),) = rows.fetchall()
        wanted = sums(rows)
        _restore(source, target, snapshot)
    with target.transaction() as rows:
        fence.close(rows, fence.Standing.COPY, source.shown)
        found = sums(rows)
    _refuse(differences(wanted, found), "the copy is not the same")
    return found


def drop(target: Database) -> None:
    """Empty a copy that is not in force, and end whoever still fills it. `CommandError`."""
    with target.transaction() as rows:
        rows.execute(f"SELECT pg_terminate_backend(pid, 10000) {_AT_WORK}", (_APPLICATION,))
    with target.transaction() as rows:
        rows.execute("SELECT to_regclass('public.catalog_versions') IS NULL")
        if rows.fetchall() == [(True,)]:
            return
        if fence.read(rows).standing is not fence.Standing.COPY:
            raise CommandError(f"{target.shown} is no copy: it is not emptied")
        tables = SQL(", ").join(map(Identifier, reversed(fence.FENCED)))
        rows.execute(SQL("DROP TABLE IF EXISTS {}").format(tables))


def _restore(source: Database, target: Database, snapshot: str) -> None:
    tables = [part for table in fence.FENCED for part in ("-t", f"public.{table}")]
    dumping = (_program("pg_dump"), f"--snapshot={snapshot}", "--no-owner", "--no-privileges", "--no-password", *tables)
    loading = (_program("psql"), "-X", "-q", "--no-password", "-v", "ON_ERROR_STOP=1", "-o", os.devnull)
    with target.transaction() as rows:
        rows.execute("SELECT name FROM pg_settings")
        settings = {name for (name,) in rows.fetchall()}
    with (
        tempfile.TemporaryFile() as dump_says,
        tempfile.TemporaryFile() as load_says,
        subprocess.Popen(dumping, stdout=subprocess.PIPE, stderr=dump_says, env=_reaching(source)) as dump,
        subprocess.Popen(loading, stdin=subprocess.PIPE, stderr=load_says, env=_reaching(target)) as load,
    ):
        with suppress(BrokenPipeError):  # psql ended: it says why
            _pump(dump, load, settings)
        for process, name, said in ((load, "psql", load_says), (dump, "pg_dump", dump_says)):
            code = process.wait()
            said.seek(0)
            if code:
                raise CommandError(f"{name} failed, nothing was copied: {_worst(said.read()) or f'ended with {code}'}")


def _pump(dump: subprocess.Popen[bytes], load: subprocess.Popen[bytes], settings: Collection[str]) -> None:
    """The dump in one transaction, which is committed only once pg_dump has ended well: whoever is killed before it
    leaves nothing. Newer programs set what an older target does not know (`transaction_timeout`): left out."""
    if dump.stdout is None or load.stdin is None:
        raise CommandError("pg_dump and psql have no pipes")
    with dump.stdout as script, load.stdin as into:
        into.write(b"BEGIN;\n")
        for line in script:
            word = _SET.match(line)
            if word is None or word[1].decode() in settings:
                into.write(line)
            if line.startswith(b"CREATE "):
                break
        shutil.copyfileobj(script, into)
        if dump.wait() == 0:
            into.write(b"COMMIT;\n")


def _worst(said: bytes) -> str:
    lines = said.decode(errors="replace").splitlines()
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")


def _program(name: str) -> str:
    """A client's program: FISO_POSTGRES_BIN names its folder, otherwise it is on the path."""
    folder = os.environ.get("FISO_POSTGRES_BIN", "")
    found = shutil.which(name, path=folder or None)
    if found is None:
        raise CommandError(
            f"{name} is not {'in ' + folder if folder else 'on the path'}: install PostgreSQL's client programs "
            "(postgresql-client), of the source's version or newer, or name their folder in FISO_POSTGRES_BIN"
        )
    return found


def _reaching(database: Database) -> dict[str, str]:
    """Where to, in the environment: a command line is everybody's to read."""
    with closing(database.connect()) as opened:
        said = _reached(opened)
    words = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "sslmode": "PGSSLMODE"}
    words |= {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}
    kept = {variable: value for key, variable in words.items() if (value := said.get(key))}
    password = parse_dsn(database.url).get("password") or os.environ.get("PGPASSWORD", "")
    around = {name: os.environ[name] for name in ("PATH", "HOME", "PGPASSFILE") if name in os.environ}
    return {
        **around,
        **kept,
        "LC_ALL": "C",
        "PGAPPNAME": _APPLICATION,
        **({"PGPASSWORD": password} if password else {}),
    }


def _reached(opened: connection) -> dict[str, str]:
    return opened.info.dsn_parameters


def follow(source: Database, target: Database) -> int:
    """Carry over what is newer in the source, and prove both the same; how many versions came. `CommandError`."""
    with source.transaction(is_snapshot=True) as here, target.transaction() as there:
        came = carry(here, there)
        _refuse(differences(sums(here), sums(there)), "the copy is not the same; once more from the start: --again")
    return came


def carry(here: cursor, there: cursor) -> int:
    """The versions of `here` that `there` has not; how many. `CommandError` where `there` has others."""
    fence.pass_through(there)
    has, wanted = newest(there), newest(here)
    if has > wanted:
        raise CommandError(f"the copy has version {has}, its source only {wanted}: is it another catalog's?")
    for table in TABLES:
        columns = _columns(here, table)
        if columns != _columns(there, table):
            raise CommandError(
                f"{table} has other columns in the copy (a migration since): copy once more with --again"
            )
        _carry(here, there, table, columns, has)
    return wanted - has


def _carry(here: cursor, there: cursor, table: str, columns: list[str], after: int) -> None:
    names = SQL(", ").join(map(Identifier, columns))
    out = SQL("COPY (SELECT {} FROM {} WHERE version > {}) TO STDOUT").format(names, Identifier(table), Literal(after))
    into = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), names)
    with tempfile.SpooledTemporaryFile(max_size=_KEPT_IN_MEMORY) as carried:
        here.copy_expert(out, carried)
        carried.seek(0)
        there.copy_expert(into, carried)


def _columns(rows: cursor, table: str) -> list[str]:
    rows.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attname",
        (f"public.{table}",),
    )
    found = [name for (name,) in rows.fetchall()]
    if not found:
        raise CommandError(f"there is no table {table}: bring the source up to date first with `fiso db migrate`")
    return found


def _range(table: str, after: int, until: int | None) -> Composable:
    if table not in TABLES:
        return SQL("true")
    upper = SQL("") if until is None else SQL(" AND version <= {}").format(Literal(until))
    return SQL("version > {}").format(Literal(after)) + upper


def _refuse(found: list[str], what: str) -> None:
    if found:
        raise CommandError("\n".join([f"{what}:", *found]))
