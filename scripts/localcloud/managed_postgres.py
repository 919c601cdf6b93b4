"""Managed PostgreSQL of the local Azure and Google: for each that is created a genuine server on loopback."""

import os
import shutil
import subprocess  # nosec B404: runs this interpreter with a fixed argument list
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from localcloud.postgres import STOP_SIGNAL, Postgres

READY_S = 60.0


@dataclass
class Servers:
    """Processes by name, each with its own folder. `runs`: or only the addresses are given out."""

    runs: bool = False
    _found: dict[str, tuple[Postgres, "subprocess.Popen[bytes]"]] = field(default_factory=dict)
    _starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    """One thread that stays: the kernel ends a process with the thread that began it, not with its process."""

    def start(self, name: str, password: str) -> str:
        """Where it answers, HOST:PORT, once it does; its owner and its database are both called `fiso`."""
        from localcloud.azure_cloud.running import free_port

        if not self.runs:
            return "127.0.0.1:5432"
        if name not in self._found:
            folder = Path(mkdtemp(prefix="fiso-managed-postgres-"))
            postgres = Postgres(folder=folder, port=free_port())
            with open(os.open(postgres.password_file, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
                file.write(password)
            self._found[name] = (postgres, self._starter.submit(_started, postgres).result())
            deadline = time.monotonic() + READY_S
            while not postgres.answers():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the PostgreSQL of {name} does not answer")
                time.sleep(0.1)
        return f"127.0.0.1:{self._found[name][0].port}"

    def stop(self, name: str) -> None:
        """End one and remove what it held; nothing where there is none."""
        postgres, process = self._found.pop(name, (None, None))
        if postgres is None or process is None:
            return
        process.send_signal(STOP_SIGNAL)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(postgres.folder, ignore_errors=True)

    def stop_all(self) -> None:
        """End every one."""
        for name in [*self._found]:
            self.stop(name)


def _started(postgres: Postgres) -> "subprocess.Popen[bytes]":
    setpriv = shutil.which("setpriv")
    command = [setpriv, "--pdeathsig", "INT"] if setpriv else []
    command += [sys.executable, "-P", "-m", "localcloud.postgres"]
    command += ["--folder", str(postgres.folder), "--port", str(postgres.port)]
    scripts = Path(__file__).resolve().parents[1]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join([str(scripts), str(scripts.parent / "shared")])}
    return subprocess.Popen(command, env=around, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # nosec B603
