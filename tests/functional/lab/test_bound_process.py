"""Children of tests and experiments: they end with whoever started them, and hear Ctrl-C."""

import signal
import subprocess
import sys
from pathlib import Path

from fiso_cli.local_stage import CHECKOUT
from tests.functional.localcloud.emulator_fixture import eventually
from tests.lab.bound_process import bound

STARTS_ONE_AND_DIES = """
import os, subprocess
from tests.lab.bound_process import bound
print(subprocess.Popen(bound(["sleep", "300"])).pid, flush=True)
os._exit(0)
"""
SAYS_WHEN_INTERRUPTED = """
import time
try:
    print("up", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_a_child_dies_with_whoever_started_it() -> None:
    command = [sys.executable, "-c", STARTS_ONE_AND_DIES]
    child = int(subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True, timeout=30).stdout)
    eventually(lambda: not Path(f"/proc/{child}/cmdline").exists() or _is_zombie(child))


def test_a_child_hears_ctrl_c_although_the_run_is_in_the_background() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for `pytest &`
    try:
        with subprocess.Popen(bound([sys.executable, "-c", SAYS_WHEN_INTERRUPTED]), stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=10)[0] == b"interrupted\n"
    finally:
        signal.signal(signal.SIGINT, before)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
