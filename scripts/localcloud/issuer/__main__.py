"""`python -m localcloud.issuer`: serve the local issuer until SIGTERM or SIGINT."""

import argparse
import logging
import signal
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from werkzeug.serving import make_server

from fiso_cli.local_stage import HOST, url
from localcloud.doors import Door, GuardedWsgi
from localcloud.issuer.app import Issuer, create
from localcloud.issuer.tokens import Codes, TokenMaker, signer_in


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="issuer", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=Path, required=True, metavar="DIR", help="where the signing key is, or is made")
    parser.add_argument("--console-port", type=int, required=True, help="codes go to the console at this port only")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # its lines would hold codes, which stand in query strings
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    maker = TokenMaker(signer=signer_in(options.keys), issuer=url(options.port))
    issuer = Issuer(maker=maker, codes=Codes(clock=_utc_now), console_port=options.console_port, clock=_utc_now)
    guarded = GuardedWsgi(application=create(issuer), port=options.port, door=Door.PAGE)
    server = make_server(HOST, options.port, guarded, threaded=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


def _utc_now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
