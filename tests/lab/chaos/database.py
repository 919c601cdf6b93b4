"""A genuine PostgreSQL to be broken: started as the local cloud starts it, stopped, frozen, filled and healed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection

from fiso.adapters.postgres.catalog import Connect, connect_from_url
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import HOST
from localcloud.postgres import STOP_SIGNAL, Postgres
from tests.lab.bound_process import bound

START_PATIENCE_S = 30.0


@dataclass(kw_only=True)
class Database:
    """One server and what is being done to it."""

    postgres: Postgres
    server: "subprocess.Popen[bytes] | None" = None
    taken: list[connection] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)
    freezes_backends: bool = False

    def start(self) -> None:
        """Start, and wait until clients get in. `CommandError` when they never do."""
        words = ["--folder", str(self.postgres.folder), "--port", str(self.postgres.port)]
        command = [sys.executable, "-m", "localcloud.postgres", *words]
        with (self.postgres.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(bound(command, ends_by=signal.SIGINT), stdout=log, stderr=log)
        ends_at = time.monotonic() + START_PATIENCE_S
        while not (self.postgres.password_file.exists() and self.postgres.answers()):
            if self.server.poll() is not None or time.monotonic() > ends_at:
                raise CommandError(f"PostgreSQL did not start: see {self.postgres.folder / 'server.log'}")
            time.sleep(0.1)

    def connect(self) -> connection:
        """One connection; its backend stands still from the start while backends are to be frozen."""
        opened = self._connect()
        if self.freezes_backends:
            self.frozen.append(opened.get_backend_pid())
            os.kill(self.frozen[-1], signal.SIGSTOP)
        return opened

    def stop(self) -> None:
        """Gone at once, without a checkpoint, as after a crash."""
        if self.server is not None:
            self._tell(signal.SIGQUIT)
            self.server.wait()

    def freeze(self) -> None:
        """The server and every backend stand still; the kernel goes on accepting connections for it."""
        self._tell(signal.SIGSTOP)

    def freeze_backends(self) -> None:
        """Every backend that is opened from now on stands still; the server itself is well."""
        self.freezes_backends = True

    def fill(self) -> None:
        """No connection is left."""
        try:
            while True:
                self.taken.append(self._connect())
        except psycopg2.OperationalError:
            return

    def heal(self) -> None:
        """End whatever was done."""
        self.freezes_backends = False
        for pid in self.frozen:
            _wake(pid)
        self.frozen.clear()
        for opened in self.taken:
            opened.close()
        self.taken.clear()
        if self.server is None or self.server.poll() is not None:
            self.start()
        else:
            self._tell(signal.SIGCONT)

    def _connect(self) -> connection:
        make: Connect = connect_from_url(self.postgres.url, is_local=True, application_name="fiso-chaos")
        return make()

    def _tell(self, number: signal.Signals) -> None:
        for pid in self.postgres.processes():
            if number is not signal.SIGQUIT or self.server is None or pid == self.server.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


@contextmanager
def running() -> Iterator[Database]:
    """A server in a folder and on a port of its own, gone afterwards whatever was done to it."""
    folder = Path(tempfile.mkdtemp(prefix="fiso-chaos-postgres-"))
    folder.chmod(0o755)  # run by root, the server drops to another user
    (folder / "server").mkdir()
    database = Database(postgres=Postgres(folder=folder / "server", port=_free_port()))
    try:
        database.start()
        yield database
    finally:
        database.heal()
        if database.server is not None:
            database.server.send_signal(STOP_SIGNAL)
            database.server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wake(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return  # its server was stopped meanwhile


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
