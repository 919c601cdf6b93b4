"""Unprivileged: how to run a program that refuses to be root. Every way keeps the pid, so it stays the program itself.

There are two ways out of being root: another user, who must be able to reach the files, or a user namespace in which
root has another number, which the machine must allow.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fiso_cli.errors import CommandError

ROOT = 0
NOBODY = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What stands before the command, and the user who must own its files."""

    prefix: tuple[str, ...]
    owner: int


def find(program: Path, folder: Path) -> Way:
    """A way in which the program runs and reaches `folder`: that of its owner; an empty one is handed over."""
    is_empty = not any(folder.iterdir())
    for way in _ways(os.getuid()):
        if is_empty and os.getuid() == ROOT:
            os.chown(folder, way.owner, -1)
        if way.owner == folder.stat().st_uid and _works(way, program, folder):
            return way
    raise CommandError(
        f"{program.name} cannot be run for {folder} as this user, as user {NOBODY} or in a user namespace: "
        "run as an ordinary user who owns it, or put the checkout and FISO_LOCAL_DIR where every user may look"
    )


def _ways(user: int) -> list[Way]:
    numbered_otherwise = Way(
        prefix=("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"), owner=user
    )
    if user != ROOT:
        # the program looks its user up by number, which in a container may have no name
        return [Way(prefix=(), owner=user) if _has_name(user) else numbered_otherwise]
    # a change of user makes the kernel forget what to send when the parent dies: said anew
    dropped = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig", "INT", "--")
    return [Way(prefix=dropped, owner=NOBODY), numbered_otherwise]


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _works(way: Way, program: Path, folder: Path) -> bool:
    script = 'cd "$1" && exec "$2" --version'
    try:
        tried = subprocess.run(
            [*way.prefix, "/bin/sh", "-c", script, "sh", str(folder), str(program)],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0
