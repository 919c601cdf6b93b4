"""A fence: triggers in a database that refuse every change of the catalog, whoever makes it and with whatever version.

A database is in force (no fence), a copy that is not yet, or moved. The fence lies in the database itself since nothing
else is seen by a client of another machine, or of code from before there were fences.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from psycopg2.extensions import cursor
from psycopg2.sql import SQL, Identifier

from fiso_cli.keeper_database import TABLES
from fiso_cli.migrations.runner import LOCK

FENCED = (*TABLES, "schema_migrations")

_TABLE = """
CREATE TABLE IF NOT EXISTS fiso_fence (
    is_only boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    state   text        NOT NULL CHECK (state IN ('copy', 'moved')),
    peer    text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
)
"""
_FUNCTION = """
CREATE OR REPLACE FUNCTION fiso_fenced() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    fence fiso_fence;
BEGIN
    IF current_setting('fiso.copies', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    SELECT * INTO fence FROM fiso_fence;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '%', CASE fence.state
        WHEN 'moved' THEN format('this catalog moved to %s: let FISO_DATABASE_URL lead there', fence.peer)
        ELSE format('this is a copy of %s that is not in force: fiso db cutover', fence.peer)
    END USING ERRCODE = 'read_only_sql_transaction';
END
$$
"""
_TRIGGER = """
CREATE TRIGGER fiso_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION fiso_fenced();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER fiso_fence
"""


class Standing(StrEnum):
    """What a database is to the catalog."""

    EMPTY = "empty"
    IN_FORCE = "in force"
    COPY = "copy"
    MOVED = "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Where a database stands, and the other one that it was copied from or moved to."""

    standing: Standing
    peer: str = ""
    since: datetime | None = None


def read(rows: cursor) -> Fence:
    """How the database stands."""
    rows.execute("SELECT to_regclass('public.catalog_versions') IS NULL, to_regclass('public.fiso_fence') IS NULL")
    ((is_empty, is_open),) = rows.fetchall()
    if is_empty:
        return Fence(standing=Standing.EMPTY)
    found = []
    if not is_open:
        rows.execute("SELECT state, peer, at FROM fiso_fence")
        found = rows.fetchall()
    if not found:
        return Fence(standing=Standing.IN_FORCE)
    ((state, peer, at),) = found
    return Fence(standing=Standing(state), peer=peer, since=at.astimezone(UTC))


def prepare(rows: cursor, source: str) -> None:
    """Mark a database as a copy before it is one: the tables are restored with triggers that call the function."""
    rows.execute(_TABLE)
    rows.execute(_FUNCTION)
    _write(rows, Standing.COPY, source)


def close(rows: cursor, standing: Standing, peer: str) -> None:
    """Refuse every change from the end of this transaction on. Waits for whoever writes: once it is committed nobody
    does. Readers are not held up."""
    rows.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))  # no migration is half-way
    rows.execute(_TABLE)
    rows.execute(_FUNCTION)
    for table in FENCED:
        name = Identifier(table)
        rows.execute(SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(name))  # in the order of those who write
        rows.execute("SELECT FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = 'fiso_fence'", (table,))
        if not rows.rowcount:
            rows.execute(SQL(_TRIGGER).format(table=name))
    _write(rows, standing, peer)


def open_again(rows: cursor) -> None:
    """Take changes again from the end of this transaction on. The triggers stay and let them pass: to drop one would
    wait for readers, and could wait for ever in turn with one of them."""
    rows.execute("DELETE FROM fiso_fence")


def hold(rows: cursor) -> bool:
    """Whether the database is a copy; one transaction at a time is told so, until its end."""
    rows.execute("SELECT FROM fiso_fence WHERE state = 'copy' FOR UPDATE")
    return rows.rowcount > 0


def pass_through(rows: cursor) -> None:
    """Let this transaction change a fenced catalog: who copies is meant to."""
    rows.execute("SET LOCAL fiso.copies = 'yes'")


def _write(rows: cursor, standing: Standing, peer: str) -> None:
    rows.execute(
        "INSERT INTO fiso_fence (state, peer) VALUES (%s, %s) "
        "ON CONFLICT (is_only) DO UPDATE SET state = excluded.state, peer = excluded.peer, at = now()",
        (standing.value, peer),
    )
