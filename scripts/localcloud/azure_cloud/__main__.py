"""`python -m localcloud.azure_cloud`: Azure's management plane on a port of loopback, until SIGTERM or SIGINT.

What is deployed runs as processes of this one's, on ports of their own, and ends with it.
"""

import argparse
import atexit
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from localcloud.azure_cloud.app import AzureCloud
from localcloud.azure_cloud.world import World
from localcloud.doors import Door, GuardedWsgi
from localcloud.managed_postgres import Servers

THREADS = 8


def build(folder: str, port: int, entra_url: str = "") -> GuardedWsgi:
    """What gunicorn's worker calls once. What an earlier process had is gone: it kept it in memory."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    databases, url = Servers(runs=True), f"http://127.0.0.1:{port}"
    world = World(folder=Path(folder), runs=True, url=url, databases=databases, entra_url=entra_url)
    atexit.register(world.running.stop_all)
    atexit.register(world.databases.stop_all)
    return GuardedWsgi(application=AzureCloud(world=world), port=port, door=Door.CONTROL)


def main(arguments: Sequence[str] | None = None) -> None:
    """Become gunicorn with one worker: all is in its memory."""
    parser = argparse.ArgumentParser(prog="azure_cloud", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where packages are unpacked")
    parser.add_argument("--entra-url", default="", metavar="URL", help="whose tokens apps take")
    given = parser.parse_args(arguments)
    built = f"build({str(given.folder.resolve())!r}, {given.port}, {given.entra_url!r})"
    factory = f"localcloud.azure_cloud.__main__:{built}"
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", "1"]
    command += ["--threads", str(THREADS), "--bind", f"127.0.0.1:{given.port}", "--no-control-socket"]
    command += ["--timeout", "240", "--graceful-timeout", "1", factory]
    os.execv(command[0], command)  # nosec B606: this interpreter, a fixed argument list


if __name__ == "__main__":
    main()
