"""`python -m localcloud.entra --port PORT --aws-url URL`: serve one tenant until SIGTERM or SIGINT."""

import argparse
import signal
import threading

from fiso_cli.local_stage import AZURE_TENANT
from localcloud.entra.graph import Directory, GraphServer
from localcloud.entra.login import Login, keys_of_aws


def main() -> None:
    parser = argparse.ArgumentParser(prog="entra", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aws-url", required=True, metavar="URL", help="where AWS's issuer of tokens is")
    given = parser.parse_args()
    directory = Directory(tenant=AZURE_TENANT)
    server = GraphServer(directory, given.port, login=Login(directory, issuer_keys=keys_of_aws(given.aws_url)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
