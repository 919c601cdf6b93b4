"""Contents: what goes into a function's package of this checkout, and into the model layer, sorted by name."""

import json
import shutil
from pathlib import Path

from fiso_cli.errors import CommandError
from fiso_cli.packaging.archive import Entry, entries
from fiso_cli.packaging.manifest import FunctionPackage

UNWANTED_FOLDERS = frozenset({"__pycache__", "tests"})
UNWANTED_NAMES = frozenset({"requirements.in", "requirements.txt"})
POINTER = "champion.json"
# A layer may not be empty. Without a model the orchestrator answers from its labelled baseline.
NOTICE = "NO_MODEL"


def of_function(package: FunctionPackage, root: Path) -> list[Entry]:
    """The function's folder and its part of `shared/`, under the names they have in the checkout at `root`."""
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


def of_model_layer(artifacts: Path, scratch: Path) -> list[Entry]:
    """The champion in /opt/model: the pointer and the version it names, or a notice when nothing was trained yet."""
    pointer = artifacts / POINTER
    if not pointer.exists():
        notice = scratch / NOTICE
        notice.write_text("No model was packaged.\n")
        return [Entry(name=f"model/{NOTICE}", path=notice)]
    version = _version(pointer)
    folder = artifacts / version
    if not folder.is_dir():
        raise CommandError(f"{pointer} names {version}, which is not there; run `fiso train --synthetic`")
    return [Entry(name=f"model/{POINTER}", path=pointer), *entries(folder, prefix=f"model/{version}/")]


def _version(pointer: Path) -> str:
    try:
        document = json.loads(pointer.read_bytes())
    except ValueError as error:
        raise CommandError(f"{pointer} is not JSON; run `fiso train --synthetic`") from error
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(version, str) or version in ("", "..") or Path(version).name != version:
        raise CommandError(f"{pointer} names no version; run `fiso train --synthetic`")
    return version
