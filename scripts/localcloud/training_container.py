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


class NotStarted(Exception):
    """It ended before it said where it answers; the last line that it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A container that answers on a port of loopback."""

    process: "subprocess.Popen[str]"
    port: int

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(arguments: Sequence[str], environ: Mapping[str, str]) -> Serving:
    """One that serves; it says its port once it is ready. `NotStarted`."""
    process = subprocess.Popen(  # nosec B603
        [sys.executable, "-m", "functions.trainer", *arguments],
        cwd=CHECKOUT,
        env={"PYTHONPATH": f"{CHECKOUT / 'shared'}:{CHECKOUT}", "FISO_SERVE_HOST": "127.0.0.1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    line = process.stdout.readline() if process.stdout is not None else ""
    started = Serving(process=process, port=int(line.rpartition(" ")[2]) if line.startswith("model ") else 0)
    if not started.port:
        started.end()
        raise NotStarted(line.strip())
    return started


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
