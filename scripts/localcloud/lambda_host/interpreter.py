"""The interpreter that runs functions, the `/var/runtime` built from its packages, and unpacked code and layers.

AWS's Python runtime has awslambdaric, boto3 and what these need, nothing else. The same set is linked out of the
developer's environment here, so a function whose package lacks a dependency fails locally as it would in the cloud.
Code and layers are kept on disk by content, so that an unchanged function never unpacks twice."""

import asyncio
import compileall
import hashlib
import io
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RUNTIME_PACKAGES = (
    "awslambdaric",
    "boto3",
    "botocore",
    "jmespath",
    "python-dateutil",
    "s3transfer",
    "simplejson",
    "six",
    "snapshot-restore-py",
    "urllib3",
)
BOOTSTRAP = "bootstrap.py"
_PIPE = asyncio.subprocess.PIPE

_DESCRIBE = """
import importlib.metadata, json, os, sys
def files(name):
    distribution = importlib.metadata.distribution(name)
    located = {str(f): os.fspath(distribution.locate_file(f)) for f in distribution.files or () if f.parts[0] != '..'}
    return {'version': distribution.version, 'files': {f: path for f, path in located.items() if os.path.exists(path)}}
print(json.dumps({
    'version': '%d.%d' % sys.version_info[:2], 'executable': os.path.realpath(sys._base_executable),
    'prefix': os.path.realpath(sys.base_prefix), 'packages': {name: files(name) for name in sys.argv[1:]},
}))
"""


class UnusableInterpreterError(Exception):
    """The given interpreter does not run, or lacks a package of the runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A base interpreter (not a virtual environment's) and the runtime directory that belongs to it."""

    version: str
    executable: Path
    prefix: Path
    runtime: Path

    def executable_under(self, prefix: Path) -> Path:
        """Where the executable is found once its prefix is mounted at `prefix`."""
        return prefix / self.executable.relative_to(self.prefix)


async def prepare_interpreter(python: Path, cache: Path) -> Interpreter:
    """Ask `python` what it is and build its runtime directory under `cache`, once per set of package versions."""
    description = await _describe(python)
    executable, prefix = Path(str(description["executable"])), Path(str(description["prefix"]))
    if not executable.is_relative_to(prefix):
        raise UnusableInterpreterError(f"{executable} is not below its own prefix {prefix}: use another --python")
    runtime = await asyncio.to_thread(_build_runtime, description, cache)
    return Interpreter(version=str(description["version"]), executable=executable, prefix=prefix, runtime=runtime)


async def _describe(python: Path) -> Mapping[str, object]:
    try:
        command = (str(python), "-I", "-c", _DESCRIBE, *RUNTIME_PACKAGES)
        process = await asyncio.create_subprocess_exec(*command, stdout=_PIPE, stderr=_PIPE)
    except OSError as error:
        raise UnusableInterpreterError(f"{python} does not run: {error.strerror}") from error
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise UnusableInterpreterError(f"{python} cannot run functions: {errors.decode().strip().splitlines()[-1:]}")
    description: Mapping[str, object] = json.loads(output)
    return description


def _build_runtime(description: Mapping[str, object], cache: Path) -> Path:
    packages = description["packages"]
    if not isinstance(packages, Mapping):
        raise UnusableInterpreterError("the interpreter's description lacks its packages")
    bootstrap = Path(__file__).with_name(BOOTSTRAP)
    versions = sorted((name, package["version"]) for name, package in packages.items())
    identity = json.dumps([versions, description["executable"], bootstrap.read_text()])
    target = cache / "runtime" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if target.is_dir():
        return target
    building = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}")
    for package in packages.values():
        link_files([(Path(source), building / name) for name, source in package["files"].items()])
    shutil.copyfile(bootstrap, building / BOOTSTRAP)
    compileall.compile_dir(building, quiet=2)
    move_into_place(building, target)
    return target


def link_files(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Hard links where the file system allows them, copies elsewhere; an existing target is replaced."""
    for source, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)


def move_into_place(building: Path, target: Path) -> None:
    """Publish a finished directory; whoever finishes second throws its own away."""
    try:
        building.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(building)


KEPT = 40
Fetch = Callable[[str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A zip in the control plane: its digest and where to get it."""

    sha256: str
    location: str


class PackageCache:
    """A directory of unpacked archives. Safe to share between hosts: directories appear whole or not at all."""

    def __init__(self, directory: Path, fetch: Fetch) -> None:
        self._directory = directory
        self._fetch = fetch

    def code(self, archive: Archive) -> Path:
        """The archive's files, fetched and unpacked when they are not here yet."""
        target = self._directory / "code" / _name(archive.sha256)
        if not target.is_dir():
            content = self._fetch(archive.location)
            building = _building(target)
            _unpack(content, building)
            move_into_place(building, target)
        os.utime(target)
        return target

    def layers(self, archives: Sequence[Archive]) -> Path:
        """All layers in one directory; where two hold the same path, the later one's file counts."""
        target = self._directory / "layers" / _name(*(a.sha256 for a in archives))
        if not target.is_dir():
            building = _building(target)
            for archive in archives:
                _merge(self.code(archive), building)
            move_into_place(building, target)
        os.utime(target)
        return target

    def prune(self, kept: int = KEPT) -> None:
        """Drop all but the most recently used directories. Only before the first function runs."""
        for kind in ("code", "layers"):
            entries = sorted((self._directory / kind).glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
            for entry in entries[kept:]:
                shutil.rmtree(entry, ignore_errors=True)


def _name(*digests: str) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:24]


def _building(target: Path) -> Path:
    building = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}")
    building.mkdir(parents=True)
    return building


def _unpack(content: bytes, directory: Path) -> None:
    """Extract with the archive's permissions, which zipfile alone forgets."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, directory))
            permissions = entry.external_attr >> 16 & 0o777
            if permissions and not entry.is_dir():
                path.chmod(permissions | 0o444)


def _merge(source: Path, target: Path) -> None:
    for root, directories, files in os.walk(source):
        below = target / Path(root).relative_to(source)
        for directory in directories:
            (below / directory).mkdir(parents=True, exist_ok=True)
        link_files([(Path(root) / name, below / name) for name in files])
