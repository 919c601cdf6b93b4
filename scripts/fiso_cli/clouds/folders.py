"""Which functions a deployment is about, from the words of its command."""

import re
from collections.abc import Sequence
from pathlib import Path

from fiso_cli.errors import BadInput

_FUNCTION = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""A name that each cloud takes, since the same function goes to several."""


def named(words: Sequence[str], *, is_removal: bool = False) -> dict[str, Path]:
    """Functions by name, from `FOLDER` (named after it) or `NAME=FOLDER`; to remove one its name is enough, and none
    means all. `BadInput` for what cannot be."""
    if not words and not is_removal:
        raise BadInput("name at least one FUNCTION, a folder or NAME=FOLDER")
    found: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else word)
        name = name if equals else path.resolve().name.replace("_", "-").lower()
        if not _FUNCTION.fullmatch(name):
            raise BadInput(f"{name!r}: a function's name is lower-case letters, digits and -, as in NAME=FOLDER")
        if name in found:
            raise BadInput(f"{name} is named twice: use NAME=FOLDER")
        if not is_removal and not path.is_dir():
            raise BadInput(f"{path}: no such folder")
        found[name] = path
    return found
