"""`python -m localcloud.google_cloud --port PORT --folder DIR`: serve until SIGTERM or SIGINT."""

import argparse
import signal
import threading
from pathlib import Path

from localcloud.google_cloud.copies import Copies
from localcloud.google_cloud.server import GoogleCloud
from localcloud.google_cloud.world import World
from localcloud.managed_postgres import Servers


def main() -> None:
    parser = argparse.ArgumentParser(prog="google_cloud", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="for images and the copies' log")
    parser.add_argument("--project", action="append", default=[], metavar="ID", help="a project that there is")
    parser.add_argument("--aws-url", default="", metavar="URL", help="where AWS is, whose word pools take")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    projects = {name: str(123456789012 + number) for number, name in enumerate(given.project or ["fiso-local"])}
    databases = Servers(runs=True)
    world = World(folder=given.folder, projects=projects, databases=databases, aws_url=given.aws_url)
    copies, server = Copies(world), GoogleCloud(world, given.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        copies.close()
        world.databases.stop_all()
        server.server_close()


if __name__ == "__main__":
    main()
