"""Locked wheels of a function or a layer, resolved for the target whatever the host, stripped and zipped once per lock.

Needs `uv`; reads only the lock.
"""

import os
import shutil
import subprocess  # nosec B404: runs uv with a fixed argument list
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from fiso_cli.errors import CommandError
from fiso_cli.packaging import archive, sbom
from fiso_cli.packaging.archive import TASK_ROOT, compile_folder
from fiso_cli.packaging.sbom import Distribution
from fiso_cli.packaging.target import Target

# Never imported by a running function.
DEAD_FOLDERS = frozenset({"tests", "test", "__pycache__", "include", "bin"})
DEAD_SUFFIXES = frozenset({".pyi", ".pxd", ".pyx", ".h", ".hpp", ".c", ".cpp", ".a", ".pyc", ".f", ".f90"})
UNUSED_FOLDERS = ("aws_lambda_powertools/event_handler", "cffi", "pycparser")
SDK_MODELS = ("botocore/data", "boto3/data")
# Test folders that the package imports while running.
LIVE_FOLDERS = frozenset({"numpy/_core/tests"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted of a lock. `root` is where Lambda unpacks the archive, `folder` where in it the wheels lie.

    `metadata_of` names the distributions that keep their `dist-info`, `aws_services` what stays of AWS's SDK.
    """

    name: str
    lock: Path
    metadata_of: frozenset[str] = frozenset()
    aws_services: frozenset[str] = frozenset()
    has_bytecode: bool = True
    root: str = TASK_ROOT
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """Wheels as an archive to build upon, or none, the key that says what is in it, and the distributions that are."""

    key: str
    archive: Path | None
    distributions: Sequence[Distribution] = ()


def prepare(wanted: Wanted, target: Target, *, cache: Path) -> Wheels:
    """The wheels of a lock for the target, from the cache when that lock was built before; none without a lock."""
    if not wanted.lock.exists():
        return Wheels(key="none", archive=None)
    key = _key(wanted, target)
    cached = cache / f"{wanted.name}-{key[:16]}.zip"
    if not cached.exists():
        _build(wanted, target, cached)
    return Wheels(key=key, archive=cached, distributions=sbom.load(cached.with_suffix(".json")))


def _key(wanted: Wanted, target: Target) -> str:
    own_rules = [Path(__file__).with_name(name) for name in ("archive.py", "sbom.py", "wheels.py")]
    place = (wanted.root, wanted.folder)
    facts = (
        repr(target),
        str(_compiler(wanted, target) is not None),
        repr(sorted(wanted.metadata_of)),
        repr(sorted(wanted.aws_services)),
        repr(place),
    )
    return archive.digest(
        [wanted.lock.read_bytes(), *(fact.encode() for fact in facts), *(path.read_bytes() for path in own_rules)]
    )


def _compiler(wanted: Wanted, target: Target) -> Path | None:
    return target.compiler if wanted.has_bytecode else None


def _build(wanted: Wanted, target: Target, cached: Path) -> None:
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
        tree = Path(scratch, "tree")
        install(target, wanted.lock, tree / wanted.folder)
        distributions = sbom.installed(tree / wanted.folder)
        strip(tree, wanted.metadata_of, wanted.aws_services)
        if compiler := _compiler(wanted, target):
            compile_folder(tree, compiler, root=wanted.root)
        unfinished = Path(scratch, "wheels.zip")
        archive.append(unfinished, archive.entries(tree))
        sbom.save(distributions, cached.with_suffix(".json"))  # first: the archive says that both are there
        unfinished.replace(cached)


def install(target: Target, lock: Path, tree: Path) -> None:
    """The wheels of a lock for a target, below `tree`. `CommandError` when they cannot be had."""
    command = [find_uv_bin(), "pip", "install", "--quiet", "--target", str(tree), "--python-version", target.python]
    command += ["--python-platform", target.platform] if target.platform else []
    command += ["--only-binary", ":all:", "--require-hashes", "--no-deps", "--requirement", str(lock)]
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ}  # trust what this machine trusts, as pip and npm do
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # nosec B603
    if done.returncode:
        raise CommandError(
            f"cannot install {lock.parent.name}/{lock.name} for {target.describe()}: {done.stderr.strip()}"
        )


def strip(tree: Path, metadata_of: frozenset[str], aws_services: frozenset[str] = frozenset()) -> None:
    """Remove from installed wheels what no running function imports or reads."""
    for path in sorted(tree.rglob("*"), reverse=True):
        name, is_folder = path.relative_to(tree), path.is_dir()
        if _is_dead(name, is_folder=is_folder, metadata_of=metadata_of) or _is_unused_model(name, aws_services):
            shutil.rmtree(path) if is_folder else path.unlink()


def _is_unused_model(name: Path, aws_services: frozenset[str]) -> bool:
    """Of the SDK: another service's models, and any service's examples."""
    if name.parent.as_posix() in SDK_MODELS:
        return not name.suffix and name.name not in aws_services
    return name.name == "examples-1.json" and any(name.is_relative_to(folder) for folder in SDK_MODELS)


def _is_dead(name: Path, *, is_folder: bool, metadata_of: frozenset[str]) -> bool:
    if name.suffix == ".dist-info":
        return name.stem.partition("-")[0].lower() not in metadata_of
    if is_folder:
        is_unused = any(name.match(unused) for unused in UNUSED_FOLDERS)
        return is_unused or (name.name in DEAD_FOLDERS and name.as_posix() not in LIVE_FOLDERS)
    return name.suffix in DEAD_SUFFIXES or name.name == ".lock"
