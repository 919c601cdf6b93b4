"""The copies of a drill's function, as a process that can be killed: each request's body is its answer, and a line of a
file. `python -m localcloud.drill.copies PORT FILE`; it ends when its standard input does. Loopback only.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fiso_cli.local_stage import HOST


class _Copies(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, executions: Path) -> None:
        self.executions = executions
        super().__init__((HOST, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Copies

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        with self.server.executions.open("ab") as executions:  # one write each: appended whole
            executions.write(body + b"\n")
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def main() -> None:
    server = _Copies(int(sys.argv[1]), Path(sys.argv[2]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
