"""The genuine PostgreSQL: made, started, killed, started again, stopped; as whoever runs the tests."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from localcloud.postgres import STOP_SIGNAL, Postgres
from tests.functional.localcloud.emulator_fixture import eventually, free_port


@contextmanager
def running(postgres: Postgres) -> Iterator["subprocess.Popen[bytes]"]:
    """The server's own process, as the local cloud starts it."""
    options = ["--folder", str(postgres.folder), "--port", str(postgres.port)]
    with (postgres.folder.parent / f"{postgres.folder.name}.log").open("ab") as log:
        server = subprocess.Popen([sys.executable, "-m", "localcloud.postgres", *options], stdout=log, stderr=log)
    try:
        eventually(lambda: server.poll() is not None or postgres.answers())
        assert server.poll() is None, log.name
        yield server
    finally:
        server.send_signal(STOP_SIGNAL)
        server.wait()


def query(postgres: Postgres, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(postgres.url)) as connection, connection, connection.cursor() as rows:
        rows.execute(statement)
        return rows.fetchall() if rows.description else []


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that every user may look into, so that root can drop to another."""
    folder = tmp_path_factory.mktemp("postgres")
    for parent in (folder, folder.parent, folder.parent.parent):
        if parent.stat().st_uid == os.getuid():
            parent.chmod(0o755)
    return folder


def test_serves_one_database_that_asks_for_the_generated_password(reachable: Path) -> None:
    postgres = Postgres(folder=reachable / "served", port=free_port())
    with running(postgres):
        assert query(
            postgres, "SELECT current_user, current_database(), current_setting('server_version_num')::int / 10000"
        ) == [("fiso", "fiso", 16)]
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(postgres.url.replace("fiso:", "fiso:not"))
        assert query(postgres, "SHOW listen_addresses") == [("127.0.0.1",)]
        assert query(postgres, "SHOW unix_socket_directories") == [("",)]
    assert stat.S_IMODE(postgres.password_file.stat().st_mode) == 0o600


def test_keeps_what_was_written_through_a_kill_and_starts_at_once_again(reachable: Path) -> None:
    postgres = Postgres(folder=reachable / "killed", port=free_port())
    with running(postgres) as server:
        query(postgres, "CREATE TABLE kept AS SELECT 7 AS value")
        server.kill()
        server.wait()
    for _ in range(3):  # its last children hold the lock for a moment longer
        with running(postgres) as server:
            assert query(postgres, "SELECT value FROM kept") == [(7,)]
            server.send_signal(signal.SIGKILL)
            server.wait()
    with running(postgres):
        assert query(postgres, "SELECT value FROM kept") == [(7,)]
    assert postgres.processes() == []


def test_a_lock_whose_pid_now_means_another_process_does_not_matter(reachable: Path) -> None:
    postgres = Postgres(folder=reachable / "locked", port=free_port())
    with running(postgres):
        pass
    (postgres.data / "postmaster.pid").write_text(f"{os.getpid()}\n{postgres.data}\n0\n{postgres.port}\n\n127.0.0.1\n")
    with running(postgres):
        assert query(postgres, "SELECT 1") == [(1,)]


def test_an_unfinished_creation_is_begun_again(reachable: Path) -> None:
    postgres = Postgres(folder=reachable / "unfinished", port=free_port())
    half = postgres.folder / "data.partial" / "base"
    half.mkdir(parents=True)
    with running(postgres):
        assert query(postgres, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_a_lost_password_is_generated_anew_without_losing_the_data(reachable: Path) -> None:
    postgres = Postgres(folder=reachable / "lost", port=free_port())
    with running(postgres):
        query(postgres, "CREATE TABLE kept AS SELECT 7 AS value")
    lost = postgres.password_file.read_text()
    postgres.password_file.unlink()
    with running(postgres):
        assert query(postgres, "SELECT value FROM kept") == [(7,)]
    assert postgres.password_file.read_text() != lost


def has_user_namespaces() -> bool:
    return subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.getuid() == 0 and not has_user_namespaces(), reason="root needs user namespaces for this")
def test_works_under_a_folder_that_only_its_owner_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = Postgres(folder=closed / "postgres", port=free_port())
    with running(postgres):
        assert query(postgres, "SELECT 1") == [(1,)]
    assert postgres.data.stat().st_uid == os.getuid()
    with running(postgres):
        assert query(postgres, "SELECT 1") == [(1,)]
