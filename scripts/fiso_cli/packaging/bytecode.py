"""Bytecode beside the sources of a folder, so that a cold start need not compile. Imports nothing of the folder."""

import subprocess  # nosec B404: runs this interpreter on a folder that was just written
import sys
from pathlib import Path

TASK_ROOT = "/var/task"
LAYER_ROOT = "/opt"


def compile_folder(folder: Path, *, root: str = TASK_ROOT) -> None:
    """Write `__pycache__` with unchecked hashes: the runtime compares neither time nor content.

    `root` is where Lambda unpacks the folder, which is what tracebacks name.

    A process of its own with a fixed hash seed, so that the same sources give the same bytes. Files of wheels that are
    not Python of this version (templates, other syntax) stay without bytecode.
    """
    command = [sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", root, str(folder)]
    subprocess.run(command, check=False, capture_output=True, env={"PYTHONHASHSEED": "0"})  # nosec B603
