"""Targets: the runtime and architecture that a package is built for. Knows nothing of packages.

docs/decisions/0004-one-pinned-runtime.md
"""

import os
import platform
import shutil
import subprocess  # nosec B404: asks an interpreter which version it is
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fiso_cli.errors import CommandError

LOCAL_STAGE = "local"
PYTHON = "3.13"
"""Lambda's python3.13 runs on Amazon Linux 2023, glibc 2.34: wheels for manylinux_2_28 load there."""
PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
"""What wheels are resolved for, by Lambda's own word for the architecture."""
DEFAULT_ARCHITECTURE = "arm64"
NAMED_BY = "FISO_TARGET_PYTHON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Python version, and the platform its wheels must run on; None is the host's own."""

    python: str
    platform: str | None

    @property
    def compiler(self) -> Path | None:
        """An interpreter of this machine that makes the target's bytecode, whatever the architecture."""
        return interpreter(self.python)

    def describe(self) -> str:
        """The target in words, for the output."""
        return f"python{self.python}, {self.platform or 'this host'}"


def lambda_target(architecture: str = DEFAULT_ARCHITECTURE) -> Target:
    """`CommandError` for a word that is none of Lambda's architectures."""
    if architecture not in PLATFORMS:
        raise CommandError(f"there is no architecture {architecture!r}: say {' or '.join(sorted(PLATFORMS))}")
    return Target(python=PYTHON, platform=PLATFORMS[architecture])


def host_python() -> str:
    """This interpreter's version, as `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def host_system() -> tuple[str, str]:
    """This machine's system and architecture, as `("linux", "x86_64")`."""
    return sys.platform, platform.machine()


def for_stage(
    stage: str, architecture: str | None = None, *, python: str | None = None, system: tuple[str, str] | None = None
) -> Target:
    """Lambda's target, except that the local stage needs wheels that load here. `python` and `system` are the host's.

    A Linux x86-64 host with Lambda's own Python version can load Lambda's wheels, so it gets those.
    """
    if stage != LOCAL_STAGE:
        return lambda_target(architecture or DEFAULT_ARCHITECTURE)
    host = python or host_python()
    is_like_lambda = host == PYTHON and (system or host_system()) == ("linux", "x86_64")
    return lambda_target("x86_64") if is_like_lambda else Target(python=host, platform=None)


def architecture_of(stage: str, root: Path) -> str:
    """What serverless.yml says for the stage, where it says it as a plain word."""
    import yaml

    try:
        params = yaml.safe_load((root / "serverless.yml").read_text(encoding="utf-8"))["params"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return DEFAULT_ARCHITECTURE
    for block in (params.get(stage), params.get("default")):
        said = (block or {}).get("architecture")
        if isinstance(said, str) and "$" not in said:
            return said
    return DEFAULT_ARCHITECTURE


@cache
def interpreter(version: str) -> Path | None:
    """An interpreter of that version here: this one, the one that FISO_TARGET_PYTHON names, one on the PATH, one of
    pyenv's or uv's. None where there is none."""
    home = Path.home()
    kept = (
        Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        home / ".local" / "share" / "uv" / "python",
    )
    found = [sys.executable, os.environ.get(NAMED_BY), shutil.which(f"python{version}")]
    found += [str(path) for folder in kept for path in sorted(folder.glob(f"*{version}*/bin/python{version}"))]
    return next((Path(each) for each in found if each and _is(each, version)), None)


def _is(python: str, version: str) -> bool:
    """Whether it runs and is a release of that version: one before the release writes other bytecode."""
    ask = "import sys; print('%d.%d %s' % (*sys.version_info[:2], sys.version_info.releaselevel))"
    try:
        done = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=False, timeout=10)  # nosec B603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == f"{version} final"
