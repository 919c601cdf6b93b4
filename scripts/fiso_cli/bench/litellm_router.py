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
from hashlib import sha256
from pathlib import Path
from typing import IO

from fiso.prediction.artifact import Model
from fiso_cli.bench.decisions import SeenDecisions
from fiso_cli.bench.rows import Row, at_most_of_rival, row
from fiso_cli.bench.timing import Timer, in_turn, timer
from fiso_cli.errors import CommandError
from fiso_cli.local.layout import CHECKOUT

ENVIRONMENT = CHECKOUT / ".local" / "litellm"
LOCK = CHECKOUT / "scripts" / "requirements" / "litellm.txt"
LEFT_OUT = "pick_vs_litellm is left out: fiso bench --with-litellm installs LiteLLM into .local/litellm (260 MB)"
TURNS, OURS_EACH, THEIRS_EACH = 20, 120, 50


def is_installed() -> bool:
    """Whether the environment was made from the lock as it is now."""
    stamp = _stamp()
    return stamp.exists() and stamp.read_text(encoding="ascii").strip() == _key()


def install() -> None:
    """Make the environment unless that was done. `CommandError` when a package cannot be had."""
    if is_installed():
        return
    uv = str(Path(sys.executable).parent / "uv")
    python = str(ENVIRONMENT / "bin" / "python")
    packages = ["--require-hashes", "--only-binary", ":all:", "--python", python, "--requirement", str(LOCK)]
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)])
    _run([uv, "pip", "install", "--quiet", *packages])
    _stamp().write_text(_key() + "\n", encoding="ascii")


def pick_vs_litellm(model: Model) -> Row:
    """Medians of both, ours not above theirs. The environment must be there."""
    ours = SeenDecisions(model)
    with _litellm() as process:
        version, theirs = _answer(process), _timer(process)
        taken = in_turn(timer(ours), theirs, turns=TURNS, ours_each=OURS_EACH, rivals_each=THEIRS_EACH)
    if not ours.are_seen:
        raise CommandError("the decisions timed were not all in one context: fix fiso_cli.bench.decisions")
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
def _litellm() -> Iterator["subprocess.Popen[str]"]:
    """Its interpreter, waiting for numbers of picks; it sees neither our environment variables nor our packages."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-I", str(Path(__file__).with_name("litellm_pick.py"))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
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
        raise CommandError(f"LiteLLM gave no answer: run {ENVIRONMENT}/bin/python -I {__package__}/litellm_pick.py")
    return line


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise TypeError("the process was started without pipes")
    return pipe


def _stamp() -> Path:
    return ENVIRONMENT / ".made-packages"


def _key() -> str:
    return sha256(LOCK.read_bytes()).hexdigest()


def _run(command: list[str]) -> None:
    environ = {"UV_SYSTEM_CERTS": "true", **os.environ}  # uv trusts what this machine trusts, as in the Makefile
    try:
        subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise CommandError(f"LiteLLM could not be installed into {ENVIRONMENT}: {reason}") from error
