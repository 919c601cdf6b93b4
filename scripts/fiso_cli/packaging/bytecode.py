"""Bytecode beside the sources of a folder, so that a cold start need not compile. Imports nothing of the folder."""

import subprocess  # nosec B404: runs this interpreter on a folder that was just written
import sys
from pathlib import Path

TASK_ROOT = "/var/task"


def compile_folder(folder: Path) -> None:
    """Write `__pycache__` with unchecked hashes: the runtime compares neither time nor content.

    A process of its own with a fixed hash seed, so that the same sources give the same bytes. Files of wheels that are
    not Python of this version (templates, other syntax) stay without bytecode.
    """
    command = [sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", TASK_ROOT, str(folder)]
    subprocess.run(command, check=False, capture_output=True, env={"PYTHONHASHSEED": "0"})  # nosec B603
