"""A stage's CloudFormation template, written by `serverless package` against a control plane without stacks."""

import os
import shutil
import subprocess  # nosec B404: runs the pinned serverless command
from collections.abc import Sequence
from pathlib import Path

from fiso_cli.errors import CommandError
from fiso_cli.packaging.build import ROOT
from fiso_cli.packaging.offline_control_plane import offline_control_plane

TEMPLATE = "cloudformation-template.json"
OSLS_TEMPLATE = "cloudformation-template-update-stack.json"


def make_template(stage: str, *, root: Path = ROOT) -> Path:
    """Write `build/<stage>/cloudformation-template.json`. Needs node, but no account. `CommandError` if it fails."""
    folder = root / "build" / stage
    shutil.copyfile(serverless_package(stage, folder / "serverless", root=root), folder / TEMPLATE)
    return folder / TEMPLATE


def serverless_package(stage: str, folder: Path, *, params: Sequence[str] = (), root: Path = ROOT) -> Path:
    """The template that `serverless package` writes to `folder`. `params` (`name=value`) go before the stage's own."""
    command = root / "node_modules" / ".bin" / "serverless"
    if not command.exists():
        raise CommandError("the serverless command is not installed; run `make setup`")
    options = ["--stage", stage, "--package", str(folder), *(f"--param={param}" for param in params)]
    with offline_control_plane() as url:
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


def _offline(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "offline",
        "AWS_SECRET_ACCESS_KEY": "offline",  # nosec B105: no account, no key
        "AWS_REGION": "us-east-1",
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
    }
