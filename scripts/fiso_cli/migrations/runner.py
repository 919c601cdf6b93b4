"""The runner of migrations: brings a database to the newest numbered file beside this module, never back."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection, cursor

from fiso.adapters.postgres.catalog import DEADLINE_S, Connect
from fiso.adapters.postgres.deadline import ends_within
from fiso_cli.errors import CommandError, DatabaseUnreachable

FOLDER = Path(__file__).parent
LOCK = 0x6669736F  # any number nobody else uses: "fiso"
_TIMEOUT_MS = 60_000
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One SQL file, `<number>_<name>.sql`."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What the ledger remembers of the file's text."""
        return sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """Every migration of a folder in order. `CommandError` unless they are numbered 1, 2, 3 and so on."""
    found = [
        Migration(number=int(path.stem[:4]), name=path.stem, sql=path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise CommandError(f"migrations are not numbered without gaps: {[m.name for m in found]}")
    return found


def migrate(
    connect: Connect, steps: Sequence[Migration] | None = None, *, deadline_s: float = DEADLINE_S
) -> list[Migration]:
    """Apply what is missing and return it. Safe to run at any time, by several at once."""
    wanted = migrations() if steps is None else steps
    try:
        with closing(connect()) as opened, ends_within(opened, deadline_s), opened, opened.cursor() as rows:
            applied = _applied(rows)  # most runs end here, and a server that stands still is found out within seconds
        _check(applied, wanted)
        if len(applied) == len(wanted):
            return []
        with closing(connect()) as opened, ends_within(opened, 2 * _TIMEOUT_MS / 1000):
            return _migrate(opened, wanted)
    except psycopg2.OperationalError as error:
        raise DatabaseUnreachable(f"the database cannot be reached: {str(error).strip().splitlines()[0]}") from error
    except psycopg2.Error as error:
        raise CommandError(f"the database could not be migrated: {str(error).strip().splitlines()[0]}") from error


def pending(connect: Connect) -> list[Migration]:
    """What `migrate` would apply, without applying it."""
    try:
        with closing(connect()) as opened, ends_within(opened, DEADLINE_S), opened, opened.cursor() as rows:
            return migrations()[len(_applied(rows)) :]
    except psycopg2.Error as error:
        raise CommandError(f"the database cannot be read: {str(error).strip().splitlines()[0]}") from error


def _migrate(opened: connection, wanted: Sequence[Migration]) -> list[Migration]:
    with opened, opened.cursor() as rows:
        rows.execute("SET lock_timeout = %s; SET statement_timeout = %s", (_TIMEOUT_MS, _TIMEOUT_MS))
        rows.execute("SELECT pg_advisory_lock(%s)", (LOCK,))  # the session's: closing the connection releases it
        rows.execute(_LEDGER)
    with opened, opened.cursor() as rows:
        applied = _applied(rows)
    _check(applied, wanted)
    missing = list(wanted[len(applied) :])
    for migration in missing:
        with opened, opened.cursor() as rows:
            _apply(rows, migration)
    return missing


def _applied(rows: cursor) -> dict[int, tuple[str, str]]:
    """The ledger: name and checksum by number; empty while the database has none."""
    rows.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
    if rows.fetchall() != [(True,)]:
        return {}
    rows.execute("SELECT number, name, sha256 FROM schema_migrations ORDER BY number")
    return {number: (name, checksum) for number, name, checksum in rows.fetchall()}


def _apply(rows: cursor, migration: Migration) -> None:
    rows.execute(migration.sql)
    rows.execute(
        "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
        (migration.number, migration.name, migration.checksum),
    )


def _check(applied: dict[int, tuple[str, str]], wanted: Sequence[Migration]) -> None:
    known = {migration.number: migration for migration in wanted}
    for number, (name, checksum) in applied.items():
        if number not in known:
            raise CommandError(f"the database has migration {name}, which this fiso does not know: update fiso")
        if checksum != known[number].checksum:
            raise CommandError(f"migration {name} was changed after it ran: restore the file and add a new one")
