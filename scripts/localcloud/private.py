"""The state's folder: its owner's alone, whatever stood there before."""

import os
import stat
from pathlib import Path
from typing import IO

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import is_kept_by_us
from localcloud.layout import LocalCloud

FOLDER, FILE = 0o700, 0o600


def folder(cloud: LocalCloud) -> None:
    """Make it, or close it to all others. `CommandError` for a folder that is not the cloud's to close."""
    state = cloud.state
    if any(place.is_relative_to(held) for held in (state, state.resolve()) for place in (cloud.root, Path.home())):
        raise CommandError(f"the state directory cannot be {state}, which holds more: set FISO_LOCAL_DIR to another")
    try:
        state.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        found = state.stat()
        if found.st_uid != os.getuid() or found.st_mode & stat.S_ISVTX or not is_kept_by_us(state):
            raise CommandError(f"the state directory {state} is not of this user alone: set FISO_LOCAL_DIR to another")
        state.chmod(FOLDER)
        for entry in os.scandir(state):
            _close(entry)
    except OSError as error:
        raise CommandError(f"the state directory cannot be written: {error}: set FISO_LOCAL_DIR to another") from error


def opened(file: Path, mode: str) -> IO[bytes]:
    """Open a file for writing; a new one is readable by its owner only."""
    return open(file, mode, opener=lambda name, flags: os.open(name, flags, FILE))


def _close(entry: "os.DirEntry[str]") -> None:
    """What an older version left open. Only the first level: nobody else comes further, and below are hard links."""
    if not entry.is_symlink() and entry.stat().st_uid == os.getuid():
        os.chmod(entry.path, FOLDER if entry.is_dir() else FILE)
