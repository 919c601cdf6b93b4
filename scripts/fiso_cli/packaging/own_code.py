"""A function's own code: its folder and its part of `shared/`, under the names they have in the checkout."""

import shutil
from pathlib import Path

from fiso_cli.packaging.archive import Entry
from fiso_cli.packaging.manifest import FunctionPackage

UNWANTED_FOLDERS = frozenset({"__pycache__", "tests"})
UNWANTED_NAMES = frozenset({"requirements.in", "requirements.txt"})


def files(package: FunctionPackage, root: Path) -> list[Entry]:
    """What the function ships of the checkout at `root`, sorted by name."""
    without = tuple(f"shared/{folder}/" for folder in package.without)
    parts = [root / "functions" / package.name, *(root / "shared" / part for part in package.shared)]
    found = (path for part in parts for path in (part, *part.rglob("*")) if path.is_file())
    named = (Entry(name=path.relative_to(root).as_posix(), path=path) for path in found)
    wanted = (entry for entry in named if _is_wanted(entry.path) and not entry.name.startswith(without))
    return sorted(wanted, key=lambda entry: entry.name)


def copy(entries: list[Entry], folder: Path) -> None:
    """Lay the files out under `folder`."""
    for entry in entries:
        place = folder / entry.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.path, place)


def _is_wanted(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return not (is_hidden or path.name in UNWANTED_NAMES or UNWANTED_FOLDERS.intersection(path.parts[-4:-1]))
