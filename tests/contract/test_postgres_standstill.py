"""A database that stands still: whoever needs it fails within seconds, and works again as soon as it goes on."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

import psycopg2
import pytest

from fiso.adapters.postgres.catalog import CONNECT_TIMEOUT_S, Connect, PostgresCatalogStore, connect_from_url
from fiso.domain.errors import StoreUnavailable
from fiso_cli.errors import CommandError
from fiso_cli.migrations.runner import migrate
from tests.contract import postgres_server

DEADLINE_S = 0.5


@pytest.fixture(scope="module")
def connect() -> Iterator[Connect]:
    with postgres_server.running() as url:
        connect = connect_from_url(url, is_local=True)
        migrate(connect)
        yield connect


def postmaster_of(connect: Connect) -> int:
    """The server's first process: the parent of its backends."""
    with closing(connect()) as opened:
        status = Path(f"/proc/{opened.get_backend_pid()}/stat").read_text(encoding="ascii")
    return int(status.rpartition(")")[2].split()[1])


def test_a_stopped_server_is_given_up_on_while_connecting(connect: Connect) -> None:
    pid = postmaster_of(connect)
    os.kill(pid, signal.SIGSTOP)
    try:
        start = monotonic()
        with pytest.raises(StoreUnavailable, match="timeout expired"):
            PostgresCatalogStore(connect).load()
        assert monotonic() - start < 5 * CONNECT_TIMEOUT_S  # the library's own default waits 130 s
    finally:
        os.kill(pid, signal.SIGCONT)
    assert PostgresCatalogStore(connect).load().version == 0


@pytest.mark.parametrize("use", ["load", "migrate"])
def test_one_stopped_backend_is_given_up_on_in_the_middle_of_a_use(connect: Connect, use: str) -> None:
    stopped: list[int] = []

    def stopping() -> psycopg2.extensions.connection:
        opened = connect()
        stopped.append(opened.get_backend_pid())
        os.kill(stopped[-1], signal.SIGSTOP)
        return opened

    try:
        if use == "load":
            with pytest.raises(StoreUnavailable, match="no answer within"):
                PostgresCatalogStore(stopping, deadline_s=DEADLINE_S).load()
        else:
            with pytest.raises(CommandError, match="no answer within"):
                migrate(stopping, deadline_s=DEADLINE_S)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert PostgresCatalogStore(connect).load().version == 0


def test_a_full_server_refuses_at_once(connect: Connect) -> None:
    taken: list[psycopg2.extensions.connection] = []
    try:
        taken.extend(iter(lambda: _connected(connect), None))
        with pytest.raises(StoreUnavailable, match="too many"):
            PostgresCatalogStore(connect).load()
    finally:
        for opened in taken:
            opened.close()


def _connected(connect: Connect) -> psycopg2.extensions.connection | None:
    """One more session; None when the server has no more."""
    try:
        return connect()
    except psycopg2.OperationalError:
        return None
