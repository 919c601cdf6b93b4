"""`python -m tests.lab database`: a catalog of a million rows moves between two genuine PostgreSQL servers.

Copied while somebody writes and with one copy killed half-way, verified, then cut over under a stream of changes of
policy, each of which must be found in the database that is in force.
"""

import json
import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Annotated, Any

import typer

from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_url
from fiso.codecs.policy import policy_to_document
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso_cli.database import copying, cutover
from fiso_cli.database.copying import Database
from fiso_cli.errors import FAILED
from fiso_cli.migrations.runner import migrate
from fiso_cli.rendering import Output, remark
from tests.contract import catalog_entries, postgres_server

_FILL = """
INSERT INTO catalog_versions (version, author) SELECT v, 'filled' FROM generate_series(1, {n}) v;
INSERT INTO functions (version, name, function_type)
    SELECT v, 'f' || k, 'text' FROM generate_series(1, {n}) v, generate_series(1, 3) k;
INSERT INTO endpoints (version, function_name, position, id, provider, region, memory_mb, address, path, payload,
    authentication, concurrency_limit)
    SELECT v, 'f' || k, 0, 'aws', 'aws', 'us-east-1', 512, md5((v * k)::text), '', 'http', 'iam', 10
    FROM generate_series(1, {n}) v, generate_series(1, 3) k;
INSERT INTO policies (version, function_name, policy_version, policy)
    SELECT v, 'f' || k, v, '{policy}'::jsonb || jsonb_build_object('timeout_ms', 1000 + k)
    FROM generate_series(1, {n}) v, generate_series(1, 3) k;
"""
_ROWS_A_VERSION = 10


@dataclass
class Writers:
    """Threads that change the catalog until so many changes were acknowledged."""

    source: Database
    target: Database
    wanted: int
    written: list[int] = field(default_factory=list)
    refused: int = 0

    def run(self, count: int) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._write) for _ in range(count)]
        for each in threads:
            each.start()
        return threads

    def _write(self) -> None:
        where = self.source
        while len(self.written) < self.wanted:
            store = PostgresCatalogStore(where.connect)
            try:
                based_on = self._newest(where)
                self.written.append(store.replace([catalog_entries.PLAIN], based_on=based_on, author="lab").version)
            except WriteConflict:
                continue
            except StoreUnavailable as error:
                self.refused += 1
                if "moved to" in str(error):
                    where = self.target

    def _newest(self, where: Database) -> int:
        with where.transaction() as rows:
            return copying.newest(rows)


def _copy(source: str, target: str) -> None:
    copying.copy_whole(_database("source", source), _database("target", target))


def _database(name: str, url: str) -> Database:
    return Database(name=name, url=url, connect=connect_from_url(url, is_local=True))


def database(
    *,
    rows: Annotated[int, typer.Option(min=1_000, help="How many rows the catalog has.")] = 1_000_000,
    writes: Annotated[int, typer.Option(min=10, help="How many changes are acknowledged meanwhile.")] = 10_000,
) -> Output:
    """Move a catalog between two PostgreSQL servers under changes, with a copy killed half-way.

    \b
    python -m tests.lab database
    python -m tests.lab database --rows 50000 --writes 500
    """
    os.environ.setdefault("FISO_POSTGRES_BIN", str(postgres_server.NEWER_BINARIES))
    with (
        postgres_server.running() as old,
        postgres_server.running(postgres_server.NEWER_BINARIES) as new,
    ):
        source = _database("source", postgres_server.new_database(old))
        target = _database("target", postgres_server.new_database(new))
        document = _moved(source, target, rows, writes)
    shown = [f"{name:<28} {value}" for name, value in document.items()]
    is_well = not document["lost_writes"] and not document["differences"] and document["killed_left_rows"] == 0
    return Output(document=document, shown=shown, exit_code=0 if is_well else FAILED)


def _moved(source: Database, target: Database, rows: int, writes: int) -> dict[str, Any]:
    migrate(source.connect)
    remark(f"filling {source.shown} …")
    with source.transaction() as filling:
        policy = policy_to_document(catalog_entries.PLAIN.policy)
        del policy["version"]
        filling.execute(_FILL.format(n=rows // _ROWS_A_VERSION, policy=json.dumps(policy)))
    killed_after, left = _killed_copy(source, target)
    copying.drop(target)
    remark("copying while somebody writes …")
    writers = Writers(source=source, target=target, wanted=writes)
    threads = writers.run(2)
    begun = time.monotonic()
    copying.copy_whole(source, target)
    copied_s = time.monotonic() - begun
    while len(writers.written) < writes // 2:
        remark(f"{len(writers.written)} of {writes} changes")
        time.sleep(min(10, writes / 500))
    remark(f"cutting over after {len(writers.written)} changes …")
    cut = cutover.cut_over(source, target, remark)
    assert cut is not None
    for each in threads:
        each.join()
    return {
        "rows": rows,
        "killed_after_s": round(killed_after, 2),
        "killed_left_rows": left,
        "copied_s": round(copied_s, 2),
        "writes_acknowledged": len(writers.written),
        "writes_refused": writers.refused,
        "carried_under_fence": cut.carried,
        "changes_refused_s": round(cut.refused_s, 2),
        **_compared(source, target, writers.written),
    }


def _killed_copy(source: Database, target: Database) -> tuple[float, int]:
    """After how long a copy was killed, and how many rows of the catalog it left."""
    copy = get_context("spawn").Process(target=_copy, args=(source.url, target.url))
    copy.start()
    begun = time.monotonic()
    with closing(target.connect()) as opened:
        opened.autocommit = True
        with opened.cursor() as asked:
            while not asked.rowcount > 0 and copy.is_alive():
                time.sleep(0.05)
                asked.execute("SELECT FROM pg_stat_activity WHERE query LIKE 'COPY public.endpoints%'")
            copy.kill()
            copy.join()
            time.sleep(0.2)
            asked.execute("SELECT count(*) FROM pg_class WHERE relname = 'catalog_versions'")
            ((left,),) = asked.fetchall()
    return time.monotonic() - begun, int(left)


def _compared(source: Database, target: Database, written: list[int]) -> dict[str, Any]:
    begun = time.monotonic()
    with source.transaction() as here, target.transaction() as there:
        both = copying.newest(here)
        found = copying.differences(copying.sums(here, until=both), copying.sums(there, until=both))
        there.execute("SELECT version FROM catalog_versions WHERE author = 'lab'")
        kept = {version for (version,) in there.fetchall()}
    return {
        "verified_s": round(time.monotonic() - begun, 2),
        "differences": found,
        "lost_writes": len(set(written) - kept),
    }
