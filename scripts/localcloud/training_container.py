"""A training container without Docker: the trainer of this checkout in a process whose environment holds nothing but
what the platform puts there. Libraries are those of this machine."""

import subprocess  # nosec B404
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How it ended, and what it wrote."""

    code: int
    lines: tuple[str, ...]


def run(arguments: Sequence[str], environ: Mapping[str, str], *, longest_s: float) -> Ended:
    """The trainer under a platform's contract."""
    try:
        done = subprocess.run(  # nosec B603
            [sys.executable, "-m", "functions.trainer", *arguments],
            cwd=CHECKOUT,
            env={"PYTHONPATH": f"{CHECKOUT / 'shared'}:{CHECKOUT}", **environ},
            capture_output=True,
            text=True,
            timeout=longest_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ended(code=137, lines=())
    return Ended(code=done.returncode, lines=tuple((done.stdout + done.stderr).splitlines()))
