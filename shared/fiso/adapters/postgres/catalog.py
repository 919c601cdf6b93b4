"""The catalog's store in PostgreSQL: versioned rows, one connection per use. Keeper, console and command line only.

Never on the request path, and nothing the orchestrator imports may import this module. The tables are made by the
migrations of the command line.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TypeAlias

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection, cursor, make_dsn, parse_dsn
from psycopg2.extras import Json as Jsonb
from psycopg2.extras import RealDictCursor, RealDictRow, execute_values
from psycopg2.sql import SQL, Identifier

from fiso.adapters.postgres import roots
from fiso.adapters.postgres.deadline import ends_within
from fiso.codecs.catalog import (
    endpoint_to_document,
    entry_from_document,
    rules_from_document,
    rules_to_document,
    terms_to_document,
)
from fiso.codecs.policy import policy_to_document
from fiso.codecs.typed import Document, Json
from fiso.domain.catalog import CatalogEntry, Entries, Snapshot, stamped
from fiso.domain.endpoint import Endpoint, FunctionName
from fiso.domain.errors import InvalidCatalog, StoreNotSetUp, StoreUnavailable, WriteConflict
from fiso.domain.stage_rules import NO_RULES, StageRules
from fiso.ports import CatalogVersion, PolicyChange
from fiso_client.core.failures import FisoError

Connect = Callable[[], connection]
_Cell: TypeAlias = "Json | Jsonb"

CONNECT_TIMEOUT_S = 1
STATEMENT_TIMEOUT_MS = 5_000
DEADLINE_S = 6.0
"""For a whole use once connected, held by this side: a stopped server process ends no statement."""

_ENDPOINT = [each.name for each in fields(Endpoint)]

_MEANINGS: tuple[tuple[type[Exception], type[FisoError]], ...] = (
    (errors.UniqueViolation, WriteConflict),
    (psycopg2.extensions.TransactionRollbackError, WriteConflict),
    (psycopg2.IntegrityError, InvalidCatalog),
    (psycopg2.DataError, InvalidCatalog),
    (ValueError, InvalidCatalog),  # text that PostgreSQL cannot hold: NUL, lone surrogates
    (KeyError, InvalidCatalog),  # the tables of later code, after the functions went back to this
    (psycopg2.Error, StoreUnavailable),
)
"""What each foreign error means here; the first that fits."""


class PostgresCatalogStore:
    """`CatalogStore` over PostgreSQL. `connect` opens a new connection; each use closes its own."""

    def __init__(self, connect: Connect, *, deadline_s: float = DEADLINE_S) -> None:
        self._connect, self._deadline_s = connect, deadline_s

    def load(self, version: int | None = None) -> CatalogVersion:
        """The newest version, or another one. A database without the tables counts as one without versions."""
        with self._transaction() as rows:
            rows.execute("SELECT to_regclass('catalog_versions') IS NOT NULL AS is_there")
            found = _version(rows, version) if _only(rows)["is_there"] else None
        if found is None and version:
            raise InvalidCatalog(f"the catalog has no version {version}")
        return found or _nothing()

    def history(self, function: FunctionName) -> Sequence[PolicyChange]:
        """The versions at which a function's policy changed, the newest first."""
        with self._transaction() as rows:
            rows.execute(
                "SELECT version, changed_at, author FROM policies JOIN catalog_versions USING (version) "
                "WHERE function_name = %s AND policy_version = version ORDER BY version DESC",
                (function,),
            )
            return [
                PolicyChange(version=row["version"], changed_at=row["changed_at"].astimezone(UTC), author=row["author"])
                for row in rows.fetchall()
            ]

    def replace(
        self,
        entries: Sequence[CatalogEntry],
        *,
        based_on: int,
        author: str,
        at_least: int = 0,
        rules: StageRules | None = None,
    ) -> CatalogVersion:
        """Write a new version of the whole catalog; `InvalidCatalog` for what the schema's own checks refuse."""
        with self._transaction() as rows:
            # Readers are not held up by this lock, other writers are: no two versions are based on the same one.
            rows.execute("LOCK TABLE catalog_versions IN SHARE ROW EXCLUSIVE MODE")
            newest = _version(rows) or _nothing()
            if newest.version != based_on:
                raise WriteConflict(f"the catalog is at version {newest.version}, not {based_on}")
            version = max(newest.version + 1, at_least)
            kept = stamped(entries, replaced=newest.entries, version=version)
            rows.execute(
                "INSERT INTO catalog_versions (version, author) VALUES (%s, %s) RETURNING changed_at",
                (version, author),
            )
            changed_at = _only(rows)["changed_at"].astimezone(UTC)
            _insert(rows, version, kept)
            if rules is not None and rules != newest.rules:
                _write_rules(rows, version, rules)
        return CatalogVersion(
            version=version, changed_at=changed_at, entries=kept, rules=newest.rules if rules is None else rules
        )

    def restore(self, snapshot: Snapshot, *, author: str) -> None:
        """Write a published catalog as the only version, with the number that it has. `WriteConflict` unless there is
        none yet. Of earlier versions only the numbers are there that its policies name."""
        with self._transaction() as rows:
            rows.execute("LOCK TABLE catalog_versions IN SHARE ROW EXCLUSIVE MODE")
            if (newest := _version(rows)) is not None:
                raise WriteConflict(f"the catalog is at version {newest.version}")
            entries = snapshot.functions
            named = sorted({snapshot.version, *(entry.policy.version for entry in entries.values())})
            written = [(version, snapshot.published_at, author) for version in named]
            execute_values(rows, "INSERT INTO catalog_versions (version, changed_at, author) VALUES %s", written)
            _insert(rows, snapshot.version, entries)
            if snapshot.rules:
                _write_rules(rows, snapshot.version, snapshot.rules)

    @contextmanager
    def _transaction(self) -> Iterator[RealDictCursor]:
        """One connection, one transaction; foreign errors leave as FISO's."""
        try:
            with (
                closing(self._connect()) as opened,
                ends_within(opened, self._deadline_s),
                opened,
                opened.cursor(cursor_factory=RealDictCursor) as rows,
            ):
                yield rows
        except (psycopg2.Error, ValueError, KeyError) as error:
            meaning = next(ours for foreign, ours in _MEANINGS if isinstance(error, foreign))
            raise meaning(f"catalog store: {_first_line(error)}") from error


def connect_from_secret(secret: str, *, is_local: bool) -> Connect:
    """The same by what the keeper's secret holds: the URL, or `{"url": …, "ca": …}` as JSON."""
    text = secret.strip()
    if not text.startswith("{"):
        return connect_from_url(text, is_local=is_local)
    try:
        fields = json.loads(text)
    except ValueError:
        fields = {}
    url, ca = fields.get("url"), fields.get("ca", "")
    if not isinstance(url, str) or not isinstance(ca, str):
        raise StoreNotSetUp("the database's secret is neither a URL nor JSON with `url` and `ca`")
    return connect_from_url(url, is_local=is_local, ca=ca)


def connect_from_url(url: str, *, is_local: bool, application_name: str = "fiso", ca: str = "") -> Connect:
    """How to connect to a database by its URL (`postgresql://user:password@host:port/name?sslrootcert=…`).

    Outside the local stage the server's certificate and name are verified, whatever the URL says, by `ca` (PEM text)
    or by what `roots` finds; on it the host must be this machine. `StoreNotSetUp` when URL or `ca` is no good.
    """
    parameters = _checked(url, is_local=is_local)
    settings = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
        "application_name": application_name,
        "options": " ".join(f"-c {name}={STATEMENT_TIMEOUT_MS}" for name in ("statement_timeout", "lock_timeout")),
    }
    tls = {} if is_local else {"sslmode": "verify-full", **roots.trusted(parameters, ca)}
    dsn = make_dsn(url, **settings, **tls)
    return lambda: psycopg2.connect(dsn)


def _checked(url: str, *, is_local: bool) -> Mapping[str, str]:
    try:
        parameters: Mapping[str, str] = parse_dsn(url)
    except psycopg2.ProgrammingError:
        raise StoreNotSetUp("the database URL does not parse") from None  # the cause would show the password
    host = parameters.get("host", "")
    if is_local and not _is_this_machine(host):
        raise StoreNotSetUp(f"the local stage's database must be on this machine, not on {host!r}")
    if not is_local and (not host or host.startswith("/")):
        raise StoreNotSetUp("the database URL names no host")
    return parameters


def _is_this_machine(host: str) -> bool:
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _nothing() -> CatalogVersion:
    return CatalogVersion(version=0, changed_at=datetime(1970, 1, 1, tzinfo=UTC), entries={})


def _version(rows: RealDictCursor, version: int | None = None) -> CatalogVersion | None:
    """A version, or the newest one. Its rows were committed with it and never change, so three steps are consistent."""
    rows.execute(
        "SELECT * FROM catalog_versions WHERE version = coalesce(%s, version) ORDER BY version DESC LIMIT 1",
        (version,),
    )
    found = rows.fetchone()
    if found is None:
        return None
    return CatalogVersion(
        version=found["version"],
        changed_at=found["changed_at"].astimezone(UTC),
        entries=_entries(rows, found["version"]),
        rules=_rules(rows, found),
    )


def _rules(rows: RealDictCursor, found: RealDictRow) -> StageRules:
    """Of a version: its own where it changed them, else those of the one before that did. Thousands of tenants are not
    written again with every pin."""
    if "rules" not in found:
        return NO_RULES  # a table that no migration has reached yet
    rows.execute(
        "SELECT rules FROM catalog_versions WHERE version <= %s AND rules IS NOT NULL ORDER BY version DESC LIMIT 1",
        (found["version"],),
    )
    last = rows.fetchone()
    return rules_from_document(last["rules"]) if last else NO_RULES


def _write_rules(rows: cursor, version: int, rules: StageRules) -> None:
    rows.execute(
        "UPDATE catalog_versions SET rules = %s WHERE version = %s", (Jsonb(rules_to_document(rules)), version)
    )


def _entries(rows: RealDictCursor, version: int) -> Entries:
    rows.execute(
        "SELECT * FROM endpoints WHERE version = %s ORDER BY function_name, position",
        (version,),
    )
    endpoints: dict[str, list[Json]] = {}
    for row in rows.fetchall():
        endpoints.setdefault(row["function_name"], []).append({name: row[name] for name in _ENDPOINT if name in row})
    rows.execute(
        "SELECT * FROM functions JOIN policies USING (version) "
        "WHERE version = %s AND function_name = name ORDER BY name",
        (version,),
    )
    documents = [_to_document(row, endpoints.get(row["name"], [])) for row in rows.fetchall()]
    return {FunctionName(str(document["name"])): entry_from_document(document) for document in documents}


def _to_document(row: Mapping[str, Json], endpoints: list[Json]) -> Document:
    stored = row["policy"] if "policy" in row else _of_columns(row)
    policy: Document = {**(stored if isinstance(stored, dict) else {}), "version": row["policy_version"]}
    document: Document = {"name": row["name"], "function_type": row["function_type"], "endpoints": endpoints}
    return {**document, "policy": policy, "prices": row.get("prices")}


def _of_columns(row: Mapping[str, Json]) -> Document:
    """A policy of a table from before the fourth migration; the codec knows what keys mean that are not there yet."""
    weights: Document = {name: row[f"weight_{name}"] for name in ("latency", "cost", "reliability", "region_affinity")}
    return {**row, "weights": weights}


def _insert(rows: cursor, version: int, entries: Entries) -> None:
    functions = [(version, entry.name, entry.function_type, _prices(entry)) for entry in entries.values()]
    _insert_all(rows, "functions", ["version", "name", "function_type", "prices"], functions)
    endpoints = [row for entry in entries.values() for row in _endpoint_rows(version, entry)]
    _insert_all(rows, "endpoints", ["version", "function_name", "position", *_ENDPOINT], endpoints)
    policies = [_policy_row(version, entry) for entry in entries.values()]
    _insert_all(rows, "policies", ["version", "function_name", "policy_version", "policy"], policies)


def _insert_all(rows: cursor, table: str, columns: Sequence[str], values: Sequence[tuple[_Cell, ...]]) -> None:
    """Only the columns that hold something: a table that no migration has reached yet takes what it can."""
    kept = [place for place in range(len(columns)) if any(row[place] is not None for row in values)]
    if kept:
        names = SQL(", ").join(Identifier(columns[place]) for place in kept)
        held = [tuple(row[place] for place in kept) for row in values]
        execute_values(rows, SQL("INSERT INTO {} ({}) VALUES %s").format(Identifier(table), names), held)


def _endpoint_rows(version: int, entry: CatalogEntry) -> Iterator[tuple[Json, ...]]:
    for position, endpoint in enumerate(entry.endpoints):
        document = endpoint_to_document(endpoint)
        yield (version, entry.name, position, *(document.get(name) for name in _ENDPOINT))


def _prices(entry: CatalogEntry) -> Jsonb | None:
    return None if entry.prices is None else Jsonb(terms_to_document(entry.prices))


def _policy_row(version: int, entry: CatalogEntry) -> tuple[_Cell, ...]:
    document = policy_to_document(entry.policy)
    return (version, entry.name, document.pop("version"), Jsonb(document))


def _only(rows: RealDictCursor) -> RealDictRow:
    (row,) = rows.fetchall()
    return row


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
