"""Cold starts as Lambda's callers see them: the packaged handler, stores over TLS, 256 MB's share of a processor.

An environment starts with a whole processor (Lambda's init phase); its first request gets the share. Stores and the
function that is called answer after 4 ms, from this machine. The runtime's own start is in no figure.
"""

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.packaging.build import build
from fiso_cli.packaging.target import host_system, lambda_target
from tests.lab.bench import against, cold_stores
from tests.lab.bench.processor_share import Place, processor_shares
from tests.lab.bench.rows import Gate, Row, at_most_of_rival, row

WORKER = Path(__file__).with_name("cold_worker.py")
BEFORE = "a78573b"
MEMORY_MB, WHOLE_MB = 256, 1_769
STARTS = 15
FROZEN_S = 0.5
HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One tree's orchestrator, unpacked, and the interpreter that it is for."""

    python: Path
    task: Path
    models: Path
    environ: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Milliseconds until ready, with a whole processor, and of the first request, with a share of one."""

    ready_ms: float
    first_ms: float


def rows(folder: Path, *, starts: int = STARTS) -> list[Row]:
    """`cold_tls_…`: ours beside the commit of before, in turn. What is `thawed` has started before, as where Lambda
    restores a snapshot: what it does then and its first request, beside all of a start of before."""
    with ExitStack() as ending:
        scratch = Path(ending.enter_context(TemporaryDirectory(prefix="fiso-cold-")))
        shares = ending.enter_context(processor_shares(MEMORY_MB / WHOLE_MB))
        stores = ending.enter_context(cold_stores.running(scratch, shares[0]))
        ours, theirs = our_side(scratch, stores), their_side(folder, scratch, stores)
        sides: list[Callable[[], Start]] = [
            partial(start, ours, shares),
            partial(start, theirs, shares),
            partial(start, ours, shares, is_frozen=True),
        ]
        for side in sides:
            side()
        started, before, thawed = zip(*([side() for side in sides] for _ in range(starts)), strict=True)

    def of(name: str, mine: Iterable[float], rivals: Iterable[float], gate: Gate | None = None) -> Row:
        return row(
            f"cold_tls_{name}",
            median(mine),
            "ms",
            rival=f"commit {BEFORE}",
            rival_value=median(rivals),
            n=starts,
            gate=gate,
        )

    all_before = [each.ready_ms + each.first_ms for each in before]
    return [
        of("start", (each.ready_ms + each.first_ms for each in started), all_before, at_most_of_rival(HALF)),
        of("ready", (each.ready_ms for each in started), (each.ready_ms for each in before)),
        of("first_request", (each.first_ms for each in started), (each.first_ms for each in before)),
        of("thawed", (each.first_ms for each in thawed), all_before, at_most_of_rival(HALF)),
    ]


def our_side(scratch: Path, stores: cold_stores.Stores) -> Side:
    """This tree under the deployed interpreter where there is one, else under this."""
    target = lambda_target("x86_64")
    if target.compiler is not None and host_system() == ("linux", "x86_64"):
        report, python = build("x86-64", ["orchestrator"], architecture="x86_64"), target.compiler
    else:
        report, python = build("local", ["orchestrator"]), Path(sys.executable)
    package = next(CHECKOUT / each.path for each in report.built if each.name == "orchestrator")
    return Side(
        python=python,
        task=unpacked(package, scratch / "ours"),
        models=CHECKOUT / "ml_artifacts",
        environ=stores.environ,
    )


def their_side(folder: Path, scratch: Path, stores: cold_stores.Stores) -> Side:
    """The commit of before, packaged by itself for this machine."""
    tree = against.checked_out(BEFORE, folder.resolve())
    command = [sys.executable, "-m", "fiso_cli.packaging", "--stage", "local", "--only", "orchestrator"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(str(tree / part) for part in ("scripts", "shared", "."))}
    done = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"commit {BEFORE} cannot be packaged: {done.stderr.strip()}")
    task = unpacked(tree / "build" / "local" / "orchestrator.zip", scratch / "theirs")
    return Side(python=Path(sys.executable), task=task, models=tree / "ml_artifacts", environ=stores.environ)


def unpacked(package: Path, folder: Path) -> Path:
    """As Lambda does it: nobody writes there, so what has no bytecode is compiled at each start."""
    with zipfile.ZipFile(package) as opened:
        opened.extractall(folder)
    return folder


def start(side: Side, shares: tuple[Place, Place], *, is_frozen: bool = False) -> Start:
    """One environment, from its import to its first answer."""
    environ = {
        **side.environ,
        "PYTHONPATH": os.pathsep.join([str(side.task / "shared"), str(side.task)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FISO_MODEL_DIR": str(side.models),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if is_frozen else "on-demand",
    }
    command = [str(side.python), "-S", "-s", "-P", str(WORKER)]
    pipe = subprocess.PIPE
    with (
        (side.task.parent / "log.txt").open("w") as log,
        subprocess.Popen(
            command, cwd=side.task, env=environ, stdin=pipe, stdout=pipe, stderr=log, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        starting, serving = shares
        starting(process.pid)
        print(file=process.stdin, flush=True)
        ready = process.stdout.readline()
        serving(process.pid)
        if is_frozen:
            process.send_signal(signal.SIGSTOP)
            sleep(FROZEN_S)
            process.send_signal(signal.SIGCONT)
        print(file=process.stdin, flush=True)
        first_ms, _, status = process.stdout.readline().partition(" ")
    if status.strip() != "200":
        raise CommandError(f"no cold start in {side.task}: {(side.task.parent / 'log.txt').read_text()[-2000:]}")
    return Start(ready_ms=float(ready), first_ms=float(first_ms))
