"""What a local cloud says of itself once it is up: what runs where, and who can reach it."""

import os
import pwd
from contextlib import suppress

from fiso_cli.local_stage import HOST, PORTS_NEEDED
from localcloud.layout import PORTS, LocalCloud


def lines(cloud: LocalCloud) -> list[str]:
    """A few lines for a terminal."""
    parts = ", ".join(f"{name} {cloud.port(name)}" for name in PORTS if name != "issuer")
    last = cloud.base_port + PORTS_NEEDED - 1
    return [
        f"on {HOST} only, ports {cloud.base_port} to {last}: {parts}, the clouds' copies {cloud.provider_base_port} on",
        f"who gets in: processes of {_user()}; calls to AWS signed by {cloud.access_key_file}, new each start",
        "web pages: the HTTP API and its console, as the stage's policies say; every other port refuses them",
        f"state and logs, for {_user()} alone: {cloud.state}",
    ]


def _user() -> str:
    with suppress(KeyError):  # in a container a user may have no name
        return pwd.getpwuid(os.getuid()).pw_name
    return f"user {os.getuid()}"
