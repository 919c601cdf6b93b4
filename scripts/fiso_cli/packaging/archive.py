"""Zip archives whose bytes depend on nothing but their content: sorted names, one timestamp, one mode; and bytecode."""

import hashlib
import subprocess  # nosec B404: runs an interpreter on a folder that was just written
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
READABLE_FILE = 0o100644 << 16
TASK_ROOT, LAYER_ROOT = "/var/task", "/opt"
"""Where Lambda unpacks a function and a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file on disk and its name in the archive."""

    name: str
    path: Path


def entries(folder: Path, *, prefix: str = "") -> list[Entry]:
    """Every file below `folder`, sorted by name."""
    found = (path for path in folder.rglob("*") if path.is_file())
    named = (Entry(name=prefix + path.relative_to(folder).as_posix(), path=path) for path in found)
    return sorted(named, key=lambda entry: entry.name)


def append(archive: Path, files: Iterable[Entry]) -> None:
    """Add files to an archive, which is created if it is missing."""
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        for entry in files:
            info = zipfile.ZipInfo(entry.name, EPOCH)
            info.create_system = 3  # Unix, whatever the host
            info.external_attr = READABLE_FILE
            info.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(info, entry.path.read_bytes())


def unzipped_bytes(archive: Path) -> int:
    """The sum of the files' sizes."""
    with zipfile.ZipFile(archive) as opened:
        return sum(info.file_size for info in opened.infolist())


def digest_of_entries(files: Iterable[Entry]) -> str:
    """One sha256 over names and contents."""
    return digest(part for entry in files for part in (entry.name.encode(), entry.path.read_bytes()))


def digest(parts: Iterable[bytes]) -> str:
    """One sha256 over parts, each with its length so that no two lists of parts agree by accident."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8))
        sha.update(part)
    return sha.hexdigest()


def digest_of_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names(archive: Path) -> Iterator[str]:
    """The names in an archive, in its order."""
    with zipfile.ZipFile(archive) as opened:
        yield from opened.namelist()


def compile_folder(folder: Path, compiler: Path, *, root: str = TASK_ROOT) -> None:
    """Write `__pycache__` with unchecked hashes, so that a cold start neither compiles nor compares time or content.

    `root` is where Lambda unpacks the folder, which is what tracebacks name; `compiler` an interpreter of the version
    that runs there.

    A process of its own with a fixed hash seed, so that the same sources give the same bytes. Files of wheels that are
    not Python of this version (templates, other syntax) stay without bytecode.
    """
    command = [str(compiler), "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", root, str(folder)]
    subprocess.run(command, check=False, capture_output=True, env={"PYTHONHASHSEED": "0"})  # nosec B603
