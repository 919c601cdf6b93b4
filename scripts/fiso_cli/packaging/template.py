"""A stage's CloudFormation template, written by `serverless package` against a control plane without stacks.

The serverless command asks CloudFormation for the deployed layer before it writes a template. The server here answers
every AWS call as for a stack that does not exist, so that packaging needs no account and no network. Loopback only.
"""

import fcntl
import os
import shutil
import subprocess  # nosec B404: runs the pinned serverless command
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fiso_cli.errors import CommandError
from fiso_cli.packaging.build import ROOT

TEMPLATE = "cloudformation-template.json"
OSLS_TEMPLATE = "cloudformation-template-update-stack.json"


def make_template(stage: str, *, params: Sequence[str] = (), root: Path = ROOT) -> Path:
    """Write `build/<stage>/cloudformation-template.json`. Needs node, but no account. `CommandError` if it fails."""
    folder = root / "build" / stage
    shutil.copyfile(serverless_package(stage, folder / "serverless", params=params, root=root), folder / TEMPLATE)
    return folder / TEMPLATE


def serverless_package(
    stage: str, folder: Path, *, params: Sequence[str] = (), region: str = "", root: Path = ROOT
) -> Path:
    """The template that `serverless package` writes to `folder`. `params` (`name=value`) go before the stage's own."""
    command = root / "node_modules" / ".bin" / "serverless"
    if not command.exists():
        raise CommandError("the serverless command is not installed; run `make setup`")
    options = ["--stage", stage, "--package", str(folder), *(f"--param={param}" for param in params)]
    options += ["--region", region] if region else []
    with alone(root), offline_control_plane() as url:
        done = subprocess.run(  # nosec B603
            [str(command), "package", *options],
            cwd=root,
            env={**os.environ, **_offline(url)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise CommandError(f"serverless package failed: {done.stdout.strip()}\n{done.stderr.strip()}")
    return folder / OSLS_TEMPLATE


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One packaging at a time in a checkout: whatever folder it is told, the serverless command also works in
    `.serverless` there, and empties it when it begins."""
    lock = root / "build" / "serverless.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _offline(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "offline",
        "AWS_SECRET_ACCESS_KEY": "offline",  # nosec B105: no account, no key
        "AWS_REGION": "us-east-1",
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
    }


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
