"""A control plane without stacks: it answers every AWS call as CloudFormation does for a stack that does not exist.

`serverless package` asks CloudFormation for the deployed layer before it writes a template. Against this server it
learns that nothing is deployed, so packaging needs no account and no network. Loopback only; deploys nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NO_STACK = b"""<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id fiso does not exist</Message></Error>
<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"""


class NoStacks(BaseHTTPRequestHandler):
    """Refuses everything with CloudFormation's words for a missing stack."""

    def do_POST(self) -> None:
        """Answer any call."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(400)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(NO_STACK)))
        self.end_headers()
        self.wfile.write(NO_STACK)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def offline_control_plane() -> Iterator[str]:
    """The URL of a server that lives as long as the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoStacks)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
