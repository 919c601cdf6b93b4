"""What the tests of local processes share: free ports, patience, child processes, and a genuine emulator."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fiso_cli.local_stage import CHECKOUT
from localcloud.layout import LocalCloud
from tests.lab.bound_process import bound

PATIENCE_S = 30


def eventually(check: Callable[[], object]) -> None:
    """Wait until `check` is true; the limit only ends a test that has failed."""
    ends_at = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < ends_at, f"not within {PATIENCE_S} s"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that could all be bound just now."""
    while True:
        first = free_port()
        try:
            with ExitStack() as held:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("ab") as output,
        subprocess.Popen(bound(command), env=environment, stdout=output, stderr=output) as child,
    ):
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


@contextmanager
def module_process(module: str, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A local process of ours, as the local cloud starts it."""
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT / 'scripts'}:{CHECKOUT / 'shared'}"}
    with process([sys.executable, "-m", f"localcloud.{module}", *arguments], environment, log) as child:
        yield child


@contextmanager
def emulator(home: Path) -> Iterator[str]:
    """The emulator's address; everything it writes goes under `home`."""
    python = LocalCloud.from_environ({}).emulator_environment / "bin" / "python"
    if not python.exists():
        pytest.skip("the emulator is not set up: make setup")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "S3_DATA_DIR": str(home / "s3"),
    }
    url = f"http://127.0.0.1:{port}"
    with process([str(python), "-m", "ministack"], environment, home / "log"):
        eventually(lambda: answers(url))
        yield url
