"""The store of an experiment: the emulator as a process of its own, which can be stopped, continued and killed."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from fiso_cli.errors import CommandError
from fiso_cli.local.layout import LocalCloud

_TRIES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A running emulator."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Freeze it: whoever speaks to it waits, as before a black hole."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on where it was stopped."""
        self.process.send_signal(signal.SIGCONT)

    def await_answer(self) -> None:
        """Wait until it answers: what was sent to it meanwhile is done by then."""
        for _ in range(_TRIES):
            if self.process.poll() is not None:
                break
            try:
                with urlopen(f"{self.url}/_ministack/health", timeout=1):  # nosec B310: loopback, by HTTP
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        raise CommandError("the emulator does not answer; its log is emulator/emulator.log in the experiment's folder")

    def kill(self) -> None:
        """End it at once; its port is closed and its tables are gone."""
        self.process.kill()
        self.process.wait(timeout=10)


@contextmanager
def running(folder: Path) -> Iterator[Emulator]:
    """Start one with its state under `folder`; it is gone with the context."""
    python = LocalCloud.from_environ().emulator_environment / "bin" / "python"
    if not python.exists():
        raise CommandError(f"no emulator at {python}: run `make setup`")
    home = folder / "emulator"
    home.mkdir()
    port = _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }
    with (home / "emulator.log").open("wb") as log:
        process = subprocess.Popen([str(python), "-m", "ministack"], env=environment, cwd=home, stdout=log, stderr=log)
        emulator = Emulator(url=f"http://127.0.0.1:{port}", process=process)
        try:
            emulator.await_answer()
            yield emulator
        finally:
            emulator.kill()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
