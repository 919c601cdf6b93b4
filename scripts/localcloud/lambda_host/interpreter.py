"""The interpreter that runs functions, and the `/var/runtime` directory built from its packages.

AWS's Python runtime has awslambdaric, boto3 and what these need, nothing else. The same set is linked out of the
developer's environment here, so a function whose package lacks a dependency fails locally as it would in the cloud.
"""

import asyncio
import compileall
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
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
