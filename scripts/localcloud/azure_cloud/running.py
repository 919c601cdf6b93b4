"""Apps that run: one process of the Azure host per app, on a port of loopback that the app keeps."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

READY_S = 30.0


@dataclass
class Running:
    """Processes by the app's id."""

    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    """One thread that stays: the kernel ends a process with the thread that began it, not with its process."""

    def start(self, app: str, folder: Path, port: int, environment: dict[str, str]) -> list[str]:
        """Run what is in a folder; the names of its functions, none where it does not load.

        Only the folder is on its path, and the host's own, which brings what Azure's image brings.
        """
        self.stop(app)
        root = Path(__file__).resolve().parents[2]
        setpriv = shutil.which("setpriv")
        command = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        command += [sys.executable, "-P", "-m", "localcloud.azure_host", "--app", str(folder), "--port", str(port)]
        process = self._starter.submit(_started, command, folder, {**environment, "PYTHONPATH": str(root)}).result()
        self.processes[app] = process
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:  # nosec B310
                    return list(json.load(answer)["functions"])
            except (OSError, urllib.error.URLError, ValueError):
                time.sleep(0.1)
        self.stop(app)
        return []

    def stop(self, app: str) -> None:
        """End an app's process, if it has one."""
        process = self.processes.pop(app, None)
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all(self) -> None:
        """End every process."""
        for app in list(self.processes):
            self.stop(app)


def _started(command: list[str], folder: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # nosec B603: this interpreter, a fixed argument list
        command,
        env={**os.environ, **environment},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
