"""A local cloud dies with whoever started it, in whatever way: no process of it is left."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from localcloud import cloud
from localcloud.layout import LocalCloud
from tests.e2e.conftest import eventually, free_ports

HANDLER = """
import sys, time
from localcloud import cloud
from localcloud.layout import LocalCloud
from localcloud.parts import Options
lease = cloud.start(LocalCloud.from_environ(), Options())
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def own(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> LocalCloud:
    """A cloud beside the others' that a process of its own has started."""
    folder = tmp_path_factory.mktemp("lifetime")
    folder.chmod(0o755)
    found = environ | {"FISO_LOCAL_DIR": str(folder), "FISO_LOCAL_PORT": str(free_ports())}
    return LocalCloud.from_environ(found)


def started(own: LocalCloud, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    there = environ | {"FISO_LOCAL_DIR": str(own.state), "FISO_LOCAL_PORT": str(own.base_port)}
    starter = subprocess.Popen([sys.executable, "-c", HANDLER], stdout=subprocess.PIPE, env=there)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    # workers of the hosts are there as well, once they were asked something
    assert httpx.get(f"{own.provider_url(1)}/api/none", trust_env=False).status_code == 404
    return starter


def below(pid: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found


def alive(pids: set[int]) -> list[str]:
    """The ones that still run, by their command lines; zombies run no more."""
    found = []
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip())
    return [command for command in found if command]


@pytest.mark.parametrize("victim", ["starter", "parent"])
def test_nothing_is_left_of_a_cloud_after_a_kill_of_its(victim: str, own: LocalCloud, environ: dict[str, str]) -> None:
    with started(own, environ) as starter:
        parent = cloud.holder(own.state)
        assert parent is not None
        everything = below(parent)
        assert len(everything) >= 12  # the parent, its seven parts, workers of three of them
        os.kill(starter.pid if victim == "starter" else parent, signal.SIGKILL)
        try:
            assert eventually(lambda: not alive(everything) or None, within_s=40), alive(everything)
        finally:
            starter.kill()
    assert cloud.holder(own.state) is None
    assert alive(everything) == []
