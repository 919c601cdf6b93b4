"""This tree against another commit of it: the same rows, timed by each tree's own bench code, in turn in one run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT
from tests.lab.bench.rows import Row, at_most_of_rival, row
from tests.lab.bench.timing import Timer, in_turn

WORKER = Path(__file__).with_name("against_worker.py")
EACH = {
    "handler_in_memory": 60,
    "handler_repeatable": 60,
    "decide_seen_12": 120,
    "decide_new_12": 20,
    "decide_new_states_12": 20,
}
"""The rows, and how many calls of each are timed in one turn."""
TURNS, COLD_STARTS = 30, 15
NO_WORSE = 1.05
"""Two runs of one commit differ by as much on a busy machine."""
MODULES = ("tests/lab/bench/ours.py", "scripts/fiso_cli/bench/ours.py")
"""Where one cold start is, in the order of the trees' ages."""


def rows(commit: str, folder: Path) -> list[Row]:
    """Rows `NAME_against`. The commit's tree is checked out under `folder` and stays there."""
    tree = checked_out(commit, folder)
    rival = f"commit {commit}"
    found = []
    with ExitStack() as ending:
        ours, theirs = ending.enter_context(side(CHECKOUT)), ending.enter_context(side(tree))
        for name, each in EACH.items():
            taken = in_turn(timer(ours, name), timer(theirs, name), turns=TURNS, ours_each=each, rivals_each=each)
            value, rival_value = taken.median_us()
            found.append(_row(name, value, "us", rival, rival_value, len(taken.ours)))
    cold = in_turn(_cold_starts(CHECKOUT), _cold_starts(tree), turns=COLD_STARTS, ours_each=1, rivals_each=1)
    value, rival_value = median(cold.ours) * 1000, median(cold.rivals) * 1000
    return [*found, _row("cold_start", value, "ms", rival, rival_value, COLD_STARTS)]


def _row(name: str, value: float, unit: str, rival: str, rival_value: float, n: int) -> Row:
    gate = at_most_of_rival(NO_WORSE)
    return row(f"{name}_against", value, unit, rival=rival, rival_value=rival_value, n=n, gate=gate)


def checked_out(commit: str, folder: Path) -> Path:
    """A work tree of the commit. `CommandError` when there is none."""
    tree = folder / commit
    if not tree.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["git", "-C", str(CHECKOUT), "worktree", "add", "--force", "--detach", str(tree), commit]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError(f"commit {commit} cannot be checked out: {done.stderr.strip().splitlines()[-1]}")
    return tree


def environ_of(tree: Path) -> dict[str, str]:
    """What a process that imports a tree's own code is started with."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(tree / part) for part in ("scripts", "shared", "."))}


@contextmanager
def side(tree: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process of a tree, that times its own rows."""
    command = [sys.executable, "-P", str(WORKER), str(tree / "ml_artifacts")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tree, env=environ_of(tree), stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.communicate()


def timer(process: "subprocess.Popen[str]", name: str) -> Timer:
    """Times a row there."""

    def taken(times: int) -> list[float]:
        if process.stdin is None or process.stdout is None:
            raise TypeError("the process was started without pipes")
        process.stdin.write(json.dumps([name, times]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise CommandError(f"a tree gave no answer to {name}; what it said is above")
        return [float(seconds) for seconds in json.loads(line)]

    return taken


def _cold_starts(tree: Path) -> Timer:
    module = next(place for place in MODULES if (tree / place).exists()).removeprefix("scripts/").removesuffix(".py")
    command = [sys.executable, "-m", module.replace("/", "."), str(tree / "ml_artifacts")]

    def taken(times: int) -> list[float]:
        found = []
        for _ in range(times):
            start = perf_counter()
            subprocess.run(command, cwd=tree, env=environ_of(tree), capture_output=True, check=True)
            found.append(perf_counter() - start)
        return found

    return taken
