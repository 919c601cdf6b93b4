"""Children: the rig's processes, each a module of this package, started, killed and stopped one by one.

A child says where it listens by writing a JSON file when it is ready. It ends with its parent, however that ends: its
standard input closes then.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from fiso_cli.local_stage import CHECKOUT

READY_WITHIN_S = 30.0
_POLL_S = 0.01


class ChildFailed(Exception):
    """A process of the rig ended, or was not ready in time. The message names its log."""


class Child:
    """One process. `config` is what it is started with; a restarted one gets the same."""

    def __init__(self, module: str, config: Mapping[str, Any], *, name: str, folder: Path) -> None:
        self._module, self._config, self._name, self._folder = module, config, name, folder
        self.log = folder / f"{name}.log"
        self.ready: dict[str, Any] = {}
        self._process = self._spawn()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended (a stopped one has not)."""
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Wait until it has written where it listens."""
        file, ends_at = self._ready_file, time.monotonic() + READY_WITHIN_S
        while not file.exists():
            if not self.is_running or time.monotonic() > ends_at:
                raise ChildFailed(f"{self._name} did not start: see {self.log}")
            time.sleep(_POLL_S)
        self.ready = json.loads(file.read_text(encoding="utf-8"))

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """SIGSTOP: it accepts what the kernel accepts for it and does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def restart(self, **changes: Any) -> None:
        """Start it anew after `kill`, with a changed config, and wait until it is ready."""
        self.kill()
        self._config = {**self._config, **changes}
        self._process = self._spawn()
        self.await_ready()

    def resident_mb(self) -> float:
        """Its memory (VmRSS)."""
        return _status_mb(self.pid, "VmRSS:")

    def peak_mb(self) -> float:
        """The most memory it ever had (VmHWM)."""
        return _status_mb(self.pid, "VmHWM:")

    @property
    def _ready_file(self) -> Path:
        return self._folder / f"{self._name}.ready"

    def _spawn(self) -> "subprocess.Popen[bytes]":
        self._ready_file.unlink(missing_ok=True)
        config = json.dumps({**self._config, "ready_file": str(self._ready_file)})
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("scripts", "shared", ".")),
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", self._module, config],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends its children
            )


def announce(config: Mapping[str, Any], **where: Any) -> None:
    """Say that this process is ready, and end it with its parent from now on."""
    Thread(target=_end_with_parent, daemon=True).start()
    file = Path(config["ready_file"])
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(where), encoding="utf-8")
    draft.replace(file)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _status_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))
