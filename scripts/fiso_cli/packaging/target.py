"""Targets: the runtime and architecture that a package is built for. Knows nothing of packages.

docs/decisions/0004-python-3.11-on-lambda.md
"""

import platform
import sys
from dataclasses import dataclass

LOCAL_STAGE = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Python version, and the platform its wheels must run on; None is the host's own."""

    python: str
    platform: str | None

    @property
    def is_host_python(self) -> bool:
        """Whether this process can compile bytecode for the target."""
        return self.python == host_python()

    def describe(self) -> str:
        """The target in words, for the output."""
        return f"python{self.python}, {self.platform or 'this host'}"


# Lambda's python3.11 runs on Amazon Linux 2 with glibc 2.26: wheels for manylinux_2_27 and newer do not load there.
LAMBDA = Target(python="3.11", platform="x86_64-manylinux2014")


def host_python() -> str:
    """This interpreter's version, as `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def host_system() -> tuple[str, str]:
    """This machine's system and architecture, as `("linux", "x86_64")`."""
    return sys.platform, platform.machine()


def for_stage(stage: str, *, python: str | None = None, system: tuple[str, str] | None = None) -> Target:
    """Lambda's target, except that the local stage needs wheels that load here. `python` and `system` are the host's.

    A Linux x86-64 host with Lambda's own Python version can load Lambda's wheels, so it gets those.
    """
    host = python or host_python()
    is_like_lambda = host == LAMBDA.python and (system or host_system()) == ("linux", "x86_64")
    return LAMBDA if stage != LOCAL_STAGE or is_like_lambda else Target(python=host, platform=None)
