"""LiteLLM's router as a rival: its latency-based pick among 12 deployments against a decision in a seen context.

LiteLLM is large and nothing of FISO needs it, so it lives in an environment of its own that is made on demand from a
lock with hashes. Its interpreter times its own picks; ours are timed here, the two in turn.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from fiso.prediction.artifact import Model
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT
from tests.lab.bench.decisions import SeenDecisions
from tests.lab.bench.rows import Row, at_most_of_rival, row
from tests.lab.bench.timing import Timer, in_turn, timer

PICKER = Path(__file__).with_name("litellm_pick.py")
LEFT_OUT = "pick_vs_litellm is left out: bench --with-litellm installs LiteLLM into .local/litellm (260 MB)"
TURNS, OURS_EACH, THEIRS_EACH = 20, 120, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """LiteLLM's own environment, with a stamp that says which lock it was made from."""

    folder: Path = CHECKOUT / ".local" / "litellm"
    lock: Path = CHECKOUT / "scripts" / "requirements" / "litellm.txt"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_installed(self) -> bool:
        """Whether it was made from the lock as it is now."""
        return self._stamp.exists() and self._stamp.read_text(encoding="ascii") == self._key

    def install(self) -> None:
        """Make it unless that was done. `CommandError` when a package cannot be had."""
        if self.is_installed:
            return
        uv, into = str(Path(sys.executable).parent / "uv"), ["--python", str(self.python)]
        packages = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(self.lock)]
        self._run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(self.folder)])
        self._run([uv, "pip", "install", "--quiet", *into, *packages])
        self.mark()

    def mark(self) -> None:
        """Note the lock that it was made from."""
        self._stamp.write_text(self._key, encoding="ascii")

    @property
    def _stamp(self) -> Path:
        return self.folder / ".made-packages"

    @property
    def _key(self) -> str:
        return sha256(self.lock.read_bytes()).hexdigest() + "\n"

    def _run(self, command: list[str]) -> None:
        environ = {"UV_SYSTEM_CERTS": "true", **os.environ}  # uv trusts what this machine trusts, as in the Makefile
        try:
            subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise CommandError(f"LiteLLM could not be installed into {self.folder}: {reason}") from error


def pick_vs_litellm(model: Model, environment: Environment) -> Row:
    """Medians of both, ours not above theirs. The environment must be there."""
    ours = SeenDecisions(model)
    with _litellm(environment) as process:
        version, theirs = _answer(process), _timer(process)
        taken = in_turn(timer(ours), theirs, turns=TURNS, ours_each=OURS_EACH, rivals_each=THEIRS_EACH)
    if not ours.are_seen:
        raise CommandError("the decisions timed were not all in one context: fix tests.lab.bench.decisions")
    value, rival_value = taken.median_us()
    return row(
        "pick_vs_litellm",
        value,
        "us",
        rival=f"LiteLLM {version}: latency-based, 12 deployments",
        rival_value=rival_value,
        n=len(taken.ours),
        gate=at_most_of_rival(1),
    )


@contextmanager
def _litellm(environment: Environment) -> Iterator["subprocess.Popen[str]"]:
    """Its interpreter, waiting for numbers of picks; it sees none of our packages."""
    process = subprocess.Popen(
        [str(environment.python), "-I", str(PICKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        yield process
        _pipe(process.stdin).close()


def _timer(process: "subprocess.Popen[str]") -> Timer:
    def theirs(times: int) -> list[float]:
        asked = _pipe(process.stdin)
        asked.write(f"{times}\n")
        asked.flush()
        return [float(seconds) for seconds in json.loads(_line(process))]

    return theirs


def _answer(process: "subprocess.Popen[str]") -> str:
    return str(json.loads(_line(process)))


def _line(process: "subprocess.Popen[str]") -> str:
    line = _pipe(process.stdout).readline()
    if not line:
        raise CommandError(f"LiteLLM gave no answer; it says why under: echo 1 | .local/litellm/bin/python -I {PICKER}")
    return line


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise TypeError("the process was started without pipes")
    return pipe
