"""Google host: the vendor's Functions Framework, which serves one function, behind the local cloud's door."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import functions_framework
from functions_framework._http import create_server

from localcloud.doors import HOST, Door, GuardedWsgi


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="google_host", description=__doc__)
    parser.add_argument("--target", required=True, help="the function's name")
    parser.add_argument("--source", type=Path, required=True, metavar="FILE")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--behind", type=int, action="append", default=[], metavar="PORT", help="passes requests on here"
    )
    given = parser.parse_args(arguments)
    app = functions_framework.create_app(given.target, str(given.source))  # type: ignore[no-untyped-call]
    app.wsgi_app = GuardedWsgi(
        application=app.wsgi_app, port=given.port, door=Door.FUNCTION, behind=frozenset(given.behind)
    )
    # gunicorn would put a socket that commands it into the home folder
    create_server(app, False, control_socket_disable=True).run(HOST, given.port)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
