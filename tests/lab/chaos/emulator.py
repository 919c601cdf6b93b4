"""The emulator of AWS as a process of its own: on a free port, stopped, continued and killed as an experiment wants."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from localcloud.layout import LocalCloud
from tests.lab.bound_process import bound
from tests.lab.chaos.rig.children import READY_WITHIN_S, ChildFailed
from tests.lab.chaos.rig.wire import HOST, free_port

LOG = "emulator.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorProcess:
    """A running emulator. Its tables are in its memory: they are gone with it."""

    url: str
    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        """Freeze it: whoever speaks to it waits, as before a black hole."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on where it was stopped."""
        self.process.send_signal(signal.SIGCONT)

    def await_answer(self) -> None:
        """Wait until it answers: what was sent to it meanwhile is done by then."""
        ends_at = time.monotonic() + READY_WITHIN_S
        while self.process.poll() is None and time.monotonic() < ends_at:
            try:
                with urlopen(f"{self.url}/_ministack/health", timeout=1):  # nosec B310 # our own process on loopback
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        raise ChildFailed(f"the emulator does not answer: see {LOG} in its folder")

    def kill(self) -> None:
        """End it at once; its port is closed."""
        self.process.kill()
        self.process.wait(timeout=10)


def start(home: Path) -> EmulatorProcess:
    """Start one with its state under `home`, and wait until it answers."""
    python, port = LocalCloud.from_environ({}).emulator_environment / "bin" / "python", free_port()
    if not python.exists():
        raise ChildFailed(f"no emulator at {python}: run `make setup`")
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "S3_DATA_DIR": str(home / "s3"),
    }
    with (home / LOG).open("wb") as log:
        process = subprocess.Popen(
            bound([str(python), "-m", "ministack"]),
            env=environment,
            cwd=home,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the experiment, which then ends it
        )
    emulator = EmulatorProcess(url=f"http://{HOST}:{port}", process=process)
    try:
        emulator.await_answer()
    except ChildFailed:
        emulator.kill()
        raise
    return emulator


@contextmanager
def running(home: Path) -> Iterator[EmulatorProcess]:
    """A running one, gone with the context."""
    emulator = start(home)
    try:
        yield emulator
    finally:
        emulator.kill()
