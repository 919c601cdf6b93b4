"""A part for the tests of the parent process: answers `GET /healthz`, and misbehaves as told."""

import argparse
import http.server
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True, help="gets a line at each start and each asked-for stop")
    parser.add_argument("--name", default="dummy")
    parser.add_argument("--dies-saying", default="")
    parser.add_argument("--ignores-signals", action="store_true")
    parser.add_argument("--with-child", action="store_true")
    parser.add_argument("--mute", action="store_true", help="listen and never answer")
    given = parser.parse_args()
    if given.dies_saying:
        sys.exit(given.dies_saying)

    def note(what: str) -> None:
        with given.journal.open("a") as journal:
            journal.write(f"{given.name} {what}\n")

    def stop(*_: object) -> None:
        note("stops")
        sys.exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.ignores_signals else stop)
    if given.with_child:  # in a session of its own, as runtimes are
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    note("starts")
    if given.mute:
        with socket.create_server(("127.0.0.1", given.port)):
            time.sleep(300)
    http.server.ThreadingHTTPServer(("127.0.0.1", given.port), Health).serve_forever()


if __name__ == "__main__":
    main()
