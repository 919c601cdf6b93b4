"""Locked wheels of a function, resolved for the target whatever the host, stripped and zipped once per lock.

Needs `uv`; reads only `functions/<name>/requirements.txt`.
"""

import os
import shutil
import subprocess  # nosec B404: runs uv with a fixed argument list
import tempfile
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from fiso_cli.errors import CommandError
from fiso_cli.packaging import archive
from fiso_cli.packaging.bytecode import compile_folder
from fiso_cli.packaging.manifest import FunctionPackage
from fiso_cli.packaging.target import Target

LOCK = "requirements.txt"
# Never imported by a running function.
DEAD_FOLDERS = frozenset({"tests", "test", "__pycache__", "include", "bin"})
DEAD_SUFFIXES = frozenset({".pyi", ".pxd", ".pyx", ".h", ".hpp", ".c", ".cpp", ".a", ".pyc", ".f", ".f90"})
# Test folders that the package imports while running.
LIVE_FOLDERS = frozenset({"numpy/_core/tests"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """A function's wheels as an archive to build upon, or none, and the key that says what is in it."""

    key: str
    archive: Path | None


def prepare(package: FunctionPackage, target: Target, *, folder: Path, cache: Path) -> Wheels:
    """The wheels of `folder`'s lock for the target, from the cache when that lock was built before."""
    lock = folder / LOCK
    if not lock.exists():
        return Wheels(key="none", archive=None)
    key = _key(package, target, lock)
    cached = cache / f"{package.name}-{key[:16]}.zip"
    if not cached.exists():
        _build(package, target, lock, cached)
    return Wheels(key=key, archive=cached)


def _key(package: FunctionPackage, target: Target, lock: Path) -> str:
    own_rules = [Path(__file__).with_name(name) for name in ("archive.py", "bytecode.py", "wheels.py")]
    facts = (repr(target), str(_compiles(package, target)), repr(sorted(package.metadata_of)))
    return archive.digest(
        [lock.read_bytes(), *(fact.encode() for fact in facts), *(path.read_bytes() for path in own_rules)]
    )


def _compiles(package: FunctionPackage, target: Target) -> bool:
    return package.has_bytecode and target.is_host_python


def _build(package: FunctionPackage, target: Target, lock: Path, cached: Path) -> None:
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
        tree = Path(scratch, "tree")
        _install(target, lock, tree)
        strip(tree, package.metadata_of)
        if _compiles(package, target):
            compile_folder(tree)
        unfinished = Path(scratch, "wheels.zip")
        archive.append(unfinished, archive.entries(tree))
        unfinished.replace(cached)


def _install(target: Target, lock: Path, tree: Path) -> None:
    command = [find_uv_bin(), "pip", "install", "--quiet", "--target", str(tree), "--python-version", target.python]
    command += ["--python-platform", target.platform] if target.platform else []
    command += ["--only-binary", ":all:", "--require-hashes", "--no-deps", "--requirement", str(lock)]
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ}  # trust what this machine trusts, as pip and npm do
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # nosec B603
    if done.returncode:
        raise CommandError(f"cannot install {lock.parent.name}/{LOCK} for {target.describe()}: {done.stderr.strip()}")


def strip(tree: Path, metadata_of: frozenset[str]) -> None:
    """Remove from installed wheels what no running function imports."""
    for path in sorted(tree.rglob("*"), reverse=True):
        if _is_dead(path.relative_to(tree), is_folder=path.is_dir(), metadata_of=metadata_of):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_dead(name: Path, *, is_folder: bool, metadata_of: frozenset[str]) -> bool:
    if name.suffix == ".dist-info":
        return name.stem.partition("-")[0].lower() not in metadata_of
    if is_folder:
        return name.name in DEAD_FOLDERS and name.as_posix() not in LIVE_FOLDERS
    return name.suffix in DEAD_SUFFIXES or name.name == ".lock"
